"""Owns the services of a measurement and the topics on them: one broker, one registry, one topic a shape and size."""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from types import TracebackType

from confluent_kafka import Producer
from harness.registry import RegistryClient, framed
from harness.topics import Topics
from services.kafka import Kafka
from services.process import run_folder
from services.registry import Registry

from bench.shapes import SHAPES, Shape

FILLERS = 2
"""Processes that fill a topic."""


class Stage:
    """A broker and a registry; as a context manager they run inside."""

    def __init__(self) -> None:
        self.folder: Path = run_folder()
        self.kafka = Kafka(self.folder)
        self.registry = Registry(self.folder)
        self._filled: set[str] = set()

    def __enter__(self) -> Stage:
        try:
            self.registry.start()
            self.kafka.start()
            self.kafka.wait_ready()
            self.registry.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops both services."""
        self.kafka.stop()
        self.registry.stop()

    def topic(self, shape: Shape, count: int, framed_values: bool = True) -> str:
        """The topic with `count` records of the shape, filled the first time; `framed_values`: with schema ids in front."""
        name = f"{shape.name}-{count}{'' if framed_values else '-bare'}"
        if name not in self._filled:
            Topics(self.kafka.brokers).create(name, shape.partitions)
            schema_id = RegistryClient(self.registry.url).register(f"{name}-value", shape.schema) if framed_values else None
            with ProcessPoolExecutor(FILLERS, mp_context=get_context("spawn")) as pool:
                work = [
                    pool.submit(fill, self.kafka.brokers, name, shape.name, count, schema_id, part, FILLERS) for part in range(FILLERS)
                ]
            assert sum(part.result() for part in work) == count
            self._filled.add(name)
        return name


def fill(brokers: str, topic: str, shape_name: str, count: int, schema_id: int | None, part: int, parts: int) -> int:
    """Fills every `parts`-th partition of the topic; returns how many records were acknowledged."""
    shape = SHAPES[shape_name]
    settings = {"batch.size": 1_000_000, "queue.buffering.max.messages": 500_000, "message.max.bytes": 4_000_000, "enable.idempotence": True}
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 50, "compression.type": "lz4", "log_level": 1, **settings})
    filled = 0
    for partition in range(part, shape.partitions, parts):
        datums = shape.datums(partition, count)
        while batch := list(itertools.islice(datums, 20_000)):
            for datum in batch:
                value = datum if schema_id is None else framed(schema_id, datum)
                producer.produce(topic, value, partition=partition)
            filled += len(batch)
            left = producer.flush(120)
            assert left == 0, f"{left} records not acknowledged"
    return filled
