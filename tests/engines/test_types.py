"""Each type of docs/types.md in each place, in each engine: the type that the table says, and every value; or refused where the
table says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from differential import shown
from differential.generate import encoded
from differential.model import Type
from engines.columns import CHOSEN, STAMPS, Files, told, written
from engines.readers import Reader

ENGINES = ("pyarrow", "DuckDB", "Polars", "DataFusion", "ClickHouse", "Spark", "Trino")
PLAIN = ["boolean", "int", "long", "float", "double"]
FIXED = [{"type": "fixed", "name": "F", "size": size} for size in (4, 4_096, 4_097)]
RECORDS = [
    {"type": "record", "name": "S", "fields": []},
    {"type": "record", "name": "S", "fields": [{"name": "a", "type": {"type": "array", "items": {"type": "record", "name": "T", "fields": [{"name": "b", "type": ["null", "long"]}]}}}]},
]
NESTED: Any = ["null", "string"]
for _ in range(3):
    NESTED = ["null", {"type": "map", "values": ["null", {"type": "array", "items": NESTED}]}]


@pytest.fixture(params=ENGINES)
def reader(request: pytest.FixtureRequest, engine: Callable[[str], Reader]) -> Reader:
    return engine(request.param)


def test_every_type_is_shown_as_the_table_says_with_every_value(reader: Reader, files: Files) -> None:
    wrong = []
    for row in shown.rows():
        said = row.shown.get(reader.name)
        for schema in row.schemas:
            file = files.of_type(schema, row.choice)
            try:
                found = dict(reader.shown(file.file, file.type))["f"]
                compared = reader.rows(file.file, file.type)
            except Exception as error:
                if said not in ("refused", "none"):
                    wrong.append(f"{row.of}: {schema}: {error}"[:1_000])
                continue
            if said is not None and said not in (shown.bare(found), "*"):
                wrong.append(f"{row.of}: {schema}: shown as {found}, said to be {said}")
            wrong += differences(f"{row.of}: {schema}", reader, file.type, compared, file.wanted(reader.name, row.choice))
    assert not wrong, "\n".join(wrong)


def test_what_the_table_leaves_out_arrives_with_every_value(reader: Reader, files: Files) -> None:
    wrong = []
    for schema in (*PLAIN, *FIXED, *RECORDS, NESTED):
        file = files.of_type(schema)
        wrong += differences(str(schema), reader, file.type, reader.rows(file.file, file.type), file.wanted(reader.name))
    assert not wrong, "\n".join(wrong)


def test_the_choices_for_spark_suit_every_engine(reader: Reader, files: Files) -> None:
    columns = "{ timestamp_nanos: micros, time: number, wide_decimal: string }"
    wrong = []
    for schema, read_as in CHOSEN:
        file = files.of_type(schema, columns, read_as)
        wrong += differences(str(schema), reader, file.type, reader.rows(file.file, file.type), file.wanted(reader.name, columns))
    assert not wrong, "\n".join(wrong)


def test_spark_reads_nanoseconds_as_numbers_when_it_is_told_to(engine: Callable[[str], Reader], files: Files) -> None:
    spark: Any = engine("Spark")
    spark.spark.conf.set("spark.sql.legacy.parquet.nanosAsLong", "true")
    try:
        for word in STAMPS:
            file = files.of_type({"type": "long", "logicalType": word})
            assert dict(spark.shown(file.file, file.type))["f"] == "bigint"
            assert not differences(word, spark, file.type, spark.rows(file.file, file.type), file.wanted())
    finally:
        spark.spark.conf.unset("spark.sql.legacy.parquet.nanosAsLong")


def test_a_decimal_that_polars_refuses_keeps_no_other_column_away(tmp_path: Path) -> None:
    import polars

    decimal = {"type": "bytes", "logicalType": "decimal", "precision": 39}
    schema = {"type": "record", "name": "R", "fields": [{"name": "d", "type": decimal}, {"name": "n", "type": "int"}]}
    file = written(tmp_path, schema, [[encoded(b"\1"), 7]]).file
    assert polars.scan_parquet(file).select("n").collect().rows() == [(7,)]
    with pytest.raises(polars.exceptions.ComputeError, match="Decimal"):
        polars.read_parquet(file)


def differences(what: str, reader: Reader, type: Type, found: list[Any], wanted: list[Any]) -> list[str]:
    """The first difference, if there is one."""
    if len(found) != len(wanted):
        return [f"{what}: {len(found)} rows"]
    for number, (cells, row) in enumerate(zip(told(reader.name, type, found), wanted, strict=True)):
        for (name, _), cell, value in zip(type.fields, cells, row, strict=True):
            if not cell == value:
                return [f"{what}: {reader.name}: row {number}, column {name}: {cell!r} is not {value!r}"[:1_000]]
    return []
