"""Owns a door in front of the registry that asks for credentials and can answer badly. Does not own the registry."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from harness.http_door import Answer, HttpDoor

Reply = Answer
"""Status, content type, body."""


@dataclass
class RegistryGate:
    """Passes GET requests on to `upstream`; as a context manager it listens inside and is gone outside.

    `authorization`: the header that a request must carry, otherwise 401. `answer`: called with the number of the
    request and its path; a reply of its own stands in for the registry's, `None` passes the request on.
    `certificate`: a PEM file with key and certificate; then the door speaks TLS.
    """

    upstream: str
    authorization: str | None = None
    answer: Callable[[int, str], Reply | None] = lambda _number, _path: None
    certificate: Path | None = None
    paths: list[str] = field(default_factory=list)

    def __enter__(self) -> RegistryGate:
        self._lock = threading.Lock()
        self._door = HttpDoor(lambda _method, path, headers, _body: self._reply(path, headers.get("authorization")), self.certificate)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._door.close()

    @property
    def url(self) -> str:
        """Base URL of the door."""
        return self._door.url

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
