"""Owns one S3 server (MinIO). Does not own the buckets in it."""

from __future__ import annotations

import urllib.error
import urllib.request
from pathlib import Path

from services.cache import checked, fetched, program
from services.process import Service, free_port

VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
ACCESS_KEY, SECRET_KEY = "sluice-access", "sluice-secret"
REGION = "us-east-1"
KMS_KEY = "test-key"
KMS_SECRET = "c2x1aWNlLXRlc3RzLW9ubHktc2x1aWNlLXRlc3RzLW8="
"""Thirty-two bytes: the key that the server encrypts with when it is asked to."""


class Minio:
    """An S3 server with path-style addressing and conditional writes."""

    def __init__(self, folder: Path):
        self.folder = folder / "minio"
        self.port, self.console_port = free_port(), free_port()
        self.service: Service | None = None

    @staticmethod
    def fetch() -> Path:
        """The folder of the program, built by Go the first time."""

        def build(folder: Path) -> None:
            checked([program("go"), "install", f"github.com/minio/minio@{VERSION}"], {"GOBIN": str(folder), "GOFLAGS": "-buildvcs=false"})

        return fetched(f"minio-{VERSION}", build)

    @property
    def url(self) -> str:
        """The endpoint."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def credentials(self) -> dict[str, str]:
        """Environment variables that S3 clients take their credentials from."""
        return {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY, "AWS_REGION": REGION}

    def start(self) -> None:
        """Starts the server; returns before it is ready."""
        if self.service is None:
            self.folder.mkdir(parents=True)
            addresses = ["--address", f"127.0.0.1:{self.port}", "--console-address", f"127.0.0.1:{self.console_port}"]
            command = [str(self.fetch() / "minio"), "server", str(self.folder / "data"), *addresses]
            environment = {"MINIO_ROOT_USER": ACCESS_KEY, "MINIO_ROOT_PASSWORD": SECRET_KEY, "MINIO_BROWSER": "off", "MINIO_UPDATE": "off"}
            environment["MINIO_KMS_SECRET_KEY"] = f"{KMS_KEY}:{KMS_SECRET}"
            self.service = Service("minio", command, self.folder / "minio.log", environment)
        self.service.start()

    def wait_ready(self) -> None:
        """Returns when the server answers requests."""
        assert self.service is not None
        self.service.wait_until(self.answers, 60)

    def answers(self) -> bool:
        """Whether the server says that it is ready for writes."""
        try:
            with urllib.request.urlopen(f"{self.url}/minio/health/cluster", timeout=2) as reply:
                return reply.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """Stops the server; `start` brings it back with its data."""
        if self.service is not None:
            self.service.stop(10)
