"""The HTTP endpoints: the document and the server agree, crowds and slow clients do no harm, secrets stay secret."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import schemathesis
from harness.admin import Admin
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.sluice import REPOSITORY, drain
from harness.waiting import until
from services.process import free_port

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
DOCUMENT = REPOSITORY / "src/admin/openapi.json"


def events(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"event {number}"} for number in range(count)]


def listening(**http: Any) -> dict[str, Any]:
    """A `daemon` section of a free port."""
    return {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "text", "level": "info"}, **({"http": http} if http else {})}


def test_the_document_and_the_server_agree(lab: Lab) -> None:
    topic, lake = lab.topic("document"), lab.local()
    config = lab.sluice.write([lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, rotate={"rows": 5}).settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    lab.produce(topic, 0, EVENT, events(7))
    until("a file and an open flush are there", lambda: admin.connector("orders").get("counters", {}).get("records") == 7 and lake.files())
    assert json.loads(admin.ask("/api/openapi.json").body) == json.loads(DOCUMENT.read_text())
    # Known answers first, so that more than refusals is compared.
    for path in ("/api/connectors", "/api/connectors/orders", "/readyz", "/api/log"):
        assert admin.ask(path).status == 200
    command = [sys.executable, "-m", "schemathesis.cli", "run", str(DOCUMENT), "--url", admin.base, "--max-examples", "40"]
    command += ["--exclude-checks", "unsupported_method,negative_data_rejection,positive_data_acceptance,ignored_auth"]
    command += ["--phases", "examples,coverage,fuzzing", "--generation-deterministic", "--suppress-health-check", "all", "--no-color"]
    done = subprocess.run(command, cwd=lab.folder, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, f"{done.stdout[-8000:]}\n{done.stderr[-2000:]}"
    # And what the fuzzer cannot know.
    document = schemathesis.openapi.from_path(str(DOCUMENT))
    name = lake.files()[0].name
    for method, path, parameters in [
        ("GET", "/api/connectors", {}),
        ("GET", "/api/connectors/{name}", {"path_parameters": {"name": "orders"}}),
        ("GET", "/api/connectors/{name}/footer", {"path_parameters": {"name": "orders"}, "query": {"path": name}}),
        ("POST", "/api/connectors/{name}/{action}", {"path_parameters": {"name": "orders", "action": "flush"}}),
        ("POST", "/api/reload", {}),
        ("POST", "/api/log", {"body": {"level": "debug"}, "media_type": "application/json"}),
    ]:
        case = document[path][method].Case(**parameters)
        response = case.call(base_url=admin.base)
        assert response.status_code in (200, 202), f"{method} {path}: {response.status_code}"
        case.validate_response(response)
    daemon.signal(15)
    daemon.wait_end(60)


def test_a_thousand_connections_and_slow_clients_do_not_hurt_delivery(lab: Lab) -> None:
    topic, lake = lab.topic("crowd"), lab.local()
    connector = lab.connector(lake, [topic], rotate={"rows": 1000, "every": "1s"})
    config = lab.sluice.write([connector.settings], daemon=listening())
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is ready", admin.ready)
    address = ("127.0.0.1", int(admin.base.rsplit(":", 1)[1]))
    crowd = []
    for number in range(1000):
        guest = socket.create_connection(address, 10)
        match number % 4:
            case 1:
                guest.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
            case 2:
                guest.sendall(b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1000)
            case 3:
                guest.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # And never reads.
        crowd.append(guest)
    huge = threading.Thread(target=send_without_end, args=(address,))
    huge.start()
    produced = lab.produce(topic, 0, EVENT, events(50_000))
    for _ in range(20):
        assert admin.ask("/healthz").status == 200
        assert admin.ready()
    until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    assert admin.metrics().sum("process_open_fds") < 400
    huge.join(60)
    assert not huge.is_alive(), "a request without end was listened to without end"
    for guest in crowd:
        guest.close()
    assert admin.metrics().sum("sluice_restarts_total") == 0
    drain(daemon)
    assert_delivered(lake, topic, produced)


def send_without_end(address: tuple[str, int]) -> None:
    """Sends a header that does not end, until the server hangs up."""
    with socket.create_connection(address, 10) as endless:
        endless.sendall(b"GET / HTTP/1.1\r\n")
        try:
            while True:
                endless.sendall(b"X-More: " + b"y" * 8000 + b"\r\n")
        except OSError:
            pass


def test_a_token_and_tls_protect_the_endpoints_and_a_reload_renews_both(lab: Lab) -> None:
    token, other = "t0ken-of-the-first-day", "t0ken-of-the-second-day"
    first, second = certificate(lab.folder, "first"), certificate(lab.folder, "second")
    served = lab.folder / "served"
    served.mkdir()

    def serve(pair: tuple[Path, Path], token: str) -> None:
        for source, name in zip(pair, ("server.pem", "server.key"), strict=True):
            (served / name).write_bytes(source.read_bytes())
        (served / "token").write_text(token)

    serve(first, token)
    section = listening(token=f"${{file:{served}/token}}", tls={"certificate_file": "served/server.pem", "key_file": "served/server.key"})
    config = lab.sluice.write([lab.connector(lab.local(), [lab.topic("tls")], name="orders", kafka={"group": lab.name("orders")}).settings], daemon=section)
    daemon = lab.sluice.daemon(config)

    def status(path: str, trusted: Path, token: str | None = None) -> int:
        request = urllib.request.Request(f"https://localhost:{section['listen'].split(':')[1]}{path}")
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        try:
            with urllib.request.urlopen(request, timeout=5, context=ssl.create_default_context(cafile=str(trusted))) as reply:
                return int(reply.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    until("it answers", lambda: status("/healthz", first[0]) == 200)
    until("it is ready", lambda: status("/readyz", first[0]) == 200)
    assert [status("/metrics", first[0]), status("/metrics", first[0], other), status("/metrics", first[0], token)] == [401, 401, 200]
    serve(second, other)
    daemon.signal(1)
    until("the new certificate is served", lambda: status("/healthz", second[0]) == 200)
    assert status("/healthz", first[0]) == 0
    assert [status("/metrics", second[0], token), status("/metrics", second[0], other)] == [401, 200]
    drain(daemon)


def certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate of `localhost` and its key."""
    pem, key = folder / f"{name}.pem", folder / f"{name}.key"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    subprocess.run(["openssl", *words.split(), "-keyout", str(key), "-out", str(pem)], check=True, capture_output=True)
    return pem, key


