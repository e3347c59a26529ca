"""Owns the shapes of data that are measured: a schema, records that are a pure function of a number, and settings."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from harness import orders
from harness.registry import encoded

DISTINCT = 2_000
"""Records of the shapes other than orders repeat after so many: encoding them in Python takes longer than reading them."""


@dataclass(frozen=True)
class Shape:
    """Records of one schema in one topic, and what a connector is told beyond the defaults."""

    name: str
    schema: dict[str, Any]
    records: int
    record: Callable[[int], dict[str, Any]] | None = None
    partitions: int = 4
    sections: dict[str, Any] = field(default_factory=dict)

    def datums(self, partition: int, count: int) -> Iterator[bytes]:
        """The datums of one partition when there are `count` records in all."""
        if self.record is None:
            yield from _order_datums(partition, self.partitions, count)
            return
        pool = [encoded(self.schema, self.record(number)) for number in range(min(count, DISTINCT))]
        for number in range(partition, count, self.partitions):
            yield pool[number % len(pool)]


def _order_datums(partition: int, partitions: int, count: int) -> Iterator[bytes]:
    files = orders.cached_datums(count)
    if partitions == len(files):
        yield from orders.datums(files[partition])
        return
    # Partition p of many takes every so-manyth order of the file that has it.
    step = partitions // len(files)
    for number, datum in enumerate(orders.datums(files[partition % len(files)])):
        if number % step == partition // len(files):
            yield datum


def _record(name: str, fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "bench", "fields": [{"name": key, "type": kind} for key, kind in fields]}


WIDE_KINDS: list[Any] = ["long", "string", "double", ["null", "int"]]


def _wide(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    values = [lambda: draw.getrandbits(40), lambda: f"value-{draw.getrandbits(12)}", draw.random, lambda: draw.choice([None, 7, 8])]
    return {f"c{column:04}": values[column % 4]() for column in range(1000)}


def _narrow(number: int) -> dict[str, Any]:
    return {"id": number, "value": random.Random(number).getrandbits(30)}


def _text(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    return {"id": number, "body": " ".join(f"word{draw.getrandbits(14)}" for _ in range(2_200))[:20_480]}


def _document(number: int) -> dict[str, Any]:
    draw = random.Random(number)
    return {"id": number, "fields": {f"key{key}": f"{draw.getrandbits(20):x}" for key in draw.sample(range(40), 12)}}


def _orders(name: str, **changes: Any) -> Shape:
    return Shape(name, orders.SCHEMA, 2_000_000, **changes)


DIRECTORIES = [{"field": "shipping.country"}, {"time": "created_at", "path": "minute=%M"}]
"""Some 270 directories: 8 countries, and the orders span 34 minutes."""

SHAPES = {
    shape.name: shape
    for shape in [
        _orders("orders"),
        _orders("orders-270-directories", sections={"partition_by": DIRECTORIES}),
        _orders("orders-200-partitions", partitions=200),
        Shape("wide", _record("Wide", [(f"c{column:04}", WIDE_KINDS[column % 4]) for column in range(1000)]), 40_000, _wide),
        Shape("narrow", _record("Narrow", [("id", "long"), ("value", "long")]), 2_000_000, _narrow),
        Shape("text", _record("Text", [("id", "long"), ("body", "string")]), 20_000, _text),
        Shape("maps", _record("Document", [("id", "long"), ("fields", {"type": "map", "values": "string"})]), 400_000, _document),
    ]
}
"""`orders` is the workload that the claims are about."""
