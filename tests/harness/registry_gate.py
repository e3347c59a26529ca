"""Owns a door in front of the registry that asks for credentials and can answer badly. Does not own the registry."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType

Reply = tuple[int, str, bytes]
"""Status, content type, body."""


@dataclass
class RegistryGate:
    """Passes GET requests on to `upstream`; as a context manager it listens inside and is gone outside.

    `authorization`: the header that a request must carry, otherwise 401. `answer`: called with the number of the
    request and its path; a reply of its own stands in for the registry's, `None` passes the request on.
    """

    upstream: str
    authorization: str | None = None
    answer: Callable[[int, str], Reply | None] = lambda _number, _path: None
    paths: list[str] = field(default_factory=list)

    def __enter__(self) -> RegistryGate:
        gate = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                status, kind, body = gate._reply(self.path, self.headers.get("Authorization"))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Base URL of the door."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def _reply(self, path: str, authorization: str | None) -> Reply:
        with self._lock:
            self.paths.append(path)
            number = len(self.paths)
        if self.authorization is not None and authorization != self.authorization:
            return 401, "application/json", b'{"error_code":40101,"message":"Unauthorized"}'
        own = self.answer(number, path)
        if own is not None:
            return own
        try:
            with urllib.request.urlopen(self.upstream + path, timeout=20) as reply:
                return reply.status, reply.headers.get("Content-Type", "application/json"), reply.read()
        except urllib.error.HTTPError as error:
            return error.code, "application/json", error.read()
