"""Owns what small cases share: topics whose records stay as they are, and for each case a lake and a group of its own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from harness.lab import Connector, Lab, merged
from harness.lake import Lake, S3Lake
from harness.registry import encoded, framed
from services.minio import ACCESS_KEY, SECRET_KEY

from faults.proof import prove
from faults.steady import PARTITION_BY, POISON, SCHEMA, Truth, orders, truth

QUICK = {"session.timeout.ms": 1500, "heartbeat.interval.ms": 300}
NOISE = {"type": "record", "name": "Noise", "fields": [{"name": "noise", "type": "bytes"}]}


class Bench:
    """Topics with records that stay as they are, and a lake and a group for every case."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.small, self.large = lab.topic("small", 2), lab.topic("large", 1)
        schema_id = lab.register(self.small, SCHEMA)
        values: list[bytes | None] = [framed(schema_id, encoded(SCHEMA, order)) for order in orders(250)]
        for partition in range(2):
            lab.topics.produce(self.small, partition, [*values[:120], POISON, None, *values[120:]])
        lab.produce(self.large, 0, NOISE, ({"noise": os.urandom(100_000)} for _ in range(180)))
        self.truth = {topic: truth(lab, topic) for topic in (self.small, self.large)}
        self.bucket = lab.s3().bucket

    def case(self, kind: str, **sections: Any) -> tuple[Connector, Lake, str, Path]:
        """A connector with a configuration, its lake and its topic."""
        topic = self.large if kind == "s3-large" else self.small
        lake: Lake
        if kind == "local":
            lake = self.lab.local()
        else:
            name = self.lab.name("case")
            lake = S3Lake(self.lab.stack.minio.url, ACCESS_KEY, SECRET_KEY, self.bucket, self.lab.folder / name, prefix=name)
        own: dict[str, Any] = {"kafka": {"properties": QUICK}, "rotate": {"rows": 100 if topic == self.small else 1000, "bytes": "1GiB", "every": "1h"}, "errors": {"on_poison": "skip"}, "tasks": 1}
        if topic == self.small:
            own["partition_by"] = PARTITION_BY
        connector = self.lab.connector(lake, [topic], **merged(own, sections))
        return connector, lake, topic, self.lab.sluice.write([connector.settings], f"{connector.settings['name']}.yaml")

    def prove(self, connector: Connector, lake: Lake, topic: str) -> None:
        """Everything is there once."""
        expected: Truth = self.truth[topic]
        prove(self.lab, lake, topic, connector.group, expected)
