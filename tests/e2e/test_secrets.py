"""Planted secrets are nowhere to be read: logs of either form, every endpoint, what commands say, files, commits.

Once with services that accept them, so that they are used, and once with services that refuse, so that there is something to say.
"""

from __future__ import annotations

import base64
import json
import re
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.x509 import load_pem_x509_certificate
from harness.admin import Admin
from harness.delivery import assert_delivered
from harness.lab import QUICK_GROUP, Connector, Lab
from harness.registry import encoded, framed
from harness.registry_gate import RegistryGate
from harness.s3_requests import Credentials, temporary_credentials
from harness.secured import Secured
from harness.sluice import REPOSITORY, drain
from harness.waiting import until
from services.minio import ACCESS_KEY, SECRET_KEY
from services.process import free_port

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
PAGES = ["/", "/?refresh=off", "/metrics", "/healthz", "/readyz", "/api/connectors", "/api/log", "/api/openapi.json"]
WIRE_DEBUG = {"debug": "security,broker,conf,protocol,feature"}
"""librdkafka's own talk about connections."""


class Planted:
    """Secrets by kind, each a word that is in nothing else; handed over as text, by a file or by the environment."""

    def __init__(self, lab: Lab):
        self.lab = lab
        self.words: dict[str, str] = {}

    def new(self, kind: str) -> str:
        """A secret."""
        return self.keep(kind, f"pl4nted-{kind}-5ecret-{self.lab.tag}")

    def keep(self, kind: str, word: str) -> str:
        """Takes somebody else's secret for one of ours."""
        self.words[kind] = word
        return word

    def by_file(self, kind: str, word: str | None = None) -> str:
        """A reference to a file with a secret."""
        path = self.lab.folder / f"secret-of-{kind}"
        path.write_text(f"{self.keep(kind, word) if word else self.new(kind)}\n")
        return f"${{file:{path}}}"

    def by_environment(self, kind: str, word: str | None = None) -> str:
        """A reference to a variable with a secret."""
        name = f"PLANTED_{kind.upper().replace('-', '_')}"
        self.lab.sluice.environment = {**self.lab.sluice.environment, name: self.keep(kind, word) if word else self.new(kind)}
        return f"${{{name}}}"

    def assert_nowhere(self, texts: dict[str, bytes]) -> None:
        """None of the texts, by what they are, has one of the secrets, plain or as HTTP basic hides it."""
        assert len(self.words) == len(set(self.words.values()))
        for kind, word in self.words.items():
            hidden = [base64.b64encode(before + word.encode())[4:-4] for before in (b"", b":", b"::")]
            for what, text in texts.items():
                for form in (word.encode(), *hidden):
                    found = re.search(rb".{0,200}" + re.escape(form) + rb".{0,50}", text)
                    assert not found, f"the secret `{kind}` is in {what}: {found[0]!r}"


def said_by(admin: Admin, connectors: list[str]) -> dict[str, bytes]:
    """Every answer of the endpoints, also to what is refused."""
    asked = PAGES + [f"/api/connectors/{name}{rest}" for name in connectors for rest in ("", "/footer?path=no-such.parquet", "/footer")]
    asked += [f"/footer?connector={name}&path=no-such.parquet" for name in connectors]
    texts = {f"GET {path}": admin.ask(path).body.encode() for path in asked}
    texts |= {f"without a token: {path}": Admin(admin.base).ask(path).body.encode() for path in asked}
    return texts | {"POST /api/log": admin.post("/api/log", {"level": "loud"}).body.encode()}


def daemon_section(token: str, log: dict[str, str]) -> dict[str, Any]:
    return {"listen": f"127.0.0.1:{free_port()}", "log": log, "http": {"token": token}}


def locked_key(secured: Secured, name: str, password: str) -> Path:
    """A client certificate whose key asks for a password."""
    pem = secured.authority.issue(name, name).read_bytes()
    key = serialization.load_pem_private_key(pem, None)
    locked = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(password.encode()))
    path = secured.authority.folder / f"{name}-locked.pem"
    path.write_bytes(locked + load_pem_x509_certificate(pem).public_bytes(serialization.Encoding.PEM))
    return path


