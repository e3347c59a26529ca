"""Owns a steady stream of records into a topic: good ones, poison and tombstones, in a thread of its own.

What the topic holds is read back from the broker at the end (`truth`), so it does not depend on what was acknowledged.
"""

from __future__ import annotations

import datetime as dt
import random
import threading
from dataclasses import dataclass, field

from confluent_kafka import KafkaError, Message
from harness.lab import Lab
from harness.registry import encoded, framed

SCHEMA = {
    "type": "record",
    "name": "Order",
    "namespace": "faults",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "text", "type": "string"},
        {"name": "shipping", "type": {"type": "record", "name": "Shipping", "fields": [{"name": "country", "type": ["null", "string"]}]}},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}
PARTITION_BY = [{"field": "shipping.country"}, {"time": "created_at", "path": "dt=%Y-%m-%d/hour=%H", "timezone": "UTC"}]
COUNTRIES = ["CH", "JP", None]
MIDNIGHT = dt.datetime(2026, 3, 1, 0, 0, tzinfo=dt.UTC)
POISON = b"\x01this is no Avro"
POOL = 2000


def orders(count: int, seed: int = 0) -> list[dict[str, object]]:
    """Orders of three countries and the two hours around a midnight."""
    draw = random.Random(seed)
    return [
        {
            "n": number,
            "text": f"order {number} {draw.random()}",
            "shipping": {"country": draw.choice(COUNTRIES)},
            "created_at": MIDNIGHT + dt.timedelta(minutes=draw.choice([-10, 10])),
        }
        for number in range(count)
    ]


@dataclass
class Truth:
    """What a topic holds, by partition and offset."""

    good: set[tuple[int, int]] = field(default_factory=set)
    poison: set[tuple[int, int]] = field(default_factory=set)
    tombstones: set[tuple[int, int]] = field(default_factory=set)

    @property
    def count(self) -> int:
        """Records of every kind."""
        return len(self.good) + len(self.poison) + len(self.tombstones)


def truth(lab: Lab, topic: str) -> Truth:
    """Reads a topic to its end with a client of its own."""
    found = Truth()
    for message in lab.topics.records(topic):
        value = message.value()
        kind = found.tombstones if value is None else found.poison if value == POISON else found.good
        kind.add((message.partition(), message.offset()))
    return found


class SteadyProducer:
    """Produces about `rate` records a second to every partition until it is stopped; acknowledged, in order."""

    def __init__(self, lab: Lab, topic: str, partitions: int, rate: float, dirty: bool = True, seed: int = 1):
        schema_id = lab.register(topic, SCHEMA)
        self.acknowledged: set[tuple[int, int]] = set()
        self.errors: list[KafkaError] = []
        self._pool = [framed(schema_id, encoded(SCHEMA, order)) for order in orders(POOL, seed)]
        self._topic, self._partitions, self._pause, self._dirty = topic, partitions, 20 / rate, dirty
        settings = {"enable_idempotence": True, "message_timeout_ms": 180_000, "reconnect_backoff_max_ms": 1000}
        self._producer = lab.topics.producer(**settings)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> SteadyProducer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops producing and waits until everything is acknowledged."""
        self._stop.set()
        self._thread.join(200)
        left = self._producer.flush(200)
        assert left == 0 and not self.errors, f"{left} records not acknowledged, {self.errors[:3]}"

    def _run(self) -> None:
        number = 0
        while not self._stop.wait(self._pause):
            for _ in range(20):
                number += 1
                value: bytes | None = self._pool[number % POOL]
                if self._dirty and number % 97 == 0:
                    value = POISON
                elif self._dirty and number % 89 == 0:
                    value = None
                self._producer.produce(self._topic, value, partition=number % self._partitions, on_delivery=self._delivered)
            self._producer.poll(0)

    def _delivered(self, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self.acknowledged.add((message.partition(), message.offset()))
        else:
            self.errors.append(error)
