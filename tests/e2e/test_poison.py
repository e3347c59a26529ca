"""Records that cannot be written, tombstones, and schemas that change."""

from __future__ import annotations

from typing import Any

import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.registry import Reference, encoded, framed

SCHEMA = {"type": "record", "name": "Thing", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}


def things(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"thing {number}"} for number in range(count)]


def good(lab: Lab, topic: str) -> list[bytes]:
    """Twenty good values."""
    schema_id = lab.register(topic, SCHEMA)
    return [framed(schema_id, encoded(SCHEMA, thing)) for thing in things(20)]


def bad(schema_id: int) -> dict[str, bytes]:
    """Values that are poison, by what is wrong with them."""
    datum = encoded(SCHEMA, {"n": 5, "text": "good"})
    return {
        "empty": b"",
        "short": b"\x00\x00\x00",
        "magic": b'{"n": 1}',
        "single_object": b"\xc3\x01" + b"x" * 20,
        "truncated": framed(schema_id, datum[:-2]),
        "trailing": framed(schema_id, datum + b"\x00"),
        "long_length": framed(schema_id, b"\x02" + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01"),
        "negative_length": framed(schema_id, b"\x02\x01"),
        "overlong_number": framed(schema_id, b"\xff" * 11 + b"\x00"),
        "not_utf8": framed(schema_id, b"\x02\x04\xff\xfe"),
    }


KINDS = sorted(bad(0))


def mixed(lab: Lab, topic: str) -> tuple[list[tuple[int, int]], list[tuple[int, int]], list[bytes]]:
    """Produces good values with a poison one of each kind between them: good and bad positions, bad values."""
    values, poison = good(lab, topic), list(bad(lab.register(topic, SCHEMA)).values())
    where = [3 + 2 * number if number < 8 else 20 + number for number in range(len(poison))]
    for place, value in zip(where, poison, strict=True):
        values.insert(place, value)
    positions = lab.topics.produce(topic, 0, values)
    wrong = {positions[place] for place in where}
    return [position for position in positions if position not in wrong], sorted(wrong), poison


def test_fault_44_to_53_poison_is_skipped_and_the_rest_stands(lab: Lab) -> None:
    topic, lake = lab.topic("skip"), lab.local()
    right, _, _ = mixed(lab, topic)
    connector = lab.connector(lake, [topic], errors={"on_poison": "skip"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, right)
    assert [(row["n"], row["text"]) for row in lake.rows()] == [(thing["n"], thing["text"]) for thing in things(20)]
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_fault_44_to_53_poison_goes_to_the_dead_letter_topic_as_it_was(lab: Lab) -> None:
    topic, lake, letters = lab.topic("letters"), lab.local(), lab.topic("dead")
    right, wrong, values = mixed(lab, topic)
    connector = lab.connector(lake, [topic], errors={"on_poison": "dead_letter", "dead_letter_topic": letters})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, right)
    dead = lab.topics.records(letters)
    assert sorted(message.value() or b"" for message in dead) == sorted(values)
    for message in dead:
        headers = {key: value.decode() for key, value in message.headers() or []}
        assert headers["sluice.topic"] == topic and headers["sluice.reason"]
        assert (int(headers["sluice.partition"]), int(headers["sluice.offset"])) in wrong
    assert lab.topics.lag(connector.group, [topic]) == 0


@pytest.mark.parametrize("kind", KINDS)
def test_poison_stops_the_connector_and_holds_the_offset_by_default(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("fail"), lab.local()
    values = good(lab, topic)
    values.insert(7, bad(lab.register(topic, SCHEMA))[kind])
    lab.topics.produce(topic, 0, values)
    connector = lab.connector(lake, [topic])
    finished = lab.sluice.run("run", "--config", lab.sluice.write([connector.settings]), "--until-end")
    assert finished.code == 1, finished
    assert topic in finished.text and "7" in finished.text
    assert lab.topics.committed(connector.group, topic).get(0, 0) <= 7
    assert all(offset < 7 for _, _, offset in lake.positions())


def test_one_connector_that_fails_leaves_the_others_alone(lab: Lab) -> None:
    failing, fine = lab.topic("failing"), lab.topic("fine")
    lab.topics.produce(failing, 0, [b"poison"])
    produced = lab.produce(fine, 0, SCHEMA, things(100))
    lakes = [lab.local(), lab.local()]
    connectors = [lab.connector(lakes[0], [failing]), lab.connector(lakes[1], [fine])]
    finished = lab.sluice.run("run", "--config", lab.sluice.write([connector.settings for connector in connectors]), "--until-end")
    assert finished.code == 1, finished
    assert_delivered(lakes[1], fine, produced)
    assert lab.topics.lag(connectors[1].group, [fine]) == 0


def test_fault_43_tombstones_are_skipped_by_default(lab: Lab) -> None:
    topic, lake = lab.topic("tombstones"), lab.local()
    values: list[bytes | None] = [*good(lab, topic)]
    values[5:5] = [None, None]
    values.append(None)
    positions = lab.topics.produce(topic, 0, values)
    connector = lab.connector(lake, [topic])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, [position for position, value in zip(positions, values, strict=True) if value is not None])
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_fault_43_tombstones_are_rows_of_nulls_where_asked(lab: Lab) -> None:
    topic, lake = lab.topic("null-rows"), lab.local()
    positions = lab.topics.produce(topic, 0, [*good(lab, topic)[:3], None])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], errors={"on_tombstone": "row"}).settings]))
    assert_delivered(lake, topic, positions)
    last = lake.rows()[-1]
    assert (last["n"], last["text"], last["_offset"]) == (None, None, 3)


