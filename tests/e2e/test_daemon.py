"""The daemon: drains on SIGTERM, comes back after kill -9 without loss or doubling, never shows a reader half a file."""

from __future__ import annotations

import random
import threading
import time
from typing import Any

import duckdb
import pytest
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_names_hide_the_unfinished, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.lake import Lake, LocalLake
from harness.sluice import drain
from harness.waiting import until

EVENT = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["A", "B", "C"]}},
        {"name": "text", "type": "string"},
    ],
}


def events(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "kind": "ABC"[number % 3], "text": f"event {number}"} for number in range(count)]


class Reader:
    """A reader that lists and reads all visible files, again and again, until it is asked to stop or fails."""

    def __init__(self, lake: LocalLake):
        self.lake = lake
        self.turns = 0
        self.rows = 0
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join(60)
        assert self.error is None, f"the reader failed after {self.turns} turns: {self.error!r}"

    def _read(self) -> None:
        try:
            connection = duckdb.connect()
            while not self._stop.is_set():
                listed = [str(path) for path in self.lake.visible().values()]
                everything = f"{self.lake.folder}/**/*.parquet"
                for names in (listed, [everything] if listed else []):
                    if names:
                        query = "select count(*), max(_offset), count(distinct text) from read_parquet(?, hive_partitioning = false)"
                        row = connection.execute(query, [names]).fetchone()
                        assert row is not None and row[0] >= self.rows, f"{row} after {self.rows} rows: rows went away"
                        self.rows = row[0]
                        self.turns += 1
                assert_names_hide_the_unfinished(self.lake.folder)
        except BaseException as error:  # noqa: BLE001
            self.error = error


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_sigterm_publishes_what_is_buffered_and_commits(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("drain", 3), lab.lake(kind)
    full = {}
    for partition in range(3):
        full |= lab.produce(topic, partition, EVENT, events(100))
    # The rows make the first file, so that the daemon is known to hold the fifty records behind it.
    connector = lab.connector(lake, [topic], rotate={"rows": 100, "every": "1h"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("the daemon reads", lambda: len(lake.files()) == 3)
    produced = full | lab.produce(topic, 1, EVENT, events(50))
    time.sleep(2)  # Nothing that can be seen from outside says that they were fetched.
    drain(daemon)
    assert lab.topics.committed(connector.group, topic) == {0: 100, 1: 150, 2: 100}
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_health_and_readiness_are_answered(lab: Lab) -> None:
    topic, lake = lab.topic("health"), lab.local()
    config = lab.sluice.write([lab.connector(lake, [topic]).settings])
    admin = Admin.of(config)
    daemon = lab.sluice.daemon(config)
    until("/healthz says yes", lambda: admin.ask("/healthz").status == 200)
    until("/readyz says yes", admin.ready)
    drain(daemon)


@pytest.mark.timeout(420)
@pytest.mark.parametrize(
    ("kind", "properties"),
    [("local", QUICK_GROUP), ("s3", QUICK_GROUP), ("local", {"group.protocol": "consumer"})],
    ids=["local-classic", "s3-classic", "local-consumer"],
)
def test_fault_94_killed_at_random_moments_every_record_is_there_once(lab: Lab, kind: str, properties: dict[str, Any]) -> None:
    draw = random.Random(94)
    topic, lake = lab.topic("killed", 3), lab.lake(kind)
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "300ms"}, partition_by=[{"field": "kind"}])
    config = lab.sluice.write([connector.settings])
    produced: dict[tuple[int, int], Any] = {}
    kills = 0
    with reading(lake):
        for _ in range(6):
            daemon = lab.sluice.daemon(config)
            before = sum(lab.topics.committed(connector.group, topic).values())
            for partition in range(3):
                produced |= lab.produce(topic, partition, EVENT, events(draw.randrange(500, 3000)))
            until("it commits", lambda: sum(lab.topics.committed(connector.group, topic).values()) > before)  # noqa: B023
            deadline = time.monotonic() + draw.uniform(0.0, 1.5)
            while time.monotonic() < deadline:
                produced |= lab.produce(topic, draw.randrange(3), EVENT, events(draw.randrange(1, 400)))
            daemon.kill()
            kills += 1
        daemon = lab.sluice.daemon(config)
        until("lag is 0", lambda: lab.topics.lag(connector.group, [topic]) == 0, 120)
        drain(daemon)
    print(f"{kills} kills, {len(produced)} records, {len(lake.files())} files")
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_a_bounded_run_that_is_killed_is_taken_up_by_the_next(lab: Lab) -> None:
    topic, lake = lab.topic("backfill", 2), lab.local()
    produced = lab.produce(topic, 0, EVENT, events(60_000)) | lab.produce(topic, 1, EVENT, events(60_000))
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, rotate={"rows": 2000, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    daemon = lab.sluice.daemon(config)
    until("a few files are there", lambda: len(lake.visible()) >= 3)
    daemon.kill()
    lab.sluice.until_end(config)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
    assert lab.topics.lag(connector.group, [topic]) == 0


class NoReader:
    """In the place of a reader where only whole objects can be seen anyway."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        pass


def reading(lake: Lake) -> Reader | NoReader:
    """A reader of a local lake; an S3 lake shows nothing but whole objects."""
    return Reader(lake) if isinstance(lake, LocalLake) else NoReader()
