"""Avro keys: a column of their own schema, which evolves; poison keys; and what stays when a flush is made again."""

from __future__ import annotations

from typing import Any

from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.registry import encoded, framed

VALUE: dict[str, Any] = {"type": "record", "name": "V", "fields": [{"name": "n", "type": "long"}]}
KEY: dict[str, Any] = {"type": "record", "name": "K", "fields": [{"name": "id", "type": "long"}]}
WIDER: dict[str, Any] = {**KEY, "fields": [*KEY["fields"], {"name": "region", "type": "string", "default": "-"}]}


def messages(lab: Lab, topic: str, keys: list[bytes | None]) -> list[dict[str, Any]]:
    value = lab.register(topic, VALUE)
    return [{"key": key, "value": framed(value, encoded(VALUE, {"n": n})), "partition": 0} for n, key in enumerate(keys)]


def key_schema(lab: Lab, topic: str, schema: Any) -> int:
    return lab.registry.register(f"{topic}-key", schema)


def test_keys_become_a_struct_that_evolves(lab: Lab) -> None:
    topic, lake = lab.topic("keys"), lab.local()
    old, new = key_schema(lab, topic, KEY), key_schema(lab, topic, WIDER)
    keys = [
        framed(new, encoded(WIDER, {"id": 0, "region": "eu"})),
        framed(old, encoded(KEY, {"id": 1})),
        None,
        framed(new, encoded(WIDER, {"id": 3, "region": "us"})),
    ]
    positions = lab.topics.produce_messages(topic, messages(lab, topic, keys))
    connector = lab.connector(lake, [topic], key={"format": "avro"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions)
    assert_sound(lake)
    assert len(lake.files()) == 1
    found = lake.duckdb().execute("select n, _key.id, _key.region, _key is null from lake order by n").fetchall()
    assert found == [(0, 0, "eu", False), (1, 1, "-", False), (2, None, None, True), (3, 3, "us", False)]


def test_null_keys_before_the_first_that_has_a_schema_share_its_file(lab: Lab) -> None:
    topic, lake = lab.topic("late-keys"), lab.local()
    known = key_schema(lab, topic, KEY)
    keys = [None, None, framed(known, encoded(KEY, {"id": 2})), None]
    positions = lab.topics.produce_messages(topic, messages(lab, topic, keys))
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], key={"format": "avro"}).settings]))
    assert_delivered(lake, topic, positions)
    assert_sound(lake)
    assert len(lake.files()) == 1
    found = lake.duckdb().execute("select n, _key.id from lake order by n").fetchall()
    assert found == [(0, None), (1, None), (2, 2), (3, None)]


def test_scalar_keys_and_one_of_another_type_in_a_file_of_its_own(lab: Lab) -> None:
    topic, lake = lab.topic("scalar-keys"), lab.local()
    text, number = key_schema(lab, topic, {"type": "string"}), key_schema(lab, topic, {"type": "long"})
    keys = [framed(text, encoded({"type": "string"}, f"key {n}")) for n in range(5)]
    keys.append(framed(number, encoded({"type": "long"}, 7)))
    positions = lab.topics.produce_messages(topic, messages(lab, topic, keys))
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], key={"format": "avro"}).settings]))
    assert_delivered(lake, topic, positions)
    assert [row["_key"] for row in lake.rows()] == [*(f"key {n}" for n in range(5)), 7]
    assert len(lake.files()) == 2


def test_poison_keys_go_the_way_of_poison_values(lab: Lab) -> None:
    topic, lake, letters = lab.topic("poison-keys"), lab.local(), lab.topic("dead")
    known = key_schema(lab, topic, KEY)
    good = framed(known, encoded(KEY, {"id": 1}))
    keys: list[bytes | None] = [good, b"plain text", good[:-1], good + b"\x00", good]
    positions = lab.topics.produce_messages(topic, messages(lab, topic, keys))
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], key={"format": "avro"}, errors=errors).settings]))
    assert_delivered(lake, topic, [positions[0], positions[4]])
    dead = lab.topics.records(letters)
    assert [message.key() for message in dead] == keys[1:4]
    assert all("key" in dict(message.headers())["sluice.reason"].decode() for message in dead)


def test_keys_stay_beside_rows_for_tombstones(lab: Lab) -> None:
    topic, lake = lab.topic("deleted"), lab.local()
    known = key_schema(lab, topic, KEY)
    keys = [framed(known, encoded(KEY, {"id": n})) for n in range(3)]
    made = messages(lab, topic, list(keys))
    made[1]["value"] = None
    lab.topics.produce_messages(topic, made)
    connector = lab.connector(lake, [topic], key={"format": "avro"}, errors={"on_tombstone": "row"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert [(row["n"], row["_key"]["id"]) for row in lake.rows()] == [(0, 0), (None, 1), (2, 2)]
