"""Secrets change while the daemon runs: what reads a changed file starts again with it, by itself, and nothing else does."""

from __future__ import annotations

import base64
import re
import shutil
import uuid
from pathlib import Path
from typing import Any

from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.registry import encoded, framed
from harness.registry_gate import RegistryGate
from harness.s3_requests import Credentials, temporary_credentials
from harness.secured import Secured
from harness.sluice import drain
from harness.waiting import until
from services.minio import ACCESS_KEY, SECRET_KEY
from services.process import free_port

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}]}
TOKENS = ("the-token-of-the-first-day", "the-token-of-the-second-day")


def basic(password: str) -> str:
    """The header of this password."""
    return "Basic " + base64.b64encode(f"alice:{password}".encode()).decode()


def put(path: Path, text: str) -> None:
    """Replaces a file at once, as those who hand out secrets do."""
    new = path.with_suffix(f".{uuid.uuid4().hex}")
    new.write_text(text)
    new.rename(path)


def starts(log: str, connector: str) -> int:
    """How often a connector has begun to run."""
    return len(re.findall(f'connector running.*connector="{connector}"', log))


def test_changed_secret_files_are_taken_up_by_themselves_and_touch_nobody_else(lab: Lab, secured: Secured) -> None:
    folder = lab.folder / "secrets"
    folder.mkdir()
    topic = secured.topics.create(lab.name("rotated"))
    schema_id = lab.register(topic, EVENT)
    produced: list[tuple[int, int]] = []

    def feed() -> None:
        produced.extend(secured.topics.produce(topic, 0, (framed(schema_id, encoded(EVENT, {"n": n})) for n in range(20))))

    user, machine, lake = lab.name("user"), lab.name("machine"), lab.s3()
    scram = secured.user(user)
    root = Credentials(ACCESS_KEY, SECRET_KEY)
    session = temporary_credentials(lab.stack.minio.url, root)
    certificate = folder / "machine.pem"
    shutil.copy(secured.authority.issue(machine, machine), certificate)
    files: dict[str, str] = {
        "sasl": scram["sasl.password"], "registry": "first", "http": TOKENS[0],
        "s3-key": session.access_key, "s3-secret": session.secret_key, "s3-token": session.token,
    }  # fmt: skip
    for name, text in files.items():
        put(folder / name, text)
    lakes = {"password": lab.local(), "certificate": lab.local(), "registry": lab.local(), "bucket": lake, "still": lab.local()}
    kafka: dict[str, Any] = {name: secured.user(lab.name("other")) for name in ("registry", "bucket", "still")}
    kafka |= {"password": {**scram, "sasl.password": f"${{file:{folder}/sasl}}"}, "certificate": secured.mutual(certificate)}
    principals = {name: properties.get("sasl.username", f"CN={machine}") for name, properties in kafka.items()}
    keys = {"access_key_id": "s3-key", "secret_access_key": "s3-secret", "token": "s3-token"}
    with RegistryGate(lab.stack.registry.url, authorization=basic("first")) as gate:
        sections: dict[str, dict[str, Any]] = {name: {} for name in lakes}
        sections["registry"] = {"registry": {"url": gate.url, "username": "alice", "password": f"${{file:{folder}/registry}}"}}
        sections["bucket"] = {"storage": {"options": {**lake.options, **{key: f"${{file:{folder}/{file}}}" for key, file in keys.items()}}}}
        connectors = {
            name: lab.connector(own, [topic], name=name, kafka={"group": lab.name(name), "properties": {**kafka[name], **QUICK_GROUP}}, rotate={"every": "300ms"}, **sections[name])
            for name, own in lakes.items()
        }
        for name, connector in connectors.items():
            secured.allow_reading(principals[name], topic, connector.group)
        section = {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "text", "level": "info"}, "http": {"token": f"${{file:{folder}/http}}"}}
        config = lab.sluice.write([one.settings for one in connectors.values()], daemon=section)
        daemon, admin = lab.sluice.daemon(config), Admin.of(config, TOKENS[0])

        def all_delivered() -> bool:
            return all(secured.topics.lag(connector.group, [topic]) == 0 for connector in connectors.values())

        feed()
        until("all deliver", all_delivered)
        log = daemon.log.read_text
        assert {name: starts(log(), name) for name in lakes} == dict.fromkeys(lakes, 1)

        # One after the other, so that each is seen to touch its own connector only.
        def rotated(name: str) -> None:
            until(f"{name} has started anew", lambda: starts(log(), name) == 2)
            feed()
            until("all deliver", all_delivered)
            touched = {one for one in lakes if starts(log(), one) == 2}
            assert touched == set(list(order)[: list(order).index(name) + 1]), touched

        order = ("password", "certificate", "registry", "bucket")
        change = UserScramCredentialUpsertion(user, ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096), b"of-the-second-day")
        secured.topics.admin.alter_user_scram_credentials([change])[user].result(30)
        put(folder / "sasl", "of-the-second-day")
        rotated("password")
        # The same name, a new key: nothing in the configuration has changed but this file.
        put(certificate, secured.authority.issue(f"{machine}-2", machine).read_text())
        rotated("certificate")
        gate.authorization = basic("second")
        put(folder / "registry", "second")
        rotated("registry")
        session = temporary_credentials(lab.stack.minio.url, root)
        for file, text in (("s3-key", session.access_key), ("s3-secret", session.secret_key), ("s3-token", session.token)):
            put(folder / file, text)
        rotated("bucket")

        put(folder / "http", TOKENS[1])
        until("the new token is asked for", lambda: admin.ask("/metrics").status == 401)
        admin = Admin.of(config, TOKENS[1])
        assert admin.ask("/metrics").status == 200 and starts(log(), "still") == 1
        # What is wrong is refused whole, once, and what is right again is taken up.
        refused = admin.metrics().sum("sluice_config_reloads_total", result="refused")
        put(folder / "http", "short")
        until("it is refused", lambda: admin.metrics().sum("sluice_config_reloads_total", result="refused") == refused + 1)
        put(folder / "http", TOKENS[0])
        until("the first token is back", lambda: Admin.of(config, TOKENS[0]).ask("/metrics").status == 200)
        drain(daemon)
    for lake_of_one in lakes.values():
        assert_delivered(lake_of_one, topic, produced)
        assert_sound(lake_of_one)
    words = [*TOKENS, "of-the-second-day", *files.values(), session.secret_key, session.token]
    assert not [word for word in words if len(word) > 8 and word in log()]


def test_a_failed_connector_comes_back_when_its_secret_is_put_right(lab: Lab) -> None:
    topic, lake = lab.topic("wrong"), lab.s3()
    produced = lab.produce(topic, 0, EVENT, [{"n": 1}])
    secret = lab.folder / "secret"
    put(secret, "wrong")
    options = {**lake.options, "access_key_id": ACCESS_KEY, "secret_access_key": f"${{file:{secret}}}"}
    connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, storage={"options": options}, rotate={"rows": 1})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it has failed", lambda: admin.state("orders") == "failed")
    assert lab.topics.committed(connector.group, topic) == {}
    put(secret, SECRET_KEY)
    until("it delivers", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced)
