"""Owns one schema registry (Apicurio, in memory, with Confluent's API). Does not own the schemas in it."""

from __future__ import annotations

import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from services.cache import checked, fetched, program
from services.process import Service, free_port

VERSION = "2.3.1.Final"


class Registry:
    """A registry without authentication; `url` is the base of Confluent's API."""

    def __init__(self, folder: Path):
        self.folder = folder / "registry"
        self.port = free_port()
        self.service: Service | None = None

    @staticmethod
    def fetch() -> Path:
        """The folder of the registry's distribution, copied by Maven the first time."""

        def unpack(folder: Path) -> None:
            archives = folder / "archives"
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={archives}"]
            checked([program("mvn"), "-q", "-B", "-f", str(Path(__file__).parent / "maven/registry.xml"), *goal])
            for archive in archives.iterdir():
                with tarfile.open(archive) as opened:
                    opened.extractall(folder, filter="data")
                archive.unlink()
            archives.rmdir()

        program("java")
        return fetched(f"apicurio-{VERSION}", unpack)

    @property
    def url(self) -> str:
        """Base URL of Confluent's API."""
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v6"

    def start(self) -> None:
        """Starts the registry; returns before it is ready. It is empty after every start."""
        if self.service is None:
            self.folder.mkdir(parents=True)
            (runner,) = self.fetch().glob("*-runner.jar")
            options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.log.level=WARN"]
            address = ["-Dquarkus.http.host=127.0.0.1", f"-Dquarkus.http.port={self.port}"]
            command = [program("java"), *options, *address, "-jar", str(runner)]
            self.service = Service("registry", command, self.folder / "registry.log")
        self.service.start()

    def wait_ready(self) -> None:
        """Returns when the registry answers requests."""
        assert self.service is not None
        self.service.wait_until(self.answers, 90)

    def answers(self) -> bool:
        """Whether the list of subjects can be read."""
        try:
            with urllib.request.urlopen(f"{self.url}/subjects", timeout=2) as reply:
                return reply.status == 200
        except (OSError, urllib.error.URLError):
            return False

    def stop(self) -> None:
        """Stops the registry and with it forgets every schema."""
        if self.service is not None:
            self.service.stop(5)
