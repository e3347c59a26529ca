"""Owns the workplace of one test: unique names, topics, schemas, lakes and connectors on the shared services."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from services import Stack
from services.minio import ACCESS_KEY, SECRET_KEY

from harness.lake import Lake, LocalLake, S3Lake
from harness.registry import Reference, RegistryClient, encoded, framed
from harness.sluice import Sluice
from harness.topics import Position, Topics

QUICK_GROUP = {"session.timeout.ms": 3000, "heartbeat.interval.ms": 500}
"""Properties that let a group notice a killed member soon."""


class Lab:
    """What a test needs, under names that no other test uses."""

    def __init__(self, stack: Stack, folder: Path):
        self.stack = stack
        self.folder = folder
        self.tag = uuid.uuid4().hex[:8]
        self.topics = Topics(stack.kafka.brokers)
        self.registry = RegistryClient(stack.registry.url)
        self.sluice = Sluice(folder, stack.minio.credentials)
        self._numbers = itertools.count(1)

    def name(self, what: str) -> str:
        """A name that starts with `what` and is used by nobody else."""
        return f"{what}-{self.tag}-{next(self._numbers)}"

    def topic(self, what: str = "topic", partitions: int = 1, **config: str) -> str:
        """Creates a topic and returns its name."""
        return self.topics.create(self.name(what), partitions, **config)

    def register(self, topic: str, schema: Any, references: Sequence[Reference] = ()) -> int:
        """Registers the value schema of a topic and returns its id."""
        return self.registry.register(f"{topic}-value", schema, references)

    def produce(self, topic: str, partition: int, schema: Any, records: Iterable[Any], **config: Any) -> dict[Position, Any]:
        """Registers the schema and produces the records, encoded by fastavro; returns them by position."""
        schema_id = self.register(topic, schema)
        kept = list(records)
        positions = self.topics.produce(topic, partition, (framed(schema_id, encoded(schema, record)) for record in kept), **config)
        return dict(zip(positions, kept, strict=True))

    def local(self) -> LocalLake:
        """A new folder to write to."""
        folder = self.folder / self.name("lake")
        folder.mkdir()
        return LocalLake(folder)

    def s3(self) -> S3Lake:
        """A new bucket to write to."""
        bucket = self.name("lake")
        return S3Lake(self.stack.minio.url, ACCESS_KEY, SECRET_KEY, bucket, self.folder / f"{bucket}-mirror")

    def lake(self, kind: str) -> Lake:
        """A new `local` or `s3` lake."""
        return {"local": self.local, "s3": self.s3}[kind]()

    def connector(self, lake: Lake, topics: Sequence[str] = (), name: str | None = None, **sections: Any) -> Connector:
        """A connector from these topics to the lake; sections are merged over sensible ones."""
        name = name or self.name("connector")
        kafka: dict[str, Any] = {"properties": {"bootstrap.servers": self.stack.kafka.brokers}}
        if topics:
            kafka["topics"] = list(topics)
        settings = {
            "name": name,
            "kafka": kafka,
            "value": {"format": "avro"},
            "registry": {"url": self.registry.url},
            "rotate": {"bytes": "16MiB", "every": "10m"},
            "storage": {"url": lake.url, **({"options": lake.options} if lake.options else {})},
        }
        return Connector(merged(settings, sections))


@dataclass(frozen=True)
class Connector:
    """The settings of one connector, and the group that they mean."""

    settings: dict[str, Any]

    @property
    def group(self) -> str:
        """The consumer group."""
        return str(self.settings["kafka"].get("group") or f"sluice-{self.settings['name']}")


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Dictionaries merged key by key; a `None` above removes the key, any other value replaces it."""
    result = dict(below)
    for key, value in above.items():
        if value is None:
            result.pop(key, None)
        elif isinstance(value, Mapping) and isinstance(result.get(key), Mapping):
            result[key] = merged(result[key], value)
        else:
            result[key] = value
    return result
