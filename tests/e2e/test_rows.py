"""Row for row: every Avro type, each row read back by pyarrow and by DuckDB and compared with what was produced."""

from __future__ import annotations

import datetime as dt
import math
import struct
import uuid
from decimal import Decimal
from typing import Any

import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.lake import Lake
from harness.registry import encoded, framed

ADDRESS = {"type": "record", "name": "Address", "fields": [{"name": "city", "type": "string"}, {"name": "zip", "type": ["null", "int"]}]}
COLOURS = {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN", "BLUE"]}
DECIMAL_FIXED = {"type": "fixed", "name": "Money", "size": 9, "logicalType": "decimal", "precision": 20, "scale": 4}


def logical(base: str, name: str, **more: Any) -> dict[str, Any]:
    return {"type": base, "logicalType": name, **more}


# Column, Avro type, the values of three records as the encoder takes them.
PLAIN: list[tuple[str, Any, list[Any]]] = [
    ("flag", "boolean", [True, False, True]),
    ("small", "int", [0, -(2**31), 2**31 - 1]),
    ("big", "long", [0, -(2**63), 2**63 - 1]),
    ("single", "float", [0.0, -1.5, 3.0e38]),
    ("double", "double", [0.0, -2.5e-300, 1.7e308]),
    ("raw", "bytes", [b"", b"\x00\xff", b"abc" * 100]),
    ("text", "string", ["", "Zürich 大阪 🚀", "a\x00b\n"]),
    ("hash", {"type": "fixed", "name": "Hash", "size": 4}, [b"\x00" * 4, b"abcd", b"\xff" * 4]),
    ("colour", COLOURS, ["RED", "GREEN", "BLUE"]),
    ("maybe_int", ["null", "int"], [None, 0, -7]),
    ("maybe_text", ["string", "null"], ["x", None, ""]),
    ("numbers", {"type": "array", "items": "long"}, [[], [1], list(range(1000))]),
    ("maybe_numbers", ["null", {"type": "array", "items": ["null", "int"]}], [None, [], [None, 1, None]]),
    ("nested_lists", {"type": "array", "items": {"type": "array", "items": "string"}}, [[], [[]], [["a"], [], ["b", "c"]]]),
    ("address", ADDRESS, [{"city": "Bern", "zip": 3000}, {"city": "", "zip": None}, {"city": "Köln", "zip": -1}]),
    ("maybe_address", ["null", "Address"], [None, {"city": "Basel", "zip": None}, {"city": "Chur", "zip": 7000}]),
    ("addresses", {"type": "array", "items": "Address"}, [[], [{"city": "A", "zip": 1}], [{"city": "B", "zip": None}] * 3]),
    ("maybe_colour", ["null", "Colour"], [None, "BLUE", "RED"]),
]
MAPS: list[tuple[str, Any, list[Any]]] = [
    ("labels", {"type": "map", "values": "string"}, [{}, {"": "empty"}, {"a": "1", "ü": "2"}]),
    ("scores", {"type": "map", "values": ["null", "double"]}, [{"x": None}, {"y": 1.5}, {}]),
    ("places", ["null", {"type": "map", "values": "Address"}], [None, {}, {"home": {"city": "Bern", "zip": None}}]),
]
INSTANT = dt.datetime(2026, 2, 28, 23, 59, 59, 999000, tzinfo=dt.UTC)
EARLY = dt.datetime(1905, 6, 30, 12, 0, 0, 1000, tzinfo=dt.UTC)
EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
INSTANTS = [EPOCH, INSTANT, EARLY]
LOCALS = [instant.replace(tzinfo=None) for instant in INSTANTS]
UUIDS = [uuid.UUID(int=0), uuid.UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6"), uuid.UUID(int=2**128 - 1)]
LOGICAL: list[tuple[str, Any, list[Any]]] = [
    ("amount", logical("bytes", "decimal", precision=18, scale=2), [Decimal("0.00"), Decimal("-9999999999999999.99"), Decimal("12.34")]),
    ("wide", logical("bytes", "decimal", precision=38, scale=10), [Decimal(0), Decimal("-" + "9" * 28 + "." + "9" * 10), Decimal("0.0000000001")]),
    ("money", DECIMAL_FIXED, [Decimal("0.0000"), Decimal("-1234567890.1234"), Decimal("9999999999999999.9999")]),
    ("maybe_amount", ["null", logical("bytes", "decimal", precision=9, scale=0)], [None, Decimal(-1), Decimal(999999999)]),
    ("day", logical("int", "date"), [dt.date(1970, 1, 1), dt.date(2026, 2, 28), dt.date(1600, 2, 29)]),
    ("at_millis", logical("int", "time-millis"), [dt.time(0), dt.time(23, 59, 59, 999000), dt.time(12, 0, 0, 1000)]),
    ("at_micros", logical("long", "time-micros"), [dt.time(0), dt.time(23, 59, 59, 999999), dt.time(12, 0, 0, 1)]),
    ("when_millis", logical("long", "timestamp-millis"), INSTANTS),
    ("when_micros", logical("long", "timestamp-micros"), [EPOCH, INSTANT.replace(microsecond=999999), EARLY.replace(microsecond=1)]),
    ("local_millis", logical("long", "local-timestamp-millis"), LOCALS),
    ("local_micros", logical("long", "local-timestamp-micros"), LOCALS),
    ("maybe_when", ["null", logical("long", "timestamp-micros")], [None, INSTANT, EPOCH]),
    ("id", logical("string", "uuid"), UUIDS),
]
COLUMNS = PLAIN + MAPS + LOGICAL
SCHEMA = {"type": "record", "name": "Everything", "fields": [{"name": name, "type": kind} for name, kind, _ in COLUMNS]}


def record(number: int) -> dict[str, Any]:
    """Record `number`: every column takes its values in turn, each column at another pace."""
    return {name: values[(number + number // 3 * place) % 3] for place, (name, _, values) in enumerate(COLUMNS)}


def expected(record: dict[str, Any]) -> dict[str, Any]:
    """The record as a reader should give it back."""
    single = struct.unpack("<f", struct.pack("<f", record["single"]))[0]
    return {**record, "id": str(record["id"]), "single": single}


def plain(value: Any) -> Any:
    """A value of either reader in one form: maps as dictionaries, numbers exact, zones as UTC."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list):
        pairs = value and all(isinstance(item, tuple) and len(item) == 2 for item in value)
        return {key: plain(item) for key, item in value} if pairs else [plain(item) for item in value]
    if isinstance(value, uuid.UUID):
        return str(value)
    if isinstance(value, dt.datetime) and value.tzinfo is not None:
        return value.astimezone(dt.UTC)
    return value


def duckdb_rows(lake: Lake) -> list[dict[str, Any]]:
    """Every row as DuckDB reads it, in the order of partition and offset."""
    connection = lake.duckdb()
    connection.execute("set timezone = 'UTC'")
    relation = connection.sql("select * exclude (filename) from lake order by _partition, _offset")
    return [dict(zip(relation.columns, row, strict=True)) for row in relation.fetchall()]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_each_row_is_what_was_produced_by_pyarrow_and_duckdb(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("rows", 3), lab.lake(kind)
    produced = {}
    for partition in range(3):
        produced |= lab.produce(topic, partition, SCHEMA, map(record, range(partition * 1000, partition * 1000 + 700)))
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))

    assert_sound(lake)
    assert_delivered(lake, topic, produced)
    for rows in (lake.rows(), duckdb_rows(lake)):
        assert len(rows) == len(produced)
        for row in rows:
            want = expected(produced[row["_partition"], row["_offset"]])
            got = {name: plain(row[name]) for name in want}
            # DuckDB gives an empty map as {}, pyarrow as an empty list of pairs.
            for name in ("labels", "scores", "places"):
                got[name] = {} if got[name] == [] else got[name]
            assert got == want, f"partition {row['_partition']}, offset {row['_offset']}"
            assert row["_topic"] == topic
            assert abs(plain(row["_timestamp"]).replace(tzinfo=dt.UTC) - dt.datetime.now(dt.UTC)) < dt.timedelta(hours=1)


def test_column_types_are_those_that_every_reader_knows(lab: Lab) -> None:
    topic, lake = lab.topic("types"), lab.local()
    lab.produce(topic, 0, SCHEMA, [record(0)])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))

    described = {name: kind for name, kind, *_ in lake.duckdb().execute("describe lake").fetchall()}
    expected_types = {
        "flag": "BOOLEAN",
        "small": "INTEGER",
        "big": "BIGINT",
        "single": "FLOAT",
        "double": "DOUBLE",
        "raw": "BLOB",
        "text": "VARCHAR",
        "hash": "BLOB",
        "colour": "VARCHAR",
        "numbers": "BIGINT[]",
        "address": "STRUCT(city VARCHAR, zip INTEGER)",
        "labels": "MAP(VARCHAR, VARCHAR)",
        "amount": "DECIMAL(18,2)",
        "wide": "DECIMAL(38,10)",
        "money": "DECIMAL(20,4)",
        "day": "DATE",
        "at_millis": "TIME",
        "at_micros": "TIME",
        "when_micros": "TIMESTAMP WITH TIME ZONE",
        "local_micros": "TIMESTAMP",
        "id": "VARCHAR",
        "_topic": "VARCHAR",
        "_partition": "INTEGER",
        "_offset": "BIGINT",
        "_timestamp": "TIMESTAMP WITH TIME ZONE",
    }
    assert {name: described.get(name) for name in expected_types} == expected_types


def test_a_union_of_several_types_is_a_struct_with_one_member_set(lab: Lab) -> None:
    schema = {"type": "record", "name": "Choice", "fields": [{"name": "value", "type": ["null", "string", "long", "boolean"]}]}
    values = [None, "text", 7, True, "", 0, False]
    topic, lake = lab.topic("union"), lab.local()
    lab.produce(topic, 0, schema, [{"value": value} for value in values])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))

    def chosen(value: dict[str, Any] | None) -> list[Any]:
        return [member for member in (value or {}).values() if member is not None]

    for rows in (lake.rows(), duckdb_rows(lake)):
        assert [chosen(row["value"]) for row in rows] == [[] if value is None else [value] for value in values]


def test_fault_56_special_floats_are_kept(lab: Lab) -> None:
    values = [math.nan, math.inf, -math.inf, -0.0, 1.5]
    schema = {"type": "record", "name": "Float", "fields": [{"name": "double", "type": "double"}, {"name": "single", "type": "float"}]}
    topic, lake = lab.topic("floats"), lab.local()
    lab.produce(topic, 0, schema, [{"double": value, "single": value} for value in values])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))

    for rows in (lake.rows(), duckdb_rows(lake)):
        for column in ("double", "single"):
            read = [row[column] for row in rows]
            assert math.isnan(read[0]) and read[1:] == values[1:] and math.copysign(1, read[3]) == -1
    # A statistic that took NaN for a maximum, or lost the infinity, would hide rows from a filter.
    assert lake.duckdb().execute("select count(*) from lake where double > 1 and not isnan(double)").fetchone() == (2,)


def test_metadata_columns_carry_key_and_headers(lab: Lab) -> None:
    schema = {"type": "record", "name": "Keyed", "fields": [{"name": "n", "type": "int"}]}
    topic, lake = lab.topic("keyed"), lab.local()
    schema_id = lab.register(topic, schema)
    messages = [
        {"value": framed(schema_id, encoded(schema, {"n": 0})), "key": "first", "headers": [("a", b"1"), ("a", b"2"), ("b", None)]},
        {"value": framed(schema_id, encoded(schema, {"n": 1})), "timestamp": 1_700_000_000_123},
    ]
    lab.topics.produce_messages(topic, ({**message, "partition": 0} for message in messages))
    connector = lab.connector(lake, [topic], key={"format": "string"}, columns={"metadata": ["position", "key", "headers"]})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))

    rows = lake.rows()
    assert [row["_key"] for row in rows] == ["first", None]
    headers = [[(header["key"], header["value"]) for header in row["_headers"] or []] for row in rows]
    assert headers == [[("a", b"1"), ("a", b"2"), ("b", None)], []]
    assert rows[1]["_timestamp"].timestamp() == pytest.approx(1_700_000_000.123)


def test_without_metadata_columns_only_the_record_is_there(lab: Lab) -> None:
    schema = {"type": "record", "name": "Bare", "fields": [{"name": "n", "type": "int"}]}
    topic, lake = lab.topic("bare"), lab.local()
    lab.produce(topic, 0, schema, [{"n": number} for number in range(10)])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], columns={"metadata": False}).settings]))

    assert lake.duckdb().execute("select * exclude (filename) from lake order by n").fetchall() == [(number,) for number in range(10)]
    assert_sound(lake)
