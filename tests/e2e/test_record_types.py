"""Several types of records in one topic, each in directories of its own; and rows in another order than offsets."""

from __future__ import annotations

from typing import Any

import pyarrow.parquet
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.registry import encoded, framed


def record(name: str, *fields: tuple[str, Any]) -> dict[str, Any]:
    return {"type": "record", "name": name, "namespace": "shop", "fields": [{"name": key, "type": kind} for key, kind in fields]}


ORDER = record("Order", ("n", "long"), ("amount", "double"))
REFUND = record("Refund", ("n", "long"), ("reason", "string"))
REFUND_2 = {**REFUND, "fields": [*REFUND["fields"], {"name": "by", "type": ["null", "string"], "default": None}]}


def test_each_type_of_record_has_directories_with_one_schema(lab: Lab) -> None:
    topic, lake = lab.topic("types"), lab.local()
    ids = {id(schema): lab.registry.register(lab.name("subject"), schema) for schema in (ORDER, REFUND, REFUND_2)}
    rows: list[tuple[Any, Any]] = []
    for n in range(60):
        kinds = [(ORDER, {"n": n, "amount": n / 2}), (REFUND_2, {"n": n, "reason": "late", "by": "ann"}), (REFUND, {"n": n, "reason": "lost"})]
        rows.append(kinds[n % 3])
    positions = lab.topics.produce(topic, 0, [framed(ids[id(schema)], encoded(schema, row)) for schema, row in rows])
    connector = lab.connector(lake, [topic], partition_by=[{"record": "full_name"}], rotate={"rows": 20})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions)
    assert_sound(lake)
    assert {file.directory for file in lake.files()} == {"record=shop.Order", "record=shop.Refund"}
    assert len(lake.files()) == 2 * 3, "a file a flush and type: versions of a type share it"
    for directory, columns in [("record=shop.Order", {"n", "amount"}), ("record=shop.Refund", {"n", "reason", "by"})]:
        for file in lake.files():
            if file.directory == directory:
                names = set(pyarrow.parquet.read_schema(file.path).names)
                assert {name for name in names if not name.startswith("_")} == columns
    found = lake.duckdb().execute("select n, amount, reason, \"by\" from lake order by n limit 3").fetchall()
    assert found == [(0, 0.0, None, None), (1, None, "late", "ann"), (2, None, "lost", None)]


def test_rows_are_sorted_within_row_groups_and_the_footer_says_so(lab: Lab) -> None:
    topic, lake = lab.topic("sorted"), lab.local()
    schema = record("Visit", ("who", record("Who", ("name", ["null", "string"]))), ("at", "long"))
    visits = [{"who": {"name": None if n % 10 == 0 else f"name-{n * 7 % 13:02d}"}, "at": n * 31 % 100} for n in range(1000)]
    produced = lab.produce(topic, 0, schema, visits)
    parquet = {"sort_by": ["who.name", "at"], "row_group": {"rows": 400}}
    connector = lab.connector(lake, [topic], parquet=parquet)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)
    (file,) = lake.files()
    metadata = pyarrow.parquet.read_metadata(file.path)
    assert metadata.num_row_groups == 3
    for group in range(metadata.num_row_groups):
        order = metadata.row_group(group).sorting_columns
        names = [metadata.row_group(group).column(column.column_index).path_in_schema for column in order]
        assert names == ["who.name", "at"]
        assert not any(column.descending or column.nulls_first for column in order)
        rows = pyarrow.parquet.ParquetFile(file.path).read_row_group(group).to_pylist()
        keys = [(row["who"]["name"] is None, row["who"]["name"] or "", row["at"], row["_offset"]) for row in rows]
        assert keys == sorted(keys), "out of order, or equal rows not as they came"
    audited = lab.sluice.run("audit", lake.url)
    assert audited.code == 0, audited
