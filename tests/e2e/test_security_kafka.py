"""A broker that refuses: each refusal is told in words that say what to do, readiness is red, and no offset moves."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from harness.admin import Admin
from harness.certificates import Authority
from harness.delivery import assert_delivered
from harness.lab import QUICK_GROUP, Lab
from harness.registry import encoded, framed
from harness.secured import Secured
from harness.sluice import drain
from harness.topics import Position
from harness.waiting import until

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}
QUICK_CLIENT = {**QUICK_GROUP, "reconnect.backoff.max.ms": 1000}

Properties = dict[str, Any]


def produce(lab: Lab, secured: Secured, topic: str, count: int) -> list[Position]:
    schema_id = lab.register(topic, SCHEMA)
    return secured.topics.produce(topic, 0, [framed(schema_id, encoded(SCHEMA, {"n": number})) for number in range(count)])


def new_user(what: str) -> str:
    return f"{what}-{uuid.uuid4().hex[:8]}"


class Refused:
    """A way of not being let in: the properties, and words that the message must have."""

    def __init__(self, make: Callable[[Secured, Path], Properties], *words: str):
        self.make = make
        self.words = words


def scram(secured: Secured, _folder: Path) -> Properties:
    return secured.user(new_user("user"))


def expired_server(secured: Secured, folder: Path) -> Properties:
    return {**scram(secured, folder), "bootstrap.servers": secured.kafka.expired_brokers}


def unknown_authority(secured: Secured, folder: Path) -> Properties:
    return {**scram(secured, folder), "ssl.ca.location": str(Authority(folder / "other", "another").file)}


def expired_client(secured: Secured, _folder: Path) -> Properties:
    return secured.mutual(secured.authority.issue(new_user("expired"), "sluice", days=(-30, -1)))


def no_client_certificate(secured: Secured, _folder: Path) -> Properties:
    return {key: value for key, value in secured.mutual(secured.authority.file).items() if key not in ("ssl.certificate.location", "ssl.key.location")}


REFUSALS = {
    "wrong-password": Refused(
        lambda secured, folder: {**scram(secured, folder), "sasl.password": "wrong-and-secret"}, "SCRAM-SHA-512", "check sasl.username, sasl.password"
    ),
    "wrong-mechanism": Refused(
        lambda secured, folder: {**scram(secured, folder), "sasl.mechanism": "SCRAM-SHA-256"}, "OAUTHBEARER", "set sasl.mechanism"
    ),
    "expired-server-certificate": Refused(expired_server, "certificate", "has not expired", "ssl.ca.location"),
    "unknown-authority": Refused(unknown_authority, "certificate", "ssl.ca.location holds the authority"),
    "expired-client-certificate": Refused(expired_client, "refuses our certificate", "has not expired", "ssl.certificate.location"),
    "no-client-certificate": Refused(no_client_certificate, "refuses our certificate", "ssl.certificate.location and ssl.key.location"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_fault_15_a_refusal_is_told_with_what_to_do_and_moves_nothing(lab: Lab, secured: Secured, name: str) -> None:
    refused, lake = REFUSALS[name], lab.local()
    topic = secured.topics.create(lab.name("refused"))
    produce(lab, secured, topic, 10)
    properties = {**refused.make(secured, lab.folder), **QUICK_CLIENT}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "300ms"})
    config = lab.sluice.write([connector.settings])
    ends = {"check": lab.sluice.run("check", "--config", config, seconds=60), "run": lab.sluice.run("run", "--until-end", "--config", config, seconds=60)}
    assert (ends["check"].code, ends["run"].code) == (2, 1), ends

    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    reason = until("the daemon says why", lambda: (said := admin.not_ready().get(connector.settings["name"], "")) and refused.words[0] in said and said)
    assert daemon.running()
    for said in (reason, daemon.log.read_text(), *(finished.err for finished in ends.values())):
        line = next(line for line in said.splitlines() if refused.words[0] in line)
        assert all(word in line for word in refused.words), line
        assert "secret" not in said and str(properties.get("sasl.password")) not in said
    told = [line for line in daemon.log.read_text().splitlines() if refused.words[0] in line]
    assert len(told) == 1, f"the same is told once: {told}"
    assert secured.topics.committed(connector.group, topic) == {}
    assert not lake.files()
    drain(daemon)


def test_fault_15_what_was_refused_goes_on_by_itself_when_the_broker_is_put_right(lab: Lab, secured: Secured) -> None:
    user, lake = new_user("user"), lab.local()
    topic = secured.topics.create(lab.name("refused"))
    produced = produce(lab, secured, topic, 10)
    properties = {**secured.user(user), "sasl.password": "in-the-configuration", **QUICK_CLIENT}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "300ms"})
    secured.allow_reading(user, topic, connector.group)
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is refused", lambda: "SCRAM" in admin.not_ready().get(connector.settings["name"], ""))
    change = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"in-the-configuration")
    secured.topics.admin.alter_user_scram_credentials([change])[user].result(30)
    until("it is let in", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    until("it is ready", lambda: admin.not_ready() == {})
    drain(daemon)
    assert_delivered(lake, topic, produced)


def test_a_client_certificate_lets_in(lab: Lab, secured: Secured) -> None:
    lake, topic = lab.local(), secured.topics.create(lab.name("mutual"))
    produced = produce(lab, secured, topic, 10)
    name = new_user("client")
    connector = lab.connector(lake, [topic], kafka={"properties": secured.mutual(secured.authority.issue(name, name))})
    secured.allow_reading(f"CN={name}", topic, connector.group)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)


@pytest.mark.parametrize(
    ("missing", "words"),
    [
        ("TOPIC", ("{topic}", "allow READ on the topic")),
        ("GROUP", ("{group}", "allow READ on the group")),
    ],
    ids=["topic", "group"],
)
@pytest.mark.parametrize("describe", [False, True], ids=["hidden", "visible"])
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_a_missing_rule_is_named_and_moves_nothing(lab: Lab, secured: Secured, missing: str, words: tuple[str, ...], describe: bool, protocol: str) -> None:
    user, lake = new_user("user"), lab.local()
    topic = secured.topics.create(lab.name("denied"))
    produced = produce(lab, secured, topic, 10)
    properties = {**secured.user(user), "group.protocol": protocol}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "300ms"})
    for kind, name in (("TOPIC", topic), ("GROUP", connector.group)):
        if kind != missing:
            secured.allow(user, kind, name, "READ")
        elif describe:
            secured.allow(user, kind, name, "DESCRIBE")
    config = lab.sluice.write([connector.settings])
    bounded = lab.sluice.run("run", "--until-end", "--config", config, seconds=90)
    assert bounded.code == 1, bounded

    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    failed = until("the daemon says why", lambda: (said := admin.not_ready().get(connector.settings["name"], "")).startswith("failed") and said)
    assert daemon.running()
    for said in (failed, bounded.err.splitlines()[-1]):
        for word in words:
            assert word.format(topic=topic, group=connector.group) in said, said
    assert secured.topics.committed(connector.group, topic) == {}
    assert not lake.files()

    secured.allow_reading(user, topic, connector.group)
    assert admin.post(f"/api/connectors/{connector.settings['name']}/restart").status < 300
    until("it goes on", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced)


def test_a_missing_rule_on_the_dead_letter_topic_is_named_and_moves_nothing(lab: Lab, secured: Secured) -> None:
    user, lake = new_user("user"), lab.local()
    topic, dead = secured.topics.create(lab.name("denied")), secured.topics.create(lab.name("dead"))
    produced = produce(lab, secured, topic, 10) + secured.topics.produce(topic, 0, [b"poison"])
    errors = {"on_poison": "dead_letter", "dead_letter_topic": dead}
    kafka = {"properties": secured.user(user)}
    connector = lab.connector(lake, [topic], kafka=kafka, rotate={"every": "300ms"}, errors=errors)
    secured.allow_reading(user, topic, connector.group)
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    failed = until("the daemon says why", lambda: (said := admin.not_ready().get(connector.settings["name"], "")).startswith("failed") and said)
    assert dead in failed and "allow WRITE" in failed, failed
    assert "uthorization failed" in failed, failed
    assert secured.topics.committed(connector.group, topic).get(0, 0) == 0
    assert not secured.topics.records(dead)

    secured.allow(user, "TOPIC", dead, "WRITE")
    assert admin.post(f"/api/connectors/{connector.settings['name']}/restart").status < 300
    until("it goes on", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced[:-1])
    assert [message.value() for message in secured.topics.records(dead)] == [b"poison"]


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_fault_16_a_commit_that_is_denied_stops_the_connector_and_publishes_nothing_more(lab: Lab, secured: Secured, protocol: str) -> None:
    user, lake = new_user("user"), lab.local()
    topic = secured.topics.create(lab.name("denied"))
    produced = produce(lab, secured, topic, 100)
    properties = {**secured.user(user), **({"group.protocol": protocol} if protocol == "consumer" else QUICK_GROUP)}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"rows": 100, "every": "1h"})
    secured.allow_reading(user, topic, connector.group)
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("the first flush is settled", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    secured.forbid(user, "GROUP", connector.group, "READ")
    produced += produce(lab, secured, topic, 5_000)
    failed = until("the daemon says why", lambda: (said := admin.not_ready().get(connector.settings["name"], "")).startswith("failed") and said)
    assert connector.group in failed and "allow READ on the group" in failed, failed
    assert secured.topics.committed(connector.group, topic) == {0: 100}
    assert sum(file.end - file.start for file in lake.files()) <= 200, "at most one flush may be uncommitted"

    secured.allow(user, "GROUP", connector.group, "READ")
    assert admin.post(f"/api/connectors/{connector.settings['name']}/restart").status < 300
    until("it goes on", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced)
