"""The choices of docs/types.md for engines that disagree: the same values in other columns, in pyarrow and DuckDB."""

from __future__ import annotations

import base64
import json
import uuid
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import pyarrow.parquet as pq

from differential import oracles
from differential.columns import text
from differential.encode import datum
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.oracles import Case

COLUMNS = "{ timestamp_nanos: micros, time: number, wide_decimal: string, uuid: uuid }"
TYPES: list[Any] = [
    {"type": "long", "logicalType": "timestamp-nanos"},
    {"type": "long", "logicalType": "local-timestamp-nanos"},
    {"type": "int", "logicalType": "time-millis"},
    {"type": "long", "logicalType": "time-micros"},
    {"type": "bytes", "logicalType": "decimal", "precision": 76, "scale": 5},
    {"type": "string", "logicalType": "uuid"},
    {"type": "fixed", "name": "U", "size": 16, "logicalType": "uuid"},
]
NULLABLE = [type if place % 2 else ["null", type] for place, type in enumerate(TYPES)]
SCHEMA = {"type": "record", "name": "R", "fields": [{"name": f"f{place}", "type": type} for place, type in enumerate(NULLABLE)]}
ROWS = 500


def wanted(type: Type, value: Any) -> Any:
    """A value as a choice writes it, in integers and text."""
    if type.kind == "union":
        branch, inner = value
        return None if type.branches[branch].kind == "null" else wanted(type.branches[branch], inner)
    if type.logical == "decimal":
        return text(int.from_bytes(base64.b64decode(value), "big", signed=True), type.scale)
    if type.logical == "uuid":
        return str(uuid.UUID(value) if type.kind == "string" else uuid.UUID(bytes=base64.b64decode(value)))
    return value // 1_000 if type.logical.endswith("nanos") else value


def test_choices_are_what_engines_show(tmp_path: Path) -> None:
    type = parse(SCHEMA)
    maker = ValueMaker(Random(1))
    values = [maker.value(type) for _ in range(ROWS)]
    cases = [Case(json.dumps(SCHEMA), [datum(type, value) for value in values])]
    (outcome,) = oracles.ours(cases, tmp_path, COLUMNS)
    assert outcome.refused is None and not any(outcome.datums), outcome
    rows = [tuple(wanted(part, item) for (_, part), item in zip(type.fields, value, strict=True)) for value in values]
    table = pq.read_table(outcome.file)
    kinds = [str(field.type) for field in table.schema]
    assert kinds[:5] == ["timestamp[us, tz=UTC]", "timestamp[us]", "int32", "int64", "string"], kinds
    micros = [column.cast("int64").to_pylist() for column in table.columns[:2]]
    uuids = [[spelled(value) for value in column.to_pylist()] for column in table.columns[5:]]
    rest = [column.to_pylist() for column in table.columns[2:5]]
    assert list(zip(*micros, *rest, *uuids, strict=True)) == rows
    columns = "epoch_us(f0), epoch_us(f1), f2, f3, f4, cast(f5 as varchar), cast(f6 as varchar)"
    query = f"select typeof(f5), typeof(f6), {columns} from read_parquet('{outcome.file}')"
    found = duckdb.connect(config={"threads": 1}).execute(query).fetchall()
    assert {row[:2] for row in found} == {("UUID", "UUID")}
    assert [row[2:] for row in found] == rows


def spelled(value: Any) -> str | None:
    """pyarrow's versions differ in whether they know UUIDs."""
    return None if value is None else str(value if isinstance(value, uuid.UUID) else uuid.UUID(bytes=value))