def as_options(session: Credentials, planted: Planted) -> dict[str, str]:
    return {
        "access_key_id": session.access_key,
        "secret_access_key": planted.by_file("s3-secret", session.secret_key),
        "token": planted.by_environment("s3-session", session.token),
    }


def test_fault_112_secrets_that_are_used_are_nowhere_to_be_read(lab: Lab, secured: Secured) -> None:
    planted = Planted(lab)
    topic = secured.topics.create(lab.name("used"))
    schema_id = lab.register(topic, EVENT)
    produced = secured.topics.produce(topic, 0, (framed(schema_id, encoded(EVENT, {"n": n, "text": "x"})) for n in range(50)))
    user, client, machine = (lab.name(what) for what in ("user", "client", "machine"))
    password = secured.user(user)
    password["sasl.password"] = planted.by_file("sasl", password["sasl.password"])
    secured.tokens.clients[client] = planted.new("client-secret")
    token = {**secured.oidc(client, ""), "sasl.oauthbearer.client.secret": planted.by_environment("client-secret")}
    locked = planted.by_environment("key")
    certificate = {**secured.mutual(locked_key(secured, machine, planted.words["key"])), "ssl.key.password": locked}
    basic = base64.b64encode(f"alice:{planted.new('registry-password')}".encode()).decode()
    lake = lab.s3()
    session = temporary_credentials(lab.stack.minio.url, Credentials(ACCESS_KEY, SECRET_KEY))
    with (
        RegistryGate(lab.stack.registry.url, authorization=f"Basic {basic}") as first,
        RegistryGate(lab.stack.registry.url, authorization=f"Bearer {planted.new('registry-token')}") as second,
    ):
        by_password = {"url": first.url, "username": "alice", "password": planted.by_file("registry-password", planted.words["registry-password"])}
        by_token = {"url": second.url, "token": planted.by_environment("registry-token", planted.words["registry-token"])}
        storage = {"options": {**lake.options, **as_options(session, planted)}}
        connectors = [
            lab.connector(lake, [topic], name=name, kafka={"properties": {**properties, **QUICK_GROUP, **WIRE_DEBUG}}, registry=registry, storage={**storage, "url": f"{lake.url}/{name}"}, rotate={"rows": 50})
            for name, properties, registry in (("password", password, by_password), ("token", token, by_token), ("certificate", certificate, by_password))
        ]
        for connector, principal in zip(connectors, (user, client, f"CN={machine}"), strict=True):
            secured.allow_reading(principal, topic, connector.group)
        section = daemon_section(planted.by_file("http"), {"format": "json", "level": "trace"})
        config = lab.sluice.write([one.settings for one in connectors], daemon=section)
        texts = {"check": lab.sluice.run("check", "--config", config, seconds=60).text.encode()}
        assert b"password" in texts["check"]
        daemon, admin = lab.sluice.daemon(config), Admin.of(config, planted.words["http"])
        for connector in connectors:
            until(f"{connector.group} has committed", lambda connector=connector: secured.topics.committed(connector.group, topic) == {0: 50})
        name = admin.connector("token")["last_files"][0]["path"]
        footer = admin.ask(f"/api/connectors/token/footer?path={urllib.parse.quote(name)}")
        assert footer.status == 200 and topic in footer.body
        texts["a footer"] = footer.body.encode()
        assert admin.post("/api/reload").status == 200
        texts |= said_by(admin, [one.settings["name"] for one in connectors])
        drain(daemon)
    # Tokens of one client and one second are the same.
    issued = {f"access token {number}": token for number, token in enumerate(dict.fromkeys(secured.tokens.issued))}
    texts["log"] = daemon.log.read_bytes()
    texts |= {f"metadata of {one.group}": json.dumps(secured.topics.committed_metadata(one.group, topic)).encode() for one in connectors}
    texts |= {name: path.read_bytes() for name, path in lake.paths().items()}
    assert sum(name.endswith(".parquet") for name in lake.paths()) == len(connectors)
    audit = ["--option", f"endpoint={lab.stack.minio.url}", "--option", "allow_http=true", "--option", "region=us-east-1"]
    audit += ["--option", f"access_key_id={session.access_key}", "--option", f"secret_access_key={session.secret_key}", "--option", f"token={session.token}"]
    texts["audit"] = lab.sluice.run("audit", f"{lake.url}/token", *audit).text.encode()
    texts["audit, refused"] = lab.sluice.run("audit", f"{lake.url}/token", *audit[:-2], "--option", f"token={planted.new('audit-token')}").text.encode()
    planted.words |= issued
    planted.assert_nowhere(texts)
    lines = [json.loads(line) for line in texts["log"].splitlines()]
    assert {line["connector"] for line in lines if line["message"] == "flush published"} == {"password", "token", "certificate"}
    assert_delivered(lake_below(lake, "token"), topic, produced)


