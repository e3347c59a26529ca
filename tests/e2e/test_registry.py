"""The registry: who may ask, what a bad answer means, and that an answer is asked for once."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry import encoded, framed
from harness.registry_gate import RegistryGate, Reply
from harness.sluice import drain
from harness.waiting import until
from services.process import free_port

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}
NOTES = [{"n": number} for number in range(100)]
BASIC = "Basic " + base64.b64encode(b"alice:tell-nobody").decode()


@pytest.mark.parametrize(
    ("header", "registry"),
    [(BASIC, {"username": "alice", "password": "tell-nobody"}), ("Bearer tell-nobody", {"token": "tell-nobody"})],
    ids=["basic", "bearer"],
)
def test_credentials_are_sent_and_never_shown(lab: Lab, header: str, registry: dict[str, Any]) -> None:
    topic, lake = lab.topic("authorized"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, NOTES)
    with RegistryGate(lab.stack.registry.url, authorization=header) as gate:
        connector = lab.connector(lake, [topic], registry={"url": gate.url, **registry})
        finished = lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)
    assert "tell-nobody" not in finished.text


def test_fault_34_a_refusal_stops_the_connector_and_poisons_nothing(lab: Lab) -> None:
    topic, lake = lab.topic("refused"), lab.local()
    lab.produce(topic, 0, SCHEMA, NOTES)
    with RegistryGate(lab.stack.registry.url, authorization=BASIC) as gate:
        registry = {"url": gate.url, "username": "alice", "password": "wrong-and-secret"}
        connector = lab.connector(lake, [topic], registry=registry, errors={"on_poison": "skip"})
        finished = lab.sluice.run("run", "--config", lab.sluice.write([connector.settings]), "--until-end")
    assert finished.code == 1, finished
    assert "401" in finished.text and "wrong-and-secret" not in finished.text
    assert lab.topics.committed(connector.group, topic).get(0, 0) == 0
    assert not lake.files()


def test_fault_33_an_unknown_id_is_poison_after_a_while_and_is_not_asked_for_by_every_record(lab: Lab) -> None:
    topic, lake = lab.topic("unknown"), lab.local()
    schema_id = lab.register(topic, SCHEMA)
    values = [framed(987_654 if note["n"] % 2 else schema_id, encoded(SCHEMA, note)) for note in NOTES]
    positions = lab.topics.produce(topic, 0, values)
    with RegistryGate(lab.stack.registry.url) as gate:
        connector = lab.connector(lake, [topic], registry={"url": gate.url}, errors={"on_poison": "skip"})
        lab.sluice.until_end(lab.sluice.write([connector.settings]))
        asked = [path for path in gate.paths if "/987654" in path]
    assert_delivered(lake, topic, positions[::2])
    assert lab.topics.lag(connector.group, [topic]) == 0
    assert 0 < len(asked) < 25, f"the registry was asked {len(asked)} times"


BAD_ANSWERS: dict[str, Reply] = {
    "fault_35_503": (503, "text/plain", b"try later"),
    "fault_35_500": (500, "application/json", b'{"error_code":50001,"message":"oops"}'),
    "fault_35_429": (429, "text/plain", b""),
    "fault_36_html": (200, "text/html", b"<html>a login page</html>"),
    "fault_36_cut": (200, "application/json", b'{"schema":"{\\"type\\"'),
}


@pytest.mark.parametrize("name", BAD_ANSWERS)
def test_bad_answers_are_asked_again_and_poison_nothing(lab: Lab, name: str) -> None:
    topic, lake = lab.topic("transient"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, NOTES)
    with RegistryGate(lab.stack.registry.url, answer=lambda number, _path: BAD_ANSWERS[name] if number <= 3 else None) as gate:
        connector = lab.connector(lake, [topic], registry={"url": gate.url}, errors={"on_poison": "skip"})
        lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)


def test_fault_31_a_registry_that_is_down_at_the_start_is_waited_for(lab: Lab) -> None:
    topic, lake = lab.topic("late"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, NOTES)
    up = False

    def answer(_number: int, _path: str) -> Reply | None:
        return None if up else (503, "text/plain", b"not yet")

    with RegistryGate(lab.stack.registry.url, answer=answer) as gate:
        connector = lab.connector(lake, [topic], registry={"url": gate.url}, rotate={"every": "500ms"})
        daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
        until("the registry is asked", lambda: len(gate.paths) >= 2)
        assert daemon.running() and not lake.files()
        up = True
        until("lag is 0", lambda: lab.topics.lag(connector.group, [topic]) == 0)
        drain(daemon)
    assert_delivered(lake, topic, produced)


def test_the_second_url_is_used_when_the_first_does_not_answer(lab: Lab) -> None:
    topic, lake = lab.topic("second"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, NOTES)
    urls = [f"http://127.0.0.1:{free_port()}", lab.stack.registry.url]
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], registry={"url": urls}).settings]))
    assert_delivered(lake, topic, produced)


def test_a_schema_is_fetched_once_for_all_partitions(lab: Lab) -> None:
    topic, lake = lab.topic("once", 4), lab.local()
    produced = {}
    for partition in range(4):
        produced |= lab.produce(topic, partition, SCHEMA, NOTES)
    with RegistryGate(lab.stack.registry.url) as gate:
        lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], registry={"url": gate.url}).settings]))
        by_id = [path for path in gate.paths if path.startswith("/schemas/ids/")]
    assert_delivered(lake, topic, produced)
    assert len(by_id) == 1, by_id


def test_fault_37_a_schema_of_another_kind_is_poison_that_says_so(lab: Lab) -> None:
    topic, lake = lab.topic("json"), lab.local()
    schema_id = lab.registry.register(f"{topic}-value", {"$schema": "http://json-schema.org/draft-07/schema#", "type": "object"}, kind="JSON")
    lab.topics.produce(topic, 0, [framed(schema_id, b"{}")])
    finished = lab.sluice.run("run", "--config", lab.sluice.write([lab.connector(lake, [topic]).settings]), "--until-end")
    assert finished.code == 1, finished
    assert "JSON" in finished.text
