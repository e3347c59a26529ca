"""The table of docs/types.md that says what engines show: DuckDB's column must be what DuckDB shows. The others are held by
tests/engines."""

from __future__ import annotations

import json
from pathlib import Path

import duckdb

from differential import oracles, shown
from differential.oracles import Case


def test_the_table_of_engines_is_true_for_duckdb(tmp_path: Path) -> None:
    rows = shown.rows()
    assert len(rows) == 17, rows
    connection = duckdb.connect()
    for number, row in enumerate(rows):
        cases = [Case(json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": type}]}), []) for type in row.schemas]
        for outcome in oracles.ours(cases, tmp_path / str(number), row.choice):
            assert outcome.refused is None, outcome.refused
            found = str(connection.execute("SELECT * FROM read_parquet(?)", [str(outcome.file)]).description[0][1])
            assert shown.bare(found) == row.shown["DuckDB"], row.of
