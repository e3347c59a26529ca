"""The main job at size: 2,000,000 orders from four partitions into local files and into a bucket."""

from __future__ import annotations

import pyarrow.parquet
import pytest
from harness.delivery import assert_names_hide_the_unfinished, assert_nothing_left, assert_sound
from harness.lab import Lab
from harness.lake import LocalLake
from harness.orders import PARTITIONS, OrdersTopic
from harness.orders_topic import orders_topic

TOTALS = """
    select count(*), count(distinct order_id), count(distinct (_partition, _offset)), sum(amount),
           sum(len(items)), count(note), count(distinct status), sum(cardinality(attributes)), count(distinct shipping.country)
    from lake
"""


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["local", "s3"])
def test_every_order_arrives_once_and_its_values_are_exact(lab: Lab, orders: OrdersTopic, kind: str) -> None:
    lake = lab.lake(kind)
    connector = lab.connector(lake, [orders.name], rotate={"bytes": "16MiB"})
    finished = lab.sluice.until_end(lab.sluice.write([connector.settings]), seconds=400)

    totals = lake.duckdb().execute(TOTALS).fetchone()
    assert totals is not None
    assert totals[:4] == (orders.count, orders.count, orders.count, orders.amount_sum)
    assert totals[4] > orders.count and 0 < totals[5] < orders.count
    assert totals[6:] == (6, 3 * orders.count, 8)
    assert lab.topics.lag(connector.group, [orders.name]) == 0
    assert_sound(lake)
    assert_nothing_left(lake)
    if isinstance(lake, LocalLake):
        assert_names_hide_the_unfinished(lake.folder)
    print(f"{orders.count} orders to {kind}: {orders.count / finished.seconds:,.0f} records/s over the whole run")


def test_files_are_snappy_and_row_groups_are_cut_where_asked(lab: Lab) -> None:
    topic = orders_topic(lab.topics, lab.registry, lab.name("row-groups"), 20_000)
    lake = lab.local()
    connector = lab.connector(lake, [topic.name], parquet={"row_group": {"rows": 2000}})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))

    files = lake.files()
    assert len(files) == PARTITIONS
    for file in files:
        metadata = pyarrow.parquet.read_metadata(file.path)
        groups = [metadata.row_group(number) for number in range(metadata.num_row_groups)]
        assert [group.num_rows for group in groups] == [2000, 2000, 1000]
        assert {group.column(number).compression for group in groups for number in range(group.num_columns)} == {"SNAPPY"}
