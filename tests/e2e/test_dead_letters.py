"""Dead letters: everything of the record, acknowledged before the offset moves, and what holds the offset."""

from __future__ import annotations

from typing import Any

from confluent_kafka.admin import AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType
from harness.admin import Admin
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry import encoded, framed
from harness.sluice import drain
from harness.waiting import until

SCHEMA: dict[str, Any] = {"type": "record", "name": "Thing", "fields": [{"name": "n", "type": "long"}]}


def test_a_dead_letter_has_everything_of_the_record_and_where_it_was(lab: Lab) -> None:
    topic, lake, letters = lab.topic("whole"), lab.local(), lab.topic("dead")
    schema_id = lab.register(topic, SCHEMA)
    poison = framed(schema_id, encoded(SCHEMA, {"n": 1}) + b"\x00")
    message = {
        "value": poison,
        "key": b"\x00key",
        "headers": [("trace", b"\xff\x00"), ("trace", b"2"), ("empty", None)],
        "timestamp": 1_700_000_000_123,
        "partition": 0,
    }
    lab.topics.produce_messages(topic, [{"value": framed(schema_id, encoded(SCHEMA, {"n": 0})), "partition": 0}, message])
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    connector = lab.connector(lake, [topic], errors=errors)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    (dead,) = lab.topics.records(letters)
    assert (dead.value(), dead.key()) == (poison, b"\x00key")
    assert dead.headers()[:3] == [("trace", b"\xff\x00"), ("trace", b"2"), ("empty", None)]
    facts = {key: value.decode() for key, value in dead.headers()[3:]}
    assert "bytes are left after the last value" in facts.pop("sluice.reason")
    assert facts == {
        "sluice.connector": connector.settings["name"],
        "sluice.topic": topic,
        "sluice.partition": "0",
        "sluice.offset": "1",
        "sluice.timestamp": "1700000000123",
        "sluice.stage": "decode",
        "sluice.kind": "trailing_bytes",
        "sluice.schema_id": str(schema_id),
    }


def test_letters_are_counted_when_they_are_acknowledged_and_hold_the_offset_until_then(lab: Lab) -> None:
    topic, lake, letters = lab.topic("missing"), lab.local(), lab.name("dead")
    schema_id = lab.register(topic, SCHEMA)
    good = framed(schema_id, encoded(SCHEMA, {"n": 0}))
    positions = lab.topics.produce(topic, 0, [good, b"poison", None, good])
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    connector = lab.connector(lake, [topic], errors=errors, rotate={"rows": 2, "every": "1s"})
    config = lab.sluice.write([connector.settings])
    daemon = lab.sluice.daemon(config)
    until("the missing topic is told", lambda: f"dead-letter topic {letters}" in daemon.log.read_text(), 90)
    assert "create it" in daemon.log.read_text()
    shown = until("it is shown as well", lambda: Admin.of(config).connector(connector.settings["name"])["troubles"])
    assert [one["stage"] for one in shown] == ["dead_letter"] and letters in shown[0]["message"]
    assert Admin.of(config).metrics().sum("sluice_dead_letters_total") == 0
    assert lab.topics.committed(connector.group, topic).get(0, 0) == 0
    lab.topics.create(letters)
    until("everything is settled", lambda: lab.topics.lag(connector.group, [topic]) == 0, 120)
    assert Admin.of(config).metrics().sum("sluice_dead_letters_total") == len(lab.topics.records(letters)) >= 1
    assert Admin.of(config).metrics().sum("sluice_skipped_total") >= 1, "a skipped tombstone counts as skipped"
    drain(daemon)
    assert_delivered(lake, topic, [positions[0], positions[3]])


def test_a_record_too_large_for_the_dead_letter_topic_stops_the_connector_and_says_so(lab: Lab) -> None:
    topic, lake = lab.topic("large"), lab.local()
    letters = lab.topic("small", **{"max.message.bytes": "20000"})
    lab.topics.produce(topic, 0, [b"x" * 100_000])
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    connector = lab.connector(lake, [topic], errors=errors)
    config = lab.sluice.write([connector.settings])
    finished = lab.sluice.run("run", "--config", config, "--until-end")
    assert finished.code == 1, finished
    assert letters in finished.text and "max.message.bytes" in finished.text
    assert lab.topics.committed(connector.group, topic).get(0, 0) == 0
    resource = ConfigResource(ResourceType.TOPIC, letters)
    resource.add_incremental_config(ConfigEntry("max.message.bytes", "2000000", incremental_operation=AlterConfigOpType.SET))
    lab.topics.admin.incremental_alter_configs([resource])[resource].result(30)
    lab.sluice.until_end(config)
    assert [message.value() for message in lab.topics.records(letters)] == [b"x" * 100_000]
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_a_record_above_a_megabyte_can_be_a_dead_letter(lab: Lab) -> None:
    topic, lake = lab.topic("huge", **{"max.message.bytes": "4000000"}), lab.local()
    letters = lab.topic("dead", **{"max.message.bytes": "4100000"})
    lab.topics.produce(topic, 0, [b"x" * 3_000_000], message_max_bytes=5_000_000)
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], errors=errors).settings]))
    assert [len(message.value() or b"") for message in lab.topics.records(letters)] == [3_000_000]
