"""The HTTP endpoints: the document and the server agree, crowds and slow clients do no harm, a token and TLS protect it."""

from __future__ import annotations

import json
import re
import socket
import ssl
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
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


def test_every_refusal_is_json_of_one_shape(lab: Lab) -> None:
    config = lab.sluice.write([lab.connector(lab.local(), [lab.topic("refusals")], name="orders", kafka={"group": lab.name("orders")}).settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is ready", admin.ready)
    address = ("127.0.0.1", int(admin.base.rsplit(":", 1)[1]))
    host = f"Host: 127.0.0.1:{address[1]}\r\n"
    for request, status in [
        ("GET /nowhere HTTP/1.1\r\n" + host, 404),
        ("DELETE /metrics HTTP/1.1\r\n" + host, 405),
        ("GET /api/connectors/%ff HTTP/1.1\r\n" + host, 400),
        ("POST /api/log HTTP/1.1\r\nContent-Length: 0\r\n" + host, 400),
        ("POST /api/reload HTTP/1.1\r\nContent-Length: 70000\r\n" + host, 413),
        ("POST /api/reload HTTP/1.1\r\nTransfer-Encoding: chunked\r\n" + host + "\r\n12345\r\n" + "z" * 0x12345, 413),
        ("GET / HTTP/1.1\r\nHost: elsewhere.example\r\n", 403),
        # These have no end: what is whole may be a little larger.
        ("GET / HTTP/1.1\r\n" + host + "X: " + "y" * 70_000, 431),
        ("GET /" + "y" * 70_000, "4[13][14]"),
        ("hello\r\n", 400),
        ("GET / HTTP/9.9\r\n" + host, 400),
    ]:
        with socket.create_connection(address, 10) as asking:
            asking.settimeout(20)
            asking.sendall((request + "\r\n").encode())
            answer = b""
            try:
                while part := asking.recv(65536):
                    answer += part
            except ConnectionResetError:
                pass  # It does not wait for what it will not read.
        head, _, body = answer.decode().partition("\r\n\r\n")
        assert re.match(f"HTTP/1.1 {status} ", head), (request[:60], head)
        assert "content-type: application/json" in head.lower().splitlines(), (request[:60], head)
        assert [*json.loads(body)] == ["error"], (request[:60], body)
    drain(daemon)


def test_a_thousand_connections_and_slow_clients_do_not_hurt_delivery(lab: Lab) -> None:
    topic, lake = lab.topic("crowd"), lab.local()
    connector = lab.connector(lake, [topic], rotate={"rows": 1000, "every": "1s"})
    config = lab.sluice.write([connector.settings], daemon=listening())
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is ready", admin.ready)
    address = ("127.0.0.1", int(admin.base.rsplit(":", 1)[1]))
    crowd = Crowd(address)
    huge = threading.Thread(target=send_without_end, args=(address,))
    huge.start()
    with crowd.there(1000):
        produced: dict[tuple[int, int], Any] = {}
        for turn in range(5):
            came = crowd.came
            produced |= lab.produce(topic, 0, EVENT, events(10_000))
            until(f"batch {turn} is committed while the crowd is there", lambda: lab.topics.lag(connector.group, [topic]) == 0)
            until("the crowd goes on", lambda came=came: crowd.came >= came + 100)
            for _ in range(5):
                assert admin.ask("/healthz").status == 200
                assert admin.ready()
        assert admin.metrics().sum("process_open_fds") < 400
        huge.join(60)
        assert not huge.is_alive(), "a request without end was listened to without end"
    assert admin.metrics().sum("sluice_restarts_total") == 0
    assert admin.metrics().sum("sluice_config_reloads_total") == 0, "half a command was obeyed"
    drain(daemon)
    assert_delivered(lake, topic, produced)


class Crowd:
    """Guests that say nothing, half a header, half of a huge body, or ask and never read; whoever is shown out comes again."""

    def __init__(self, address: tuple[str, int]):
        self.address = address
        self.came = 0
        self._guests: list[socket.socket] = []
        self._leave = threading.Event()

    @contextmanager
    def there(self, count: int) -> Iterator[None]:
        """Inside, so many are connected or trying."""
        for _ in range(count):
            self._guests.append(self._new())
        coming = threading.Thread(target=self._come_again)
        coming.start()
        try:
            yield
        finally:
            self._leave.set()
            coming.join(60)
            for guest in self._guests:
                guest.close()

    def _come_again(self) -> None:
        at = 0
        while not self._leave.wait(0.005):
            self._guests[at].close()
            self._guests[at] = self._new()
            at = (at + 1) % len(self._guests)

    def _new(self) -> socket.socket:
        guest = socket.create_connection(self.address, 10)
        self.came += 1
        try:
            match self.came % 4:
                case 1:
                    guest.sendall(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
                case 2:
                    guest.sendall(b"POST /api/reload HTTP/1.1\r\nHost: localhost\r\nContent-Length: 999999999\r\n\r\n" + b"x" * 1000)
                case 3:
                    guest.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")  # And never reads.
        except OSError:
            pass  # Shown out already.
        return guest


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