def lake_below(lake: Any, name: str) -> Any:
    """The lake of one connector."""
    return type(lake)(lake.endpoint, lake.access_key, lake.secret_key, lake.bucket, lake.mirror / "below" / name, prefix=f"{lake.prefix}/{name}")


def refused_connectors(lab: Lab, secured: Secured, planted: Planted) -> list[Connector]:
    """Each fails at the service that its secret belongs to, so that there is something to say."""
    topic = lab.topic("refused")
    lab.produce(topic, 0, EVENT, [{"n": 1, "text": "x"}])
    nobody, host = "http://127.0.0.1:1", lab.stack.minio.url.removeprefix("http://")
    plain = {**secured.sasl("PLAIN", "alice", planted.by_file("sasl")), **WIRE_DEBUG}
    scram = secured.sasl("SCRAM-SHA-512", "alice", planted.by_environment("scram"))
    oidc = {**secured.oidc("nobody", ""), "sasl.oauthbearer.client.secret": planted.new("client-secret")}
    key = {**secured.mutual(locked_key(secured, lab.name("machine"), "another")), "ssl.key.password": planted.by_file("key")}
    cases: dict[str, dict[str, Any]] = {
        "plain": {"kafka": {"properties": plain}},
        "scram": {"kafka": {"properties": scram}},
        "oidc": {"kafka": {"properties": oidc}},
        "key": {"kafka": {"properties": key}},
        "registry-gone": {"registry": {"url": nobody, "username": "u", "password": planted.by_file("registry-password")}},
        "token-gone": {"registry": {"url": nobody, "token": planted.by_environment("registry-token")}},
    }
    connectors = [lab.connector(lab.local(), [topic], name=name, **sections) for name, sections in cases.items()]
    wrong = {"access_key_id": "someone", "secret_access_key": planted.new("s3-secret-3")}
    options: dict[str, dict[str, Any]] = {
        "bucket": {"access_key_id": planted.new("s3-key"), "secret_access_key": planted.by_environment("s3-secret")},
        "session": {"access_key_id": "someone", "secret_access_key": planted.by_file("s3-secret-2"), "token": planted.new("s3-session")},
        "user-info": {**wrong, "endpoint": f"http://someone:{planted.new('endpoint-user')}@{host}"},
        "endpoint-gone": {**wrong, "endpoint": f"http://someone:{planted.new('gone-user')}@127.0.0.1:1", "timeout": "1s"},
    }
    return connectors + [lab.connector(lab.s3(), [topic], name=name, storage={"options": own}) for name, own in options.items()]


