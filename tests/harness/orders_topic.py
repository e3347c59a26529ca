"""Owns filling a topic with orders quickly: encoded once into the cache, produced by several processes."""

from __future__ import annotations

import itertools
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from confluent_kafka import Producer

from harness import orders
from harness.registry import RegistryClient, framed
from harness.topics import Topics


def orders_topic(topics: Topics, registry: RegistryClient, name: str, count: int) -> orders.OrdersTopic:
    """Creates a topic with `count` orders in it, spread over `orders.PARTITIONS` partitions."""
    files = orders.cached_datums(count)
    topics.create(name, orders.PARTITIONS)
    schema_id = registry.register(f"{name}-value", orders.SCHEMA)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(_fill_partition, topics.brokers, name, number, schema_id, file) for number, file in enumerate(files)]
    acknowledged = sum(part.result() for part in parts)
    assert acknowledged == count == sum(topics.end_offsets(name).values())
    return orders.OrdersTopic(name, count)


def _fill_partition(brokers: str, topic: str, partition: int, schema_id: int, file: Path) -> int:
    settings = {"batch.size": 1_000_000, "queue.buffering.max.messages": 500_000, "enable.idempotence": True}
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 50, "compression.type": "lz4", "log_level": 1, **settings})
    datums = orders.datums(file)
    count = 0
    while batch := list(itertools.islice(datums, 100_000)):
        for datum in batch:
            producer.produce(topic, framed(schema_id, datum), partition=partition)
        count += len(batch)
        left = producer.flush(120)
        assert left == 0, f"{left} records not acknowledged"
    return count
