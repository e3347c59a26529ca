"""The checks of this suite must be able to fail: each is shown an output that is wrong, and a right one."""

from __future__ import annotations

import signal
import urllib.request
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from harness import orders
from harness.delivery import FOOTER_KEYS, assert_delivered, assert_names_hide_the_unfinished, assert_sound
from harness.lab import Lab, merged
from harness.lake import Lake, LocalLake
from harness.orders_topic import orders_topic
from harness.registry import RegistryClient, encoded
from harness.sluice import as_yaml, assert_no_panic
from harness.topics import Topics
from services import Stack


def write(lake: LocalLake, start: int, end: int, offsets: list[int], folder: str = "t", **footer: str) -> Path:
    """Writes a data file of topic `t`, partition 0, as the sink should."""
    values = dict.fromkeys(FOOTER_KEYS, "x") | {"topic": "t", "partition": "0", "start": str(start), "end": str(end), "rows": str(len(offsets))}
    columns: dict[str, Any] = {"_topic": ["t"] * len(offsets), "_partition": [0] * len(offsets), "_offset": offsets}
    table = pyarrow.table(columns).replace_schema_metadata({f"sluice.{key}": value for key, value in (values | footer).items()})
    path = lake.folder / folder / f"t+0+{start:012d}+{end:012d}.parquet"
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(table, path)
    return path


@pytest.fixture
def lake(tmp_path: Path) -> LocalLake:
    """Two right files, [0, 3) and [3, 5)."""
    lake = LocalLake(tmp_path / "lake")
    write(lake, 0, 3, [0, 1, 2])
    write(lake, 3, 5, [3, 4])
    return lake


FIVE = [(0, offset) for offset in range(5)]


def test_a_right_output_passes(lake: LocalLake) -> None:
    assert_sound(lake)
    assert_delivered(lake, "t", FIVE)
    assert_names_hide_the_unfinished(lake.folder)


def test_a_lost_record_is_seen(lake: LocalLake) -> None:
    with pytest.raises(AssertionError, match=r"1 missing \[\(0, 5\)\]"):
        assert_delivered(lake, "t", [*FIVE, (0, 5)])


def test_a_doubled_record_is_seen(lake: LocalLake) -> None:
    write(lake, 4, 5, [4], folder="t/k=v")
    with pytest.raises(AssertionError, match=r"1 doubled \[\(0, 4\)\]"):
        assert_delivered(lake, "t", FIVE)
    with pytest.raises(AssertionError, match="overlaps"):
        assert_sound(lake)


def test_a_gap_between_files_is_seen(lake: LocalLake) -> None:
    write(lake, 6, 8, [6, 7])
    with pytest.raises(AssertionError, match="nothing between 5 and 6"):
        assert_sound(lake)
    assert_sound(lake, contiguous=False)


def test_a_dishonest_footer_is_seen(lake: LocalLake) -> None:
    write(lake, 5, 7, [5, 6], rows="3")
    with pytest.raises(AssertionError):
        assert_sound(lake)


def test_a_visible_unfinished_file_is_seen(lake: LocalLake) -> None:
    (lake.folder / "t" / "t+0+000000000005+000000000007.parquet.tmp").touch()
    with pytest.raises(AssertionError, match="neither"):
        assert_names_hide_the_unfinished(lake.folder)


def test_a_hidden_name_that_a_glob_matches_is_seen(lake: LocalLake) -> None:
    (lake.folder / "t" / ".staging.parquet").touch()
    with pytest.raises(AssertionError, match="neither"):
        assert_names_hide_the_unfinished(lake.folder)


def test_a_panic_is_seen() -> None:
    with pytest.raises(AssertionError):
        assert_no_panic("fine\nthread 'main' panicked at src/main.rs:3:5:\nboom\n")


def test_configurations_are_merged_and_written_as_yaml() -> None:
    settings = merged({"a": {"b": 1, "c": [1, {"d": "x: y"}]}, "e": 1}, {"a": {"b": {}}, "e": None})
    assert as_yaml(settings) == 'a:\n  b: {}\n  c:\n    - 1\n    -\n      d: "x: y"\n'


def test_both_kinds_of_lake_are_read(bare_lab: Lab) -> None:
    local, s3 = bare_lab.local(), bare_lab.s3()
    path = write(local, 0, 3, [0, 1, 2])
    with s3.filesystem.open_output_stream(f"{s3.bucket}/{s3.prefix}/t/{path.name}") as stream:
        stream.write(path.read_bytes())
    lakes: list[Lake] = [local, s3]
    for lake in lakes:
        assert_sound(lake)
        assert_delivered(lake, "t", FIVE[:3])


def test_lag_counts_what_a_group_has_not_committed(bare_lab: Lab) -> None:
    topic = bare_lab.topic(partitions=2)
    bare_lab.topics.produce(topic, 1, [b"x"] * 7)
    assert bare_lab.topics.lag("nobody", [topic]) == 7
    assert bare_lab.topics.committed("nobody", topic) == {}


def test_orders_are_as_large_as_promised(stack: Stack) -> None:
    topics = Topics(stack.kafka.brokers)
    topic = orders_topic(topics, RegistryClient(stack.registry.url), "small-orders", 1000)
    records = topics.records(topic.name)
    assert [record.value()[5:] for record in records[:3]] == [encoded(orders.SCHEMA, orders.order(number)) for number in (0, 4, 8)]
    assert 225 < sum(len(record.value()) - 5 for record in records) / 1000 < 245


def test_a_proxy_server_that_locks_itself_up_is_replaced_with_its_proxies(stack: Stack) -> None:
    toxiproxy = stack.toxiproxy
    port = toxiproxy.proxy("locked", stack.registry.port)
    assert toxiproxy.service is not None
    toxiproxy.service.signal(signal.SIGSTOP)
    toxiproxy.reset()
    assert toxiproxy.revived == 1
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=10) as reply:
        assert reply.status == 200
    toxiproxy.remove("locked")
