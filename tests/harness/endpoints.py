"""Owns asking a daemon over HTTP how it is."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Endpoints:
    """The endpoints of the daemon with this configuration file."""

    config: Path

    @property
    def url(self) -> str:
        """Where it listens."""
        listen = re.search(r'^\s*listen: "(.+)"$', self.config.read_text(encoding="utf-8"), re.M)
        assert listen, f"{self.config} has no daemon.listen"
        return f"http://{listen[1]}"

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; `(0, "")` while nobody listens."""
        return self._ask(urllib.request.Request(f"{self.url}{path}"))

    def post(self, path: str) -> tuple[int, str]:
        """Status and body of an empty POST."""
        return self._ask(urllib.request.Request(f"{self.url}{path}", b"", method="POST"))

    def not_ready(self) -> dict[str, str]:
        """Why each connector is not ready: by `/readyz`, which must say 200 when none is named and 503 else."""
        status, body = self.get("/readyz")
        if status == 0:
            return {"daemon": "nobody listens"}
        answer: dict[str, Any] = json.loads(body)
        reasons = {entry["connector"]: entry["reason"] for entry in answer["not_ready"]}
        assert status == (503 if reasons else 200), (status, body)
        return reasons

    def _ask(self, request: urllib.request.Request) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(request, timeout=10) as reply:
                return reply.status, reply.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode(errors="replace")
        except OSError:
            return 0, ""
