"""Owns asking a daemon's HTTP endpoints, as an operator would. Does not own what the answers should be."""

from __future__ import annotations

import json
import re
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SERIES = re.compile(r"^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$")
LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True)
class Answer:
    """Status and body of one request; status 0: nobody answered."""

    status: int
    body: str

    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)


@dataclass
class Metrics:
    """One page of metrics."""

    text: str
    series: list[tuple[str, dict[str, str], float]] = field(init=False)

    def __post_init__(self) -> None:
        found = (SERIES.match(line) for line in self.text.splitlines() if line and not line.startswith("#"))
        self.series = [(m[1], dict(LABEL.findall(m[2] or "")), float(m[3])) for m in found if m]

    def sum(self, name: str, **labels: str) -> float:
        """The sum over all series of this name that have these labels."""
        return sum(value for found, own, value in self.series if found == name and labels.items() <= own.items())

    def largest(self, name: str, **labels: str) -> float:
        """The largest of them; 0 without any."""
        return max((value for found, own, value in self.series if found == name and labels.items() <= own.items()), default=0.0)

    def names(self) -> set[str]:
        """Every family, also those without a series yet."""
        return set(re.findall(r"^# TYPE (\S+)", self.text, re.M))


@dataclass(frozen=True)
class Admin:
    """The endpoints of one daemon."""

    base: str
    token: str | None = None

    @staticmethod
    def of(config: Path, token: str | None = None) -> Admin:
        """Those that a configuration file names."""
        address = next(line.split('"')[1] for line in config.read_text(encoding="utf-8").splitlines() if "listen" in line)
        return Admin(f"http://{address}", token)

    def ask(self, path: str, method: str = "GET", body: Any = None, **headers: str) -> Answer:
        """One request; a body is sent as JSON."""
        data = None if body is None else json.dumps(body).encode()
        sent = {key.replace("_", "-"): value for key, value in headers.items()}
        if data is not None:
            sent["Content-Type"] = "application/json"
        if self.token:
            sent["Authorization"] = f"Bearer {self.token}"
        request = urllib.request.Request(f"{self.base}{path}", data, sent, method=method)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return Answer(reply.status, reply.read().decode())
        except urllib.error.HTTPError as error:
            return Answer(error.code, error.read().decode())
        except OSError:
            return Answer(0, "")

    def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """A command."""
        return self.ask(path, "POST", body, **headers)

    def ready(self) -> bool:
        """Whether every connector is ready."""
        return self.ask("/readyz").status == 200

    def not_ready(self) -> dict[str, str]:
        """Why each connector is not ready: by `/readyz`, which must say 200 when none is named and 503 else."""
        answer = self.ask("/readyz")
        if answer.status == 0:
            return {"daemon": "nobody listens"}
        reasons = {entry["connector"]: entry["reason"] for entry in answer.json()["not_ready"]}
        assert answer.status == (503 if reasons else 200), answer
        return reasons

    def metrics(self) -> Metrics:
        """The metrics at this moment."""
        return Metrics(self.ask("/metrics").body)

    def connector(self, name: str) -> dict[str, Any]:
        """What the API says of a connector; empty when there is none."""
        answer = self.ask(f"/api/connectors/{name}")
        return answer.json() if answer.status == 200 else {}

    def state(self, name: str) -> str:
        """The state of a connector; empty when there is none."""
        return str(self.connector(name).get("state", ""))
