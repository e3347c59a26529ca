"""Files with everything a file may have - row groups, pages, dictionaries, bloom filters, bounds, each codec - give every engine the
same rows, and the same counts where it leaves some out by them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pyarrow.parquet as pq
import pytest

from differential.generate import encoded
from differential.model import parse
from differential.test_extremes import EDGES, TOO_DEEP_FOR_DUCKDB
from engines.columns import Files, Maker, Written, written
from engines.predicates import Predicate
from engines.readers import Reader
from engines.test_types import ENGINES, differences

EPOCH = datetime(1970, 1, 1)
SCHEMA = {
    "type": "record",
    "name": "R",
    "fields": [
        {"name": "id", "type": "long"},
        {"name": "g", "type": ["null", "int"]},
        {"name": "s", "type": ["null", "string"]},
        {"name": "x", "type": "double"},
        {"name": "d", "type": ["null", {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}]},
        {"name": "e", "type": {"type": "bytes", "logicalType": "decimal", "precision": 18, "scale": 2}},
        {"name": "w", "type": {"type": "bytes", "logicalType": "decimal", "precision": 38, "scale": 2}},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "ms", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "us", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
        {"name": "wall", "type": {"type": "long", "logicalType": "local-timestamp-micros"}},
        {"name": "raw", "type": {"type": "fixed", "name": "F", "size": 8}},
        {"name": "yes", "type": ["null", "boolean"]},
        {"name": "a", "type": {"type": "array", "items": ["null", "long"]}},
    ],
}
BLOOM = ", ".join(f"{name}: {{ bloom_filter: true }}" for name in ("id", "g", "s", "d", "w", "us", "raw"))
ROWS = 50_000
CODECS = ("none", "snappy", "zstd(9)", "gzip", "lz4", "brotli")
NOT_READ = {"Spark": ("brotli",), "Trino": ("lz4", "brotli")}
"""Codecs that docs/types.md says an engine does not read."""
DEEP = {"deep maps"}
TOO_DEEP = {"DuckDB": TOO_DEEP_FOR_DUCKDB, "Polars": DEEP, "DataFusion": DEEP, "Spark": DEEP, "ClickHouse": DEEP | {"deep optional lists", "deep lists alone"}}
"""Only counted: DuckDB takes too long, the others cannot hand such columns over as Arrow."""
NOT_DECLARED = {("Trino", "odd names")}
"""A declaration that Trino refuses, for a comma in a name."""
MOMENT = datetime(2024, 5, 6, 7, 8, 9, 123_456)


@pytest.fixture(params=ENGINES)
def reader(request: pytest.FixtureRequest, engine: Callable[[str], Reader]) -> Reader:
    return engine(request.param)


def python_rows(count: int) -> list[list[Any]]:
    """Rows as Python has them: some columns in order, some not, nulls in some and over whole pages, signs of both kinds."""
    random = Random(7)
    rows = []
    for number in range(count):
        cents = random.randint(-99_999, 99_999) if number % 10 else 12_345
        rows.append(
            [
                number * 3,
                None if number < 25_000 else random.randint(-50, 50),
                random.choice((None, "", "Ä", "漢字", f"word {number % 5_000}")),
                random.choice((-1.5, 0.0, -0.0, 1e300, float(number))),
                None if number % 3 == 0 else Decimal(cents).scaleb(-2),
                Decimal(cents * 1_000_003).scaleb(-2),
                Decimal(cents * 10**25).scaleb(-2),
                date(1960, 1, 1) + timedelta(days=number % 30_000),
                MOMENT.replace(tzinfo=UTC, microsecond=123_000) + timedelta(milliseconds=number - 9),
                None if number % 1_000 > 500 else MOMENT.replace(tzinfo=UTC) + timedelta(microseconds=number * 7),
                MOMENT - timedelta(seconds=number),
                (number * 7919).to_bytes(8, "big"),
                random.choice((None, True, False)),
                [None, number] if number % 2 else [],
            ]
        )
    return rows


PREDICATES = [
    *(Predicate("id", operator, value) for operator, value in (("=", 60_000), ("=", 60_001), ("<", 999), ("<", 61_000), (">=", 149_000))),
    *(Predicate("g", operator, value) for operator, value in (("is null", None), ("=", -7), ("=", 51), ("<", -40), (">=", 50))),
    *(Predicate("s", operator, value) for operator, value in (("=", "漢字"), ("=", ""), ("=", "word 77"), ("=", "none"), ("<", "b"), (">=", "漢"), ("is null", None))),
    *(Predicate("x", operator, value) for operator, value in (("=", 0.0), ("<", 0.0), (">=", 1e299), ("<", -1.5), (">=", 49_990.0))),
    *(Predicate("d", operator, Decimal(value)) for operator, value in (("=", "123.45"), ("<", "-900.00"), (">=", "999.00"), ("=", "1000.01"))),
    Predicate("d", "is null"),
    *(Predicate("e", operator, Decimal(12_345 * 1_000_003).scaleb(-2)) for operator in ("=", "<", ">=")),
    *(Predicate("w", operator, Decimal(12_345 * 10**25).scaleb(-2)) for operator in ("=", "<", ">=")),
    *(Predicate("day", operator, value) for operator, value in (("=", date(1969, 12, 31)), ("<", date(1960, 2, 1)), (">=", date(2042, 1, 1)))),
    *(Predicate("ms", operator, MOMENT.replace(tzinfo=UTC, microsecond=123_000)) for operator in ("=", "<", ">=")),
    *(Predicate("us", operator, MOMENT.replace(tzinfo=UTC) + timedelta(microseconds=70_000)) for operator in ("=", "<", ">=")),
    Predicate("us", "is null"),
    *(Predicate("wall", operator, MOMENT - timedelta(seconds=30_000)) for operator in ("=", "<", ">=")),
    *(Predicate("raw", operator, (7919 * 4_321).to_bytes(8, "big")) for operator in ("=", "<", ">=")),
    Predicate("yes", "is null"),
    Predicate("yes", "=", True),
]


def neutral(row: list[Any]) -> list[Any]:
    """A row as `differential.encode` takes it."""
    number, g, s, x, d, e, w, day, ms, us, wall, raw, yes, a = row
    return [
        number,
        null_or(g),
        null_or(s),
        bits(x),
        null_or(None if d is None else unscaled(d)),
        unscaled(e),
        unscaled(w),
        (day - date(1970, 1, 1)).days,
        micros(ms) // 1_000,
        null_or(None if us is None else micros(us)),
        micros(wall),
        encoded(raw),
        null_or(yes),
        [null_or(item) for item in a],
    ]


def null_or(value: Any) -> list[Any]:
    """A branch of a union with null in front."""
    return [int(value is not None), value]


def bits(value: float) -> int:
    """The bits of a double."""
    return struct.unpack("<Q", struct.pack("<d", value))[0]


def unscaled(value: Decimal) -> str:
    """The bytes of a decimal of scale 2."""
    whole = int(value.scaleb(2))
    return encoded(whole.to_bytes((whole + (whole < 0)).bit_length() // 8 + 1, "big", signed=True))


def micros(value: datetime) -> int:
    """Microseconds since 1970."""
    return (value.replace(tzinfo=None) - EPOCH) // timedelta(microseconds=1)


def filtered(folder: Path) -> Written:
    """The file that predicates are asked of: two row groups and a bit, with bloom filters and page indexes."""
    settings = f"{{}}\n    parquet: {{ row_group: {{ rows: 22000 }}, columns: {{ {BLOOM} }} }}"
    return written(folder, SCHEMA, [neutral(row) for row in python_rows(ROWS)], settings)


def test_the_file_has_what_engines_leave_rows_out_by(files: Files) -> None:
    metadata = pq.read_metadata(files.of("filtered", filtered).file)
    assert metadata.num_row_groups == 3
    columns = [metadata.row_group(group).column(place) for group in range(3) for place in range(metadata.num_columns)]
    assert all(column.has_column_index and column.has_offset_index for column in columns)
    assert all(column.statistics is not None and column.statistics.has_null_count for column in columns)
    assert {column.has_dictionary_page for column in columns} == {True, False}


def test_filters_find_the_same_rows(reader: Reader, files: Files) -> None:
    file = files.of("filtered", filtered)
    rows = python_rows(ROWS)
    names = [field["name"] for field in SCHEMA["fields"]]
    wanted = [sum(predicate.holds(row[names.index(predicate.column)]) for row in rows) for predicate in PREDICATES]
    found = reader.counts(file.file, file.type, PREDICATES)
    wrong = [f"{predicate}: {count} rows, not {right}" for predicate, count, right in zip(PREDICATES, found, wanted, strict=True) if count != right]
    assert not wrong, "\n".join(wrong)


def test_every_row_arrives_from_many_row_groups(reader: Reader, files: Files) -> None:
    same(reader, files.of("filtered", filtered), "filtered")


@pytest.mark.parametrize("codec", CODECS)
def test_every_codec_is_read(reader: Reader, files: Files, codec: str) -> None:
    values = [neutral(row) for row in python_rows(1_500)]
    refused = codec in NOT_READ.get(reader.name, ())
    for dictionary in ("always", "never"):
        settings = f"{{}}\n    parquet: {{ compression: {codec}, dictionary: {dictionary}, row_group: {{ rows: 1000 }} }}"
        file = files.of(settings, partial(written, schema=SCHEMA, values=values, settings=settings))
        if refused:
            with pytest.raises(Exception, match="."):
                reader.rows(file.file, file.type)
        else:
            same(reader, file, settings)


@pytest.mark.parametrize("edge", EDGES)
def test_edges_are_read(reader: Reader, files: Files, edge: str) -> None:
    schema = json.loads(json.dumps(EDGES[edge]).replace(', {"name": "f3", "type": []}', ""))
    if schema["type"] != "record":
        schema = {"type": "record", "name": "R", "fields": [{"name": "value", "type": schema}]}
    maker = Maker(Random(3), items=2)
    type = parse(schema)
    file = files.of(edge, partial(written, schema=schema, values=[maker.value(type) for _ in range(5)]))
    if (reader.name, edge) in NOT_DECLARED:
        with pytest.raises(Exception, match="must not contain commas"):
            reader.rows(file.file, file.type)
    elif (reader.name, edge) == ("DuckDB", "deep lists alone"):
        assert len(reader.shown(file.file, file.type)) == 1
    elif edge in TOO_DEEP.get(reader.name, ()):
        assert reader.counts(file.file, file.type, [Predicate(type.fields[0][0], "is null")]) == [0]
    else:
        same(reader, file, edge)


def same(reader: Reader, file: Written, what: str) -> None:
    """Every row; those of several row groups in the order of their `id`, since engines read them side by side."""
    found = reader.rows(file.file, file.type)
    if file.type.fields[0][0] == "id":
        found.sort(key=lambda row: row[0])
    wrong = differences(what, reader, file.type, found, file.wanted(reader.name))
    assert not wrong, wrong
