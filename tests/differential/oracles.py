"""Owns running the implementations: Java Avro, fastavro, and ours by way of `examples/avro_to_parquet`."""

from __future__ import annotations

import base64
import io
import json
import os
import struct
import subprocess
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

import fastavro
from services import avro
from services.cache import program

from differential.model import Type

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parent.parent
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def java(requests: Iterable[dict[str, Any]]) -> list[Any]:
    """The answers of AvroOracle.java, one for each request."""
    asked = "".join(json.dumps(request, ensure_ascii=True) + "\n" for request in requests)
    source = str(HERE / "AvroOracle.java")
    command = [program("java"), "-Xss16m", "-cp", f"{avro.fetch()}/*", source]
    done = subprocess.run(command, input=asked.encode(), capture_output=True, check=False)
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 0 and len(answers) == asked.count("\n"), (
        f"the Java oracle gave {len(answers)} answers; it needs a JDK of version 17 or newer (Debian: default-jdk-headless):\n"
        f"{done.stderr.decode()[-4000:]}"
    )
    return answers


@dataclass
class Case:
    """Datums of one writer schema, to be read as one reader schema (None: the same)."""

    writer: str
    datums: list[bytes]
    reader: str | None = None


@dataclass
class Outcome:
    """What became of a case: refused as a whole, or a file and the fate of each datum (None, or why it is poison)."""

    refused: dict[str, str] | None
    absorbs: str = ""
    datums: list[str | None] = field(default_factory=list)
    file: Path = Path()


def example() -> Path:
    """The built example."""
    folder = os.environ.get("SLUICE_EXAMPLES") or REPOSITORY / "target/debug/examples"
    path = Path(folder) / "avro_to_parquet"
    assert path.is_file(), f"{path} is not there: run `cargo build --example avro_to_parquet`"
    return path


def ours(cases: Iterable[Case], folder: Path, columns: str | None = None) -> list[Outcome]:
    """Our verdict and files for each case; `columns` is the setting of this name."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "cases", "wb") as out:
        for case in cases:
            strings = [case.writer.encode(), (case.reader or "").encode(), *case.datums]
            out.write(struct.pack("<I", len(strings)))
            for string in strings:
                out.write(struct.pack("<I", len(string)) + string)
    command = [str(example()), str(folder / "cases"), str(folder), *([columns] if columns else [])]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, f"the example failed: {done.stderr.decode()[-4000:]}"
    answers = [json.loads(line) for line in done.stdout.decode().splitlines()]
    return [Outcome(**answer, file=folder / f"{number}.parquet") for number, answer in enumerate(answers)]


def datums_of(answer: dict[str, Any]) -> list[bytes]:
    """The datums in an answer to `encode`."""
    return [base64.b64decode(datum) for datum in answer["datums"]]


class FastAvro:
    """Encodes values of one schema with fastavro; raises what it raises."""

    def __init__(self, schema: Any):
        self.named: dict[str, Any] = {}
        self.schema = fastavro.parse_schema(schema, self.named)

    def encode(self, type: Type, value: Any) -> bytes:
        """The datum of a neutral value."""
        out = io.BytesIO()
        fastavro.schemaless_writer(out, self.schema, self.object(type, self.schema, value))
        return out.getvalue()

    def object(self, type: Type, schema: Any, value: Any) -> Any:
        """What fastavro takes for a neutral value."""
        if isinstance(schema, str):
            schema = self.named.get(schema, schema)
        if type.logical:
            return meaningful(type, value)
        kind = type.kind
        if kind in ("float", "double"):
            code = "<I<f" if kind == "float" else "<Q<d"
            return struct.unpack(code[2:], struct.pack(code[:2], value))[0]
        if kind in ("bytes", "fixed"):
            return base64.b64decode(value)
        if kind == "array":
            return [self.object(type.items, schema["items"], item) for item in value]
        if kind == "map":
            return {text: self.object(type.items, schema["values"], item) for text, item in value}
        if kind == "record":
            fields = zip(type.fields, schema["fields"], value, strict=True)
            return {name: self.object(part, entry["type"], item) for (name, part), entry, item in fields}
        if kind == "union":
            branch = schema[value[0]]
            word = branch if isinstance(branch, str) else branch.get("name") or branch["type"]
            return (word, self.object(type.branches[value[0]], branch, value[1]))
        return value


def meaningful(type: Type, value: Any) -> Any:
    """The Python object of a logical type, where there is one for the value."""
    logical = type.logical or ""
    if type.kind in ("bytes", "fixed"):
        data = base64.b64decode(value)
        if logical == "decimal" and type.size == 0:
            return Decimal(int.from_bytes(data, "big", signed=True)).scaleb(-type.scale, Context(prec=200))
        return data
    if logical == "uuid":
        return uuid.UUID(value)
    try:
        if logical == "date":
            return date(1970, 1, 1) + timedelta(days=value)
        if logical in ("timestamp-micros", "local-timestamp-micros"):
            moment = EPOCH + timedelta(microseconds=value)
            return moment if logical == "timestamp-micros" else moment.replace(tzinfo=None)
    except OverflowError:
        pass
    return value
