"""Owns one measured run of the binary on a shape, and the floor of the same run. Does not own how results are shown."""

from __future__ import annotations

import itertools
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.sluice import BINARY, REPOSITORY, as_yaml

from bench.measured import Taken, measured
from bench.shapes import Shape
from bench.stage import Stage

FLOOR = Path(os.environ.get("SLUICE_FLOOR") or REPOSITORY / "target/release/examples/floor")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Floor:
    """CPU seconds of the parts alone, and what consuming found."""

    records: int
    avro_bytes: int
    consume_cpu_s: float
    decode_cpu_s: float
    encode_cpu_s: float
    library_encode_cpu_s: float
    parquet_bytes: int

    @property
    def cpu_s(self) -> float:
        """Consuming and encoding: what no sink of this format can do without."""
        return self.consume_cpu_s + self.encode_cpu_s

    @property
    def library_cpu_s(self) -> float:
        """The same with the Parquet library's own writer: what a sink without an encoder of its own cannot do without."""
        return self.consume_cpu_s + self.library_encode_cpu_s


@dataclass(frozen=True)
class Run:
    """A whole run: what it took, and the bytes and files that came out."""

    taken: Taken
    out_bytes: int
    files: int


def whole_run(stage: Stage, shape: Shape, count: int, sections: dict[str, Any] | None = None) -> Run:
    """`run --until-end` with default settings on all records of the shape."""
    folder = stage.folder / f"run-{next(_numbers)}"
    lake = folder / "lake"
    lake.mkdir(parents=True)
    config = write_config(stage, shape, count, folder, sections or {})
    taken, _ = measured([str(BINARY), "run", "--config", str(config), "--until-end"], folder)
    files = [path for path in lake.rglob("*.parquet") if not any(part.startswith(".") for part in path.relative_to(lake).parts)]
    run = Run(taken, sum(path.stat().st_size for path in files), len(files))
    shutil.rmtree(folder)
    return run


def floor_of(stage: Stage, shape: Shape, count: int) -> Floor:
    """Consuming alone, decoding alone, encoding alone, on the same topic with the same settings."""
    folder = stage.folder / f"floor-{next(_numbers)}"
    folder.mkdir()
    config = write_config(stage, shape, count, folder, {})
    schema = folder / "schema.avsc"
    schema.write_text(json.dumps(shape.schema), encoding="utf-8")
    _, out = measured([str(FLOOR), str(config), str(schema), stage.topic(shape, count)], folder)
    shutil.rmtree(folder)
    return Floor(**json.loads(out))


def write_config(stage: Stage, shape: Shape, count: int, folder: Path, sections: dict[str, Any]) -> Path:
    """A configuration with nothing but what is required, what the shape asks for, and `sections`."""
    connector = {
        "name": f"bench-{os.getpid()}-{next(_numbers)}",
        "kafka": {"topics": [stage.topic(shape, count)], "properties": {"bootstrap.servers": stage.kafka.brokers}},
        "value": {"format": "avro"},
        "registry": {"url": stage.registry.url},
        "rotate": {"bytes": "128MiB"},
        "storage": {"url": f"file://{folder}/lake"},
        **shape.sections,
        **sections,
    }
    path = folder / "connectors.yaml"
    daemon = {"listen": "127.0.0.1:0", "log": {"format": "text", "level": "warn"}}
    path.write_text(as_yaml({"version": 1, "daemon": daemon, "connectors": [connector]}), encoding="utf-8")
    return path
