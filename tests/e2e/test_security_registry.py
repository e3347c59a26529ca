"""The registry over TLS with an authority of the company's own."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from harness.certificates import Authority
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry_gate import RegistryGate

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}
NOTES = [{"n": number} for number in range(100)]
BASIC = "Basic " + base64.b64encode(b"alice:tell-nobody").decode()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("registry-authority"))


@pytest.fixture(scope="module")
def certificate(authority: Authority) -> Path:
    return authority.issue("registry")


@pytest.mark.parametrize(
    ("header", "credentials"),
    [(None, {}), (BASIC, {"username": "alice", "password": "tell-nobody"}), ("Bearer tell-nobody", {"token": "tell-nobody"})],
    ids=["anonymous", "basic", "bearer"],
)
def test_a_registry_with_tls_is_trusted_by_its_authority(
    lab: Lab, authority: Authority, certificate: Path, header: str | None, credentials: dict[str, Any]
) -> None:
    topic, lake = lab.topic("tls"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, NOTES)
    with RegistryGate(lab.stack.registry.url, authorization=header, certificate=certificate) as gate:
        registry = {"url": gate.url, "ca_file": str(authority.file), **credentials}
        config = lab.sluice.write([lab.connector(lake, [topic], registry=registry).settings])
        checked = lab.sluice.run("check", "--config", config, seconds=60)
        finished = lab.sluice.until_end(config)
    assert checked.code == 0, checked
    assert "tell-nobody" not in checked.text + finished.text
    assert_delivered(lake, topic, produced)


def refused(lab: Lab, gate: RegistryGate, *command: str, code: int, **registry: Any) -> str:
    """What a command says about this registry, which it must refuse without sending or delivering anything."""
    topic, lake = lab.topic("untrusted"), lab.local()
    lab.produce(topic, 0, SCHEMA, NOTES)
    credentials = {"username": "alice", "password": "tell-nobody"}
    connector = lab.connector(lake, [topic], registry={"url": gate.url, **credentials, **registry})
    finished = lab.sluice.run(*command, "--config", lab.sluice.write([connector.settings]), seconds=60)
    assert finished.code == code, finished
    assert "tell-nobody" not in finished.text
    # Where it began is committed, and nothing beyond.
    assert not any(lab.topics.committed(connector.group, topic).values())
    assert not lake.files()
    assert not gate.paths, "no request may go to a server that is not trusted"
    return next(line for line in reversed(finished.text.splitlines()) if gate.url in line)


def test_without_its_authority_the_registry_is_refused_in_words(lab: Lab, certificate: Path, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "another authority")
    with RegistryGate(lab.stack.registry.url, certificate=certificate) as gate:
        for line in (
            refused(lab, gate, "run", "--until-end", code=1),
            refused(lab, gate, "check", code=2),
            refused(lab, gate, "check", code=2, ca_file=str(other.file)),
        ):
            assert "certificate" in line and "set registry.ca_file" in line, line


def test_fault_15_an_expired_certificate_of_the_registry_is_named(lab: Lab, authority: Authority) -> None:
    with RegistryGate(lab.stack.registry.url, certificate=authority.issue("registry-expired", days=(-30, -1))) as gate:
        line = refused(lab, gate, "check", code=2, ca_file=str(authority.file))
    assert "certificate expired" in line and "renew" in line, line


def test_a_certificate_for_another_host_is_refused(lab: Lab, authority: Authority) -> None:
    with RegistryGate(lab.stack.registry.url, certificate=authority.issue("registry-elsewhere", "registry.elsewhere.test")) as gate:
        line = refused(lab, gate, "check", code=2, ca_file=str(authority.file))
    assert "certificate" in line and "localhost" in line, line
