"""Owns a peer in Python: confluent-kafka, fastavro and pyarrow, two processes with half of the partitions each."""

from __future__ import annotations

import io
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import fastavro
import pyarrow
import pyarrow.parquet
from confluent_kafka import Consumer, TopicPartition

from bench.measured import Taken, measured
from bench.shapes import SHAPES, Shape
from bench.stage import Stage

BATCH = 10_000


def python(stage: Stage, shape: Shape, count: int) -> Taken:
    """The peer in an interpreter of its own, so that the kernel counts it alone."""
    folder = stage.folder / f"python-{count}"
    folder.mkdir()
    tests = Path(__file__).parents[2]
    command = [sys.executable, "-m", "bench.peers.python", stage.kafka.brokers, stage.topic(shape, count), shape.name, str(folder)]
    taken, out = measured(command, folder, {"PYTHONPATH": str(tests)})
    assert int(out) == count, f"the peer wrote {out} of {count} rows"
    return taken


def land(brokers: str, topic: str, shape_name: str, folder: str, partitions: list[int]) -> int:
    """Writes the partitions from their beginning to their present end, a file each; returns the rows."""
    schema = fastavro.parse_schema(SHAPES[shape_name].schema)
    rows = 0
    for partition in partitions:
        consumer = Consumer({"bootstrap.servers": brokers, "group.id": "peer", "enable.auto.commit": False, "isolation.level": "read_committed"})
        _, end = consumer.get_watermark_offsets(TopicPartition(topic, partition), 30)
        consumer.assign([TopicPartition(topic, partition, 0)])
        writer, position = None, 0
        while position < end:
            messages = consumer.consume(BATCH, 1)
            if not messages:
                continue
            position = messages[-1].offset() + 1
            records = [fastavro.schemaless_reader(io.BytesIO(message.value()[5:]), schema, None) for message in messages]
            table = pyarrow.Table.from_pylist(records) if writer is None else pyarrow.Table.from_pylist(records, writer.schema)
            writer = writer or pyarrow.parquet.ParquetWriter(f"{folder}/{partition}.parquet", table.schema, compression="snappy")
            writer.write_table(table)
            rows += len(records)
        if writer is not None:
            writer.close()
        consumer.close()
    return rows


def main() -> None:
    brokers, topic, shape_name, folder = sys.argv[1:]
    partitions = range(SHAPES[shape_name].partitions)
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(land, brokers, topic, shape_name, folder, list(partitions[half::2])) for half in range(2)]
        print(sum(part.result() for part in parts))


if __name__ == "__main__":
    main()
