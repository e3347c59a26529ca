"""The daemon on real schemas, and on those at the edge of what there is: all topics in one connector, every value found
again in its files."""

from __future__ import annotations

import json
import re
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from differential import engines
from differential.adversary import Adversary
from differential.columns import expected, named
from differential.encode import datum
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.real import real_schemas
from differential.test_extremes import EDGES
from harness.delivery import assert_sound
from harness.lab import Lab
from harness.lake import Lake
from harness.registry import framed
from harness.registry_gate import RegistryGate, Reply

VALUES = 6
STEP = 6
"""Of the real schemas, the topics take one in so many; all of them go through the differential tests."""
METADATA = 4


def made(schema: Any, seed: int) -> tuple[Type, list[Any]]:
    """The type of a schema that was read from JSON, and values of it."""
    type = parse(schema)
    maker = ValueMaker(Random(seed), items=2)
    return type, [maker.value(type) for _ in range(VALUES)]


def assert_values(lake: Lake, kept: dict[str, tuple[Type, list[Any]]]) -> None:
    """The rows of each topic, by pyarrow, are its values."""
    assert_sound(lake)
    tables: dict[str, list[pa.Table]] = {}
    for file in lake.files():
        tables.setdefault(file.topic, []).append(pq.read_table(file.path, partitioning=None))
    assert tables.keys() == kept.keys()
    for topic, (type, values) in kept.items():
        table = pa.concat_tables(tables[topic])
        assert table.column("_offset").to_pylist() == list(range(len(values))), topic
        table = table.select(range(table.num_columns - METADATA))
        assert engines.names(table.schema) == named(type), topic
        wanted = [expected(type, value) for value in values]
        assert engines.rows(table) == (wanted if type.kind == "record" else [[value] for value in wanted]), topic


def test_real_schemas_from_the_registry_arrive_value_for_value(lab: Lab) -> None:
    lake, kept = lab.local(), {}
    for seed, (name, text) in enumerate(real_schemas()[::STEP]):
        topic = lab.topic(name)
        kept[topic] = type, values = made(json.loads(text), seed)
        number = lab.register(topic, text)
        lab.topics.produce(topic, 0, [framed(number, datum(type, value)) for value in values])
    assert len(kept) > 40
    connector = lab.connector(lake, list(kept), errors={"on_poison": "fail"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_values(lake, kept)


def test_schemas_at_the_edge_arrive_value_for_value(lab: Lab) -> None:
    """Wide, deep, oddly named: a real registry refuses some of them, so a gate before it hands them out."""
    lake, kept = lab.local(), {}
    texts: dict[int, str] = {}
    hard = [(f"adversary-{seed}", Adversary(Random(seed)).schema()) for seed in range(6)]
    for number, (name, schema) in enumerate([*EDGES.items(), *hard], start=900_001):
        if name == "odd unions":
            # A union without branches has no value.
            schema = {**schema, "fields": [field for field in schema["fields"] if field["type"] != []]}
        topic = lab.topic(name.replace(" ", "-"))
        texts[number] = json.dumps(schema, ensure_ascii=number % 2 == 0)
        kept[topic] = type, values = made(schema, number)
        lab.topics.produce(topic, 0, [framed(number, datum(type, value)) for value in values])

    def answer(_number: int, path: str) -> Reply | None:
        found = re.match(r"/schemas/ids/(9\d{5})", path)
        return (200, "application/json", json.dumps({"schema": texts[int(found[1])]}).encode()) if found else None

    with RegistryGate(lab.stack.registry.url, answer=answer) as gate:
        connector = lab.connector(lake, list(kept), registry={"url": gate.url})
        lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_values(lake, kept)
