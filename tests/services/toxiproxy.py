"""Owns one toxiproxy, which stands in front of a service and makes its network bad. Does not own the services.

The server can lock itself up for good while it takes a toxic away from a connection whose other end has just died
(Shopify/toxiproxy#558): then no proxy takes connections any more. It is replaced by another one with the same proxies.
"""

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
        self.revived = 0
        """How often the server had locked itself up."""
        self._proxies: dict[str, dict[str, str]] = {}

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
        proxy = {"name": name, "listen": f"127.0.0.1:{port}", "upstream": f"127.0.0.1:{target_port}"}
        self._ask("POST", "/proxies", proxy)
        self._proxies[name] = proxy
        return port

    def enable(self, name: str, enabled: bool) -> None:
        """Closes a proxy (every connection ends, new ones are refused) or opens it again."""
        self._ask("POST", f"/proxies/{name}", {"enabled": enabled})

    def toxic(self, name: str, kind: str, stream: str = "downstream", **attributes: int) -> None:
        """Adds a toxic (`latency`, `timeout`, `reset_peer`, `bandwidth`, `limit_data` …) to a proxy."""
        self._ask("POST", f"/proxies/{name}/toxics", {"type": kind, "stream": stream, "attributes": attributes})

    def reset(self) -> None:
        """Opens every proxy and removes every toxic."""
        self._ask("POST", "/reset")

    def remove(self, name: str) -> None:
        """Removes a proxy."""
        self._ask("DELETE", f"/proxies/{name}")
        del self._proxies[name]

    def stop(self) -> None:
        """Stops the server."""
        if self.service is not None:
            self.service.stop(5)

    def _ask(self, method: str, path: str, body: Any = None) -> None:
        """A request; when the server is locked up, to its successor."""
        try:
            self._request(method, path, body)
        except urllib.error.HTTPError:
            raise
        except (TimeoutError, urllib.error.URLError):
            self._revive()
            self._request(method, path, body)

    def _revive(self) -> None:
        assert self.service is not None
        self.revived += 1
        self.service.kill()
        self.service.start()
        self.wait_ready()
        for proxy in self._proxies.values():
            self._request("POST", "/proxies", proxy)

    def _request(self, method: str, path: str, body: Any = None) -> None:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}{path}", data, {"Content-Type": "application/json"}, method=method)
        with urllib.request.urlopen(request, timeout=5) as reply:
            reply.read()