def test_fault_112_planted_secrets_are_nowhere_to_be_read(lab: Lab) -> None:
    kinds = ("sasl", "registry", "bearer", "access", "secret", "http", "ssl")
    planted = {kind: f"pl4nted-{kind}-5ecret-{lab.tag}" for kind in kinds}
    topic = lab.topic("secrets")
    produced = lab.produce(topic, 0, EVENT, events(10))
    assert produced
    connectors = [
        # Each fails at the service its secret belongs to, so that there is something to say.
        lab.connector(lab.local(), [topic], name="broker", kafka={
            "properties": {
                "bootstrap.servers": lab.stack.kafka.secure_brokers, "security.protocol": "SASL_SSL", "sasl.mechanism": "PLAIN",
                "ssl.ca.location": str(lab.stack.kafka.ca_file), "sasl.username": "alice", "sasl.password": planted["sasl"],
                "ssl.key.password": planted["ssl"],
            },
        }),
        lab.connector(lab.local(), [topic], name="registry", registry={"url": "http://127.0.0.1:1", "username": "u", "password": planted["registry"]}),
        lab.connector(lab.local(), [topic], name="bearer", registry={"url": "http://127.0.0.1:1", "token": planted["bearer"]}),
        lab.connector(lab.s3(), [topic], name="bucket", storage={"options": {
            "access_key_id": planted["access"], "secret_access_key": "${PLANTED}",
        }}),
    ]
    section = listening(token=planted["http"])
    section["log"] = {"format": "json", "level": "trace"}
    lab.sluice.environment = {**lab.sluice.environment, "PLANTED": planted["secret"]}
    config = lab.sluice.write([one.settings for one in connectors], daemon=section)
    daemon, admin = lab.sluice.daemon(config), Admin.of(config, planted["http"])
    until("the bucket refuses", lambda: admin.state("bucket") == "failed")
    until("the broker refuses", lambda: admin.connector("broker").get("last_errors") or "Authentication" in daemon.log.read_text())
    until("the registry is missed", lambda: admin.connector("registry")["last_errors"] and admin.connector("bearer")["last_errors"])
    config.write_text(config.read_text().replace('"trace"', '"tracing"'))
    said = [admin.post("/api/reload"), admin.ask("/api/connectors/bucket/footer?path=x.parquet")]
    said += [admin.ask(path) for path in ("/", "/metrics", "/readyz", "/api/connectors", "/api/log")]
    assert [one.status for one in said] == [422, 502, 200, 200, 503, 200, 200], [one.status for one in said]
    texts = [one.body for one in said]
    texts += [lab.sluice.run("check", "--config", config).text]
    daemon.signal(15)
    daemon.wait_end(70)
    texts.append(daemon.log.read_text())
    for kind, secret in planted.items():
        for text in texts:
            # An access key's id is no secret, but it is nobody's business either.
            assert secret not in text, f"{kind}: {re.findall('.*' + secret + '.*', text)[0][:500]}"
    assert len(texts[-1]) > 2_000, "the log is there"
