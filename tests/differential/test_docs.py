"""The table of docs/types.md that says what engines show: DuckDB's column must be what DuckDB shows."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from differential import oracles
from differential.oracles import REPOSITORY, Case

FIXED = {"type": "fixed", "name": "F", "size": 12}
TYPES = {
    "null, empty record's placeholder": ["null"],
    "string, enum, uuid, big-decimal, decimal beyond 76 digits": [
        "string",
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {**FIXED, "size": 16, "logicalType": "uuid"},
        {"type": "bytes", "logicalType": "big-decimal"},
        {"type": "bytes", "logicalType": "decimal", "precision": 77},
    ],
    "bytes, fixed": ["bytes", FIXED],
    "date": [{"type": "int", "logicalType": "date"}],
    "time-millis, time-micros": [{"type": "int", "logicalType": "time-millis"}, {"type": "long", "logicalType": "time-micros"}],
    "decimal up to 38 digits": [{"type": "bytes", "logicalType": "decimal", "precision": 38}],
    "decimal of 39 to 76 digits": [{"type": "bytes", "logicalType": "decimal", "precision": 39}],
    "uuid with `uuid: uuid`": [{"type": "string", "logicalType": "uuid"}, {**FIXED, "size": 16, "logicalType": "uuid"}],
    "duration, record, union of several": [
        {**FIXED, "logicalType": "duration"},
        {"type": "record", "name": "S", "fields": [{"name": "x", "type": "int"}]},
        ["int", "string"],
    ],
    "array": [{"type": "array", "items": "int"}],
    "map": [{"type": "map", "values": "int"}],
}


def types_of(row: str) -> list[object]:
    """The schemas that a row speaks of."""
    stamps = [{"type": "long", "logicalType": word} for word in row.split(", ")]
    return TYPES.get(row, stamps)


def choice(row: str) -> str | None:
    """The setting that a row speaks of."""
    return "{" + row.split("`")[1] + "}" if "`" in row else None


def test_the_table_of_engines_is_true_for_duckdb(tmp_path: Path) -> None:
    section = (REPOSITORY / "docs/types.md").read_text().split("## What engines show")[1].split("## Rules")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ") and "---" not in line][1:]
    assert len(rows) == 15, rows
    connection = duckdb.connect()
    for number, (row, wanted, *_) in enumerate(rows):
        cases = [Case(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": type}]}), []) for type in types_of(row)]
        for outcome in oracles.ours(cases, tmp_path / str(number), choice(row)):
            assert outcome.refused is None, outcome.refused
            shown = str(connection.execute("SELECT * FROM read_parquet(?)", [str(outcome.file)]).description[0][1])
            shown = "LIST" if shown.endswith("[]") else shown.split("(")[0]
            assert shown == wanted.split(", ")[0], row
