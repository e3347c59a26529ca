"""Directories by the values of fields: which field is meant, and what stands in the directory."""

from __future__ import annotations

import pyarrow.parquet
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab

DAY = 19_783  # 2024-03-01
MIDNIGHT_MS = DAY * 86_400_000
EVENT = {
    "type": "record",
    "name": "Event",
    "fields": [
        {"name": "Id", "type": "long"},
        {"name": "id", "type": "long"},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}},
        {"name": "local", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
        {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
    ],
}


def test_the_field_that_is_named_makes_the_directories(lab: Lab) -> None:
    topic, lake = lab.topic("cases"), lab.local()
    events = [{"Id": 41, "id": 42, "day": DAY, "local": MIDNIGHT_MS, "at": MIDNIGHT_MS * 1000}]
    produced = lab.produce(topic, 0, EVENT, events)
    rules = [
        {"field": "id"},
        {"field": "at"},
        {"time": "day", "path": "dt=%Y-%m-%d", "timezone": "America/New_York"},
        {"time": "local", "path": "hour=%d.%H", "timezone": "America/New_York"},
        {"time": "at", "path": "there=%d.%H", "timezone": "America/New_York"},
        {"field": "countri"},
    ]
    connector = lab.connector(lake, [topic], partition_by=rules)
    config = lab.sluice.write([connector.settings])
    checked = lab.sluice.run("check", "--config", config, seconds=60)
    assert checked.code == 0 and "names countri" in checked.out, checked
    finished = lab.sluice.until_end(config)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
    (file,) = lake.files()
    assert file.directory == (
        "id=42/at=2024-03-01 00%3A00%3A00/dt=2024-03-01/hour=01.00/there=29.19/countri=__HIVE_DEFAULT_PARTITION__"
    )
    names = [name for name in pyarrow.parquet.read_schema(file.path).names if not name.startswith("_")]
    assert names == ["Id_2", "id", "day", "local", "at"]
    assert finished.text.count("partition_by names a field that this schema does not have") == 1, finished
