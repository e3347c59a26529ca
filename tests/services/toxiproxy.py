"""Owns one toxiproxy, which stands in front of a service and makes its network bad. Does not own the services."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from services.cache import checked, fetched, program
from services.process import Service, free_port

VERSION = "v2.5.0"


class Toxiproxy:
    """A proxy server; `proxy` puts a proxy in front of an address, `toxic` makes it bad, `reset` makes all good."""

    def __init__(self, folder: Path):
        self.folder = folder / "toxiproxy"
        self.port = free_port()
        self.service: Service | None = None

    @staticmethod
    def fetch() -> Path:
        """The folder of the program, built by Go the first time."""

        def build(folder: Path) -> None:
            module = f"github.com/Shopify/toxiproxy/v2/cmd/server@{VERSION}"
            checked([program("go"), "install", module], {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"})

        return fetched(f"toxiproxy-{VERSION}", build)

    @property
    def url(self) -> str:
        """Base URL of the control API."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the server; returns before it is ready. It has no proxies after a start."""
        if self.service is None:
            self.folder.mkdir(parents=True)
            command = [str(self.fetch() / "server"), "-host", "127.0.0.1", "-port", str(self.port)]
            self.service = Service("toxiproxy", command, self.folder / "toxiproxy.log")
        self.service.start()

    def wait_ready(self) -> None:
        """Returns when the server answers requests."""
        assert self.service is not None
        self.service.wait_until(self.answers, 20)

    def answers(self) -> bool:
        """Whether the control API answers."""
        try:
            self._request("GET", "/version")
        except (OSError, urllib.error.URLError):
            return False
        return True

    def proxy(self, name: str, target_port: int, port: int | None = None) -> int:
        """Puts a proxy in front of `127.0.0.1:target_port` and returns the port to use instead."""
        port = port or free_port()
        self._request("POST", "/proxies", {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{target_port}"})
        return port

    def enable(self, name: str, enabled: bool) -> None:
        """Closes a proxy (every connection ends, new ones are refused) or opens it again."""
        self._request("POST", f"/proxies/{name}", {"enabled": enabled})

    def toxic(self, name: str, kind: str, stream: str = "downstream", **attributes: int) -> None:
        """Adds a toxic (`latency`, `timeout`, `reset_peer`, `bandwidth`, `limit_data` …) to a proxy."""
        self._request("POST", f"/proxies/{name}/toxics", {"type": kind, "stream": stream, "attributes": attributes})

    def reset(self) -> None:
        """Opens every proxy and removes every toxic."""
        self._request("POST", "/reset")

    def remove(self, name: str) -> None:
        """Removes a proxy."""
        self._request("DELETE", f"/proxies/{name}")

    def stop(self) -> None:
        """Stops the server."""
        if self.service is not None:
            self.service.stop(5)

    def _request(self, method: str, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=5) as reply:
            reply.read()
