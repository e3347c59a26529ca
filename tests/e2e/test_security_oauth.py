"""OAUTHBEARER with OIDC against a real broker: tokens are had, renewed and, when they are not to be had, missed in words."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry import encoded, framed
from harness.secured import Secured
from harness.sluice import drain
from harness.topics import Position
from harness.waiting import until

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}


@pytest.fixture
def client(secured: Secured) -> tuple[str, str]:
    """A client of the token server: its id and its secret."""
    name, secret = f"client-{uuid.uuid4().hex[:8]}", f"secret-{uuid.uuid4().hex}"
    secured.tokens.clients[name] = secret
    return name, secret


def produce(lab: Lab, secured: Secured, topic: str, count: int) -> list[Position]:
    schema_id = lab.register(topic, SCHEMA)
    return secured.topics.produce(topic, 0, [framed(schema_id, encoded(SCHEMA, {"n": number})) for number in range(count)])


def settings(properties: dict[str, Any]) -> dict[str, Any]:
    """The connector's `kafka` section, with the secret in the environment."""
    return {"properties": {**properties, "sasl.oauthbearer.client.secret": "${CLIENT_SECRET}"}}


def test_records_are_delivered_with_a_token(lab: Lab, secured: Secured, client: tuple[str, str]) -> None:
    (name, secret), lake = client, lab.local()
    topic = secured.topics.create(lab.name("oidc"))
    produced = produce(lab, secured, topic, 100)
    connector = lab.connector(lake, [topic], kafka=settings(secured.oidc(name, secret)))
    secured.allow_reading(name, topic, connector.group)
    config = lab.sluice.write([connector.settings])
    for command in (["check"], ["run", "--until-end"]):
        finished = lab.sluice.run(*command, "--config", config, environment={"CLIENT_SECRET": secret}, seconds=60)
        assert finished.code == 0, finished
        assert secret not in finished.text
    assert_delivered(lake, topic, produced)
    assert secured.topics.committed(connector.group, topic) == {0: 100}


def test_fault_15_a_wrong_client_secret_is_told_and_moves_nothing(lab: Lab, secured: Secured, client: tuple[str, str]) -> None:
    (name, secret), lake = client, lab.local()
    topic = secured.topics.create(lab.name("oidc"))
    produce(lab, secured, topic, 10)
    connector = lab.connector(lake, [topic], kafka=settings(secured.oidc(name, secret)))
    secured.allow_reading(name, topic, connector.group)
    config = lab.sluice.write([connector.settings])
    for command, code in (["run", "--until-end"], 1), (["check"], 2):
        finished = lab.sluice.run(*command, "--config", config, environment={"CLIENT_SECRET": "wrong-and-secret"}, seconds=60)
        assert finished.code == code, finished
        last = next(line for line in reversed(finished.err.splitlines()) if "OAUTHBEARER" in line)
        for words in ("invalid_client", "check sasl.oauthbearer.client.id", "sasl.oauthbearer.client.secret"):
            assert words in last, f"nothing is said about {words}: {last}"
        assert "wrong-and-secret" not in finished.text
    assert secured.topics.committed(connector.group, topic) == {}
    assert not lake.files()


def test_fault_15_tokens_are_renewed_before_they_end(lab: Lab, secured: Secured, client: tuple[str, str]) -> None:
    (name, secret), lake = client, lab.local()
    topic = secured.topics.create(lab.name("oidc"))
    produced = produce(lab, secured, topic, 10)
    kafka = settings(secured.oidc(name, secret))
    connector = lab.connector(lake, [topic], kafka=kafka, rotate={"every": "300ms"})
    secured.allow_reading(name, topic, connector.group)
    secured.tokens.lifetime_s = 8
    try:
        daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]), {"CLIENT_SECRET": secret})
        until("the first records are there", lambda: secured.topics.lag(connector.group, [topic]) == 0)
        first = len(secured.tokens.issued)
        until("two further tokens are asked for", lambda: len(secured.tokens.issued) >= first + 2)
        produced += produce(lab, secured, topic, 10)
        until("the later records are there", lambda: secured.topics.lag(connector.group, [topic]) == 0)
        drain(daemon)
    finally:
        secured.tokens.lifetime_s = 300
    assert_delivered(lake, topic, produced)
    said = daemon.log.read_text()
    assert not any(token in said for token in [secret, *secured.tokens.issued])