def wrong_configurations(good: str, planted: Planted) -> dict[str, str]:
    """Configurations that are refused because of a place where a secret stands."""
    file, variable = planted.by_file("reload-file"), planted.by_environment("reload-variable")
    url = planted.new("url")
    return {
        "a file's word where a number belongs": good.replace("rotate:", f'tasks: "{file}"\n    rotate:', 1),
        "a variable where a choice belongs": good.replace("rotate:", f'schema: {{ evolution: "{variable}" }}\n    rotate:', 1),
        "a variable where a time belongs": good.replace('"10m"', f'"{variable}"', 1),
        "a user in the registry's URL": good.replace("http://127.0.0.1:1", f"http://u:{url}@127.0.0.1:1", 1),
        "a user in the storage's URL": good.replace("s3://", f"s3://u:{url}@", 1),
        "a password under a wrong key": good.replace("rotate:", f'password: "{file}"\n    rotate:', 1),
        "a password among the keys": good.replace("version: 1", f"version: 1\npassword: {planted.new('unknown-key')}", 1),
        "a token that is too short": good.replace('token: "', f'token: "{planted.keep("short", "pl4nt-5hort")}"\n    read_only: false # "', 1),
        "a password in the address": good.replace("listen:", f'listen: "{file}" #', 1),
        "no YAML": good.replace("version: 1", f"version: 1\n {planted.new('no-yaml')}: [", 1),
    }


def test_fault_112_secrets_that_are_refused_are_nowhere_to_be_read(lab: Lab, secured: Secured) -> None:
    planted = Planted(lab)
    connectors = refused_connectors(lab, secured, planted)
    section = daemon_section(planted.new("http"), {"format": "text", "level": "debug"})
    config = lab.sluice.write([one.settings for one in connectors], daemon=section)
    good = config.read_text()
    daemon, admin = lab.sluice.daemon(config), Admin.of(config, planted.words["http"])
    names = [one.settings["name"] for one in connectors]

    def has_trouble(name: str) -> bool:
        shown = admin.connector(name)
        return bool(shown.get("last_errors") or shown.get("trouble"))

    for name in names:
        until(f"{name} is in trouble", lambda name=name: has_trouble(name), 90)
    texts = said_by(admin, names)
    for what, text in wrong_configurations(good, planted).items():
        assert text != good, what
        config.write_text(text)
        answer = admin.post("/api/reload")
        assert answer.status == 422, f"{what}: {answer}"
        texts[f"reload: {what}"] = answer.body.encode()
        checked = lab.sluice.run("check", "--offline", "--config", config)
        assert checked.code == 2, f"{what}: {checked}"
        texts[f"check: {what}"] = checked.text.encode()
    config.write_text(good)
    texts["check"] = lab.sluice.run("check", "--config", config, seconds=120).text.encode()
    single = lab.sluice.write([next(one.settings for one in connectors if one.settings["name"] == "bucket")], "single.yaml")
    texts["run --until-end"] = lab.sluice.run("run", "--until-end", "--config", single, seconds=60).text.encode()
    daemon.signal(15)
    daemon.wait_end(70)
    texts["log"] = daemon.log.read_bytes()
    planted.assert_nowhere(texts)
    assert all(name.encode() in texts["log"] and name.encode() in texts["GET /api/connectors"] for name in names)
    assert len(planted.words) >= 18


def test_fault_112_what_is_searched_is_what_there_is() -> None:
    paths = json.loads((REPOSITORY / "src/admin/openapi.json").read_text())["paths"]
    asked = {path.partition("?")[0] for path in PAGES} | {"/footer", "/api/connectors/{name}", "/api/connectors/{name}/footer", "/api/reload"}
    known = {path for path, methods in paths.items() if "get" in methods or path == "/api/reload"}
    assert known <= asked, f"not searched: {sorted(known - asked)}"


def test_fault_112_the_search_finds_what_it_looks_for(lab: Lab) -> None:
    planted = Planted(lab)
    word = planted.new("control")
    planted.assert_nowhere({"a text": b"nothing of that kind"})
    for text in (f"password={word};", base64.b64encode(f"u:{word}".encode()).decode(), base64.b64encode(f"alice:{word}".encode()).decode()):
        with pytest.raises(AssertionError):
            planted.assert_nowhere({"a text": f"Authorization: Basic {text}".encode()})
