"""When a file ends: by rows, bytes, age, idleness; and where it goes: by field and by time."""

from __future__ import annotations

import dataclasses
import datetime as dt
import os
import urllib.parse
import zoneinfo
from typing import Any

import pyarrow.parquet
import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.lake import LocalLake
from harness.sluice import drain
from harness.waiting import until

FIELDS = [{"name": "n", "type": "long"}, {"name": "noise", "type": "bytes"}]
NOISE = {"type": "record", "name": "Noise", "fields": FIELDS}


def noise(count: int, size: int) -> list[dict[str, Any]]:
    """Records that no compression makes smaller."""
    return [{"n": number, "noise": os.urandom(size)} for number in range(count)]


def test_a_file_ends_after_so_many_rows(lab: Lab) -> None:
    topic, lake = lab.topic("by-rows", 2), lab.local()
    produced = lab.produce(topic, 0, NOISE, noise(3500, 8)) | lab.produce(topic, 1, NOISE, noise(1000, 8))
    connector = lab.connector(lake, [topic], rotate={"rows": 1000, "every": "1h"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("four full files are there", lambda: len(lake.files()) == 4)
    assert {pyarrow.parquet.read_metadata(file.path).num_rows for file in lake.files()} == {1000}
    drain(daemon)
    assert len(lake.files()) == 5
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_file_ends_at_so_many_bytes_of_parquet(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("by-bytes"), lab.lake(kind)
    produced = lab.produce(topic, 0, NOISE, noise(10_000, 1000))
    connector = lab.connector(lake, [topic], rotate={"bytes": "2MiB", "every": "1h"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    files = sorted(lake.files(), key=lambda file: file.start)
    sizes = [file.path.stat().st_size / (2 << 20) for file in files]
    assert len(sizes) >= 4 and all(0.6 < size < 1.5 for size in sizes[:-1]), sizes
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_a_file_ends_with_age_though_no_record_comes(lab: Lab) -> None:
    topic, lake = lab.topic("by-age"), lab.local()
    produced = lab.produce(topic, 0, NOISE, noise(10, 8))
    connector = lab.connector(lake, [topic], rotate={"bytes": "1GiB", "every": "1s"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("the file is there", lake.files)
    until("it is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced)


def test_a_file_ends_when_no_record_came_for_a_while(lab: Lab) -> None:
    topic, lake = lab.topic("by-idleness"), lab.local()
    produced = lab.produce(topic, 0, NOISE, noise(10, 8))
    connector = lab.connector(lake, [topic], rotate={"bytes": "1GiB", "every": "1h", "idle": "1s"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("it is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert len(lake.files()) == 1
    assert_delivered(lake, topic, produced)


PLACE = {"type": "record", "name": "Place", "fields": [{"name": "country", "type": ["null", "string"]}]}
PLACED = {
    "type": "record",
    "name": "Placed",
    "fields": [
        {"name": "n", "type": "long"},
        {"name": "shipping", "type": PLACE},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
        {"name": "urgent", "type": "boolean"},
    ],
}
START = dt.datetime(2026, 3, 28, 22, 10, tzinfo=dt.UTC)
NASTY = [
    "../../etc",
    "..",
    "/abs",
    "a/b",
    "k=v",
    "100%",
    "%2F",
    "c:d",
    "two words",
    "line\nbreak",
    "Zürich",
    "大阪",
    "🚀",
    "\u202egnp",
    "back\\slash",
    "'q\"",
    "*?[x]",
]


def placed(number: int, country: str | None) -> dict[str, Any]:
    return {"n": number, "shipping": {"country": country}, "created_at": START + dt.timedelta(minutes=10 * number), "urgent": number % 2 == 0}


def values_of(directory: str) -> dict[str, str]:
    """The partition values that the directories of a file say, unescaped."""
    return {key: urllib.parse.unquote(value) for key, value in (part.split("=", 1) for part in directory.split("/"))}


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_fields_and_times_make_directories_as_hive_names_them(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("by-field", 2), lab.lake(kind)
    countries = ["CH", "DE", None]
    produced = lab.produce(topic, 0, PLACED, [placed(number, countries[number % 3]) for number in range(60)])
    produced |= lab.produce(topic, 1, PLACED, [placed(number, "JP") for number in range(30)])
    rules = [{"field": "shipping.country"}, {"time": "created_at", "path": "dt=%Y-%m-%d/hour=%H", "timezone": "UTC"}]
    connector = lab.connector(lake, [topic], partition_by=rules)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))

    assert_delivered(lake, topic, produced)
    assert_sound(lake)
    for file in lake.files():
        values = values_of(file.directory)
        assert list(values) == ["country", "dt", "hour"], file.name
        for row in pyarrow.parquet.ParquetFile(file.path).read().to_pylist():
            created = row["created_at"].astimezone(dt.UTC)
            country = row["shipping"]["country"] or "__HIVE_DEFAULT_PARTITION__"
            assert values == {"country": country, "dt": f"{created:%Y-%m-%d}", "hour": f"{created:%H}"}, file.name
    by_hive = lake.duckdb().execute("select count(*) from lake where filename like '%country=CH/%' and shipping.country <> 'CH'")
    assert by_hive.fetchone() == (0,)
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_times_follow_the_zone_that_is_asked_for(lab: Lab) -> None:
    topic, lake = lab.topic("by-zone"), lab.local()
    lab.produce(topic, 0, PLACED, [placed(number, "CH") for number in range(30)])  # Over the change to summer time.
    rules = [{"time": "created_at", "path": "dt=%Y-%m-%d/hour=%H", "timezone": "Europe/Zurich"}]
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], partition_by=rules).settings]))
    zone = zoneinfo.ZoneInfo("Europe/Zurich")
    for file in lake.files():
        for row in pyarrow.parquet.ParquetFile(file.path).read().to_pylist():
            created = row["created_at"].astimezone(zone)
            assert file.directory == f"dt={created:%Y-%m-%d}/hour={created:%H}"


def test_fault_68_fault_69_any_value_makes_a_directory_below_the_prefix_that_says_it_back(lab: Lab) -> None:
    topic = lab.topic("nasty")
    lake = LocalLake(lab.folder / "outer" / "lake")
    lake.folder.mkdir(parents=True)
    produced = lab.produce(topic, 0, PLACED, [placed(number, country) for number, country in enumerate(NASTY)])
    connector = lab.connector(lake, [topic], partition_by=[{"field": "shipping.country"}])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))

    assert [path.name for path in (lab.folder / "outer").iterdir()] == ["lake"]
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
    said = set()
    for file in lake.files():
        assert file.name.count("/") == 2, file.name
        for row in pyarrow.parquet.ParquetFile(file.path).read().to_pylist():
            assert values_of(file.directory) == {"country": row["shipping"]["country"]}
            said.add(row["shipping"]["country"])
    assert said == set(NASTY)


FOUR = {"type": "record", "name": "Four", "fields": [{"name": name, "type": "string"} for name in "abcd"]}


def test_fault_71_values_too_long_for_a_key_below_the_prefix_are_poison(lab: Lab) -> None:
    topic, lake = lab.topic("long"), dataclasses.replace(lab.s3(), prefix="p" * 80)
    # Short enough for a key by themselves, and too long together with the prefix.
    produced = lab.produce(topic, 0, FOUR, [dict.fromkeys("abcd", "v" * length) for length in (1, 222, 190)])
    rules = [{"field": name} for name in "abcd"]
    connector = lab.connector(lake, [topic], partition_by=rules, errors={"on_poison": "skip"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert lab.topics.lag(connector.group, [topic]) == 0
    assert_delivered(lake, topic, [position for position, row in produced.items() if len(row["a"]) != 222])


def test_two_fields_that_are_not_strings_make_directories_too(lab: Lab) -> None:
    topic, lake = lab.topic("scalars"), lab.local()
    produced = lab.produce(topic, 0, PLACED, [placed(number % 4, "CH") for number in range(40)])
    connector = lab.connector(lake, [topic], partition_by=[{"field": "urgent"}, {"field": "n"}])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert {file.directory for file in lake.files()} == {"urgent=true/n=0", "urgent=false/n=1", "urgent=true/n=2", "urgent=false/n=3"}
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
