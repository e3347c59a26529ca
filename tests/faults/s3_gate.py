"""Owns a door in front of the object store that makes chosen requests fail. Requests pass with the Host they were
signed for. Does not own which request fails how in a test: that is a plan, one for each prefix of keys."""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
import urllib.parse
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

HANG_SECONDS = 6.0


@dataclass
class Request:
    """A request as it came."""

    method: str
    path: str
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def kind(self) -> str:
        """create, part, complete, put, list, read, delete or abort."""
        query = urllib.parse.parse_qs(urllib.parse.urlsplit(self.path).query, keep_blank_values=True)
        if "uploads" in query and self.method == "POST":
            return "create"
        if "uploadId" in query:
            return {"PUT": "part", "POST": "complete", "DELETE": "abort"}.get(self.method, "read")
        if "list-type" in query:
            return "list"
        return {"PUT": "put", "DELETE": "delete"}.get(self.method, "read")

    @property
    def key(self) -> str:
        """The object's key, or the prefix that is listed."""
        parts = urllib.parse.urlsplit(self.path)
        listed = urllib.parse.parse_qs(parts.query).get("prefix", [""])[0]
        return listed or urllib.parse.unquote(parts.path).lstrip("/").partition("/")[2]


Reply = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers, body."""


def error_body(code: str) -> bytes:
    """An error as S3 spells it."""
    return f'<?xml version="1.0" encoding="UTF-8"?><Error><Code>{code}</Code><Message>by the gate</Message></Error>'.encode()


def refused(status: int, code: str) -> Callable[[Request, Callable[[Request], Reply]], Reply | None]:
    """A fault: the store answers so, and does nothing."""
    return lambda _request, _forward: (status, [("Content-Type", "application/xml")], error_body(code))


def reset(_request: Request, _forward: Callable[[Request], Reply]) -> None:
    """A fault: the connection is reset before the store hears of it."""


def hang(_request: Request, _forward: Callable[[Request], Reply]) -> None:
    """A fault: no answer for longer than the client waits; the store hears nothing."""
    time.sleep(HANG_SECONDS)


def lost(request: Request, forward: Callable[[Request], Reply]) -> None:
    """A fault: it is done, but the answer never comes."""
    forward(request)


FAULTS = {
    "429": refused(429, "TooManyRequests"),
    "500": refused(500, "InternalError"),
    "503": refused(503, "SlowDown"),
    "reset": reset,
    "time-out": hang,
    "reply lost": lost,
    "200 with an error": refused(200, "InternalError"),
}


@dataclass
class Plan:
    """Requests of a kind (`any`: of every kind) that meet a fault: the first `times` of them."""

    kind: str
    fault: Callable[[Request, Callable[[Request], Reply]], Reply | None]
    times: int
    met: int = 0


@dataclass
class S3Gate:
    """Passes requests on to the store at `upstream_port`; as a context manager it listens inside."""

    upstream_port: int
    plans: dict[str, Plan] = field(default_factory=dict)
    """By the first part of the key."""
    seen: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Requests by the first part of the key, and kind."""
    unconditional: set[str] = field(default_factory=set)
    """Prefixes, by the first part of the key, where the store knows no `If-None-Match`."""

    def __enter__(self) -> S3Gate:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                request = Request(self.command, self.path, list(self.headers.items()), body)
                reply = gate._reply(request)
                if reply is None:
                    self._break()
                    return
                status, headers, content = reply
                self.send_response_only(status)
                for name, value in headers:
                    if name.lower() not in ("transfer-encoding", "connection", "content-length"):
                        self.send_header(name, value)
                length = dict((name.lower(), value) for name, value in headers).get("content-length", "0")
                self.send_header("Content-Length", length if self.command == "HEAD" else str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = serve

            def _break(self) -> None:
                self.close_connection = True
                self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                self.connection.close()

            def log_message(self, format: str, *arguments: object) -> None:
                pass

            def finish(self) -> None:
                try:
                    super().finish()
                except OSError:
                    pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 64

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # A client that went away.

        self._lock = threading.Lock()
        self._server = Server(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _reply(self, request: Request) -> Reply | None:
        prefix = request.key.split("/")[0]
        with self._lock:
            self.seen[prefix, request.kind] += 1
            plan = self.plans.get(prefix)
            due = plan is not None and plan.kind in (request.kind, "any") and plan.met < plan.times and "/.sluice/" not in request.key
            if plan is not None and due:
                plan.met += 1
        reply = plan.fault(request, self.forward) if plan is not None and due else self.forward(request)
        if prefix in self.unconditional and reply is not None and reply[0] == 412:
            return 200, [("ETag", '"replaced"')], b""
        return reply

    def forward(self, request: Request) -> Reply:
        """Asks the store and returns its answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.upstream_port, timeout=30)
        try:
            connection.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers:
                connection.putheader(name, value)
            connection.endheaders(request.body or None)
            reply = connection.getresponse()
            return reply.status, reply.getheaders(), reply.read()
        finally:
            connection.close()