def test_fault_43_tombstones_go_to_the_dead_letter_topic_where_asked(lab: Lab) -> None:
    topic, lake, letters = lab.topic("letters"), lab.local(), lab.topic("dead")
    values = good(lab, topic)[:3]
    lab.topics.produce_messages(topic, [*({"value": value, "partition": 0} for value in values), {"value": None, "key": "gone", "partition": 0}])
    errors = {"on_tombstone": "dead_letter", "dead_letter_topic": letters}
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], errors=errors).settings]))
    assert [(message.key(), message.value()) for message in lab.topics.records(letters)] == [(b"gone", None)]


NEWER = {**SCHEMA, "fields": [*SCHEMA["fields"], {"name": "colour", "type": ["null", "string"], "default": None}]}


def test_fault_62_two_versions_that_alternate_share_files_and_lose_nothing(lab: Lab) -> None:
    topic, lake = lab.topic("versions"), lab.local()
    old, new = lab.register(topic, SCHEMA), lab.register(topic, NEWER)
    values = [
        framed(new, encoded(NEWER, {**thing, "colour": f"c{thing['n']}"})) if thing["n"] % 2 else framed(old, encoded(SCHEMA, thing))
        for thing in things(200)
    ]
    positions = lab.topics.produce(topic, 0, values)
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    assert_delivered(lake, topic, positions)
    assert_sound(lake)
    assert len(lake.files()) <= 3, "alternating versions made a file each"
    found = lake.duckdb().execute("select n, text, colour from lake order by n").fetchall()
    assert found == [(number, f"thing {number}", f"c{number}" if number % 2 else None) for number in range(200)]


def test_fault_64_an_older_version_after_a_newer_one_is_read_with_its_defaults(lab: Lab) -> None:
    topic, lake = lab.topic("older"), lab.local()
    old, new = lab.register(topic, SCHEMA), lab.register(topic, NEWER)
    values = [framed(new, encoded(NEWER, {"n": 0, "text": "new", "colour": "red"})), framed(old, encoded(SCHEMA, {"n": 1, "text": "old"}))]
    lab.topics.produce(topic, 0, values)
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    assert lake.duckdb().execute("select n, colour from lake order by n").fetchall() == [(0, "red"), (1, None)]


def test_fault_63_an_incompatible_version_gets_a_file_of_its_own(lab: Lab) -> None:
    other = {**SCHEMA, "fields": [{"name": "n", "type": "string"}, SCHEMA["fields"][1]]}
    topic, lake = lab.topic("incompatible"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, things(10))
    produced |= lab.produce(topic, 0, other, [{"n": "ten", "text": "x"}])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    rows = lake.rows()
    assert [row["n"] for row in rows] == [*range(10), "ten"]
    assert [(0, row["_offset"]) for row in rows] == sorted(produced)
    assert len(lake.files()) >= 2


def test_fault_38_schemas_with_references_are_resolved(lab: Lab) -> None:
    address = {"type": "record", "name": "Address", "namespace": "shop", "fields": [{"name": "city", "type": "string"}]}
    person = {"type": "record", "name": "Person", "namespace": "shop", "fields": [{"name": "home", "type": "shop.Address"}]}
    order = {
        "type": "record",
        "name": "Order",
        "namespace": "shop",
        "fields": [{"name": "buyer", "type": "shop.Person"}, {"name": "to", "type": "shop.Address"}],
    }
    topic, lake = lab.topic("references"), lab.local()
    address_subject, person_subject = lab.name("address"), lab.name("person")
    lab.registry.register(address_subject, address)
    to_address = Reference("shop.Address", address_subject, 1)
    lab.registry.register(person_subject, person, [to_address])
    schema_id = lab.register(topic, order, [to_address, Reference("shop.Person", person_subject, 1)])
    whole = {**order, "fields": [{"name": "buyer", "type": {**person, "fields": [{"name": "home", "type": address}]}}, order["fields"][1]]}
    records = [{"buyer": {"home": {"city": f"city {number}"}}, "to": {"city": "Bern"}} for number in range(20)]
    lab.topics.produce(topic, 0, [framed(schema_id, encoded(whole, record)) for record in records])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    assert [{"buyer": row["buyer"], "to": row["to"]} for row in lake.rows()] == records
