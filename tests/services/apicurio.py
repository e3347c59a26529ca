"""Owns one schema registry of the present generation (Apicurio 3, in memory). Does not own the schemas in it, nor the older
registry that most tests use."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
import urllib.error
import urllib.request
from pathlib import Path

from services.cache import FetchError, checked, fetched, program
from services.process import Service, free_port

VERSION = "3.3.3"
OLDEST_JAVA = 21


class Apicurio:
    """A registry without authentication; `url` has no path."""

    def __init__(self, folder: Path):
        self.folder = folder / "apicurio"
        self.port = free_port()
        self.service: Service | None = None

    @staticmethod
    def fetch() -> Path:
        """The folder of the distribution, copied by Maven the first time."""

        def unpack(folder: Path) -> None:
            archives = folder / "archives"
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={archives}"]
            checked([program("mvn"), "-q", "-B", "-f", str(Path(__file__).parent / "maven/apicurio.xml"), *goal])
            for archive in archives.iterdir():
                with tarfile.open(archive) as opened:
                    opened.extractall(folder, filter="data")
                archive.unlink()
            archives.rmdir()

        java()
        return fetched(f"apicurio-{VERSION}", unpack)

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Starts the registry; returns when it answers."""
        self.folder.mkdir(parents=True)
        options = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.log.level=WARN"]
        options += [f"-Dquarkus.{part}.host=127.0.0.1" for part in ("http", "management")]
        options += [f"-Dquarkus.http.port={self.port}", f"-Dquarkus.management.port={free_port()}"]
        command = [java(), *options, "-jar", str(self.fetch() / "quarkus-run.jar")]
        self.service = Service("apicurio", command, self.folder / "apicurio.log")
        self.service.start()
        self.service.wait_until(self.answers, 120)

    def answers(self) -> bool:
        """Whether both of its APIs answer."""
        try:
            for path in ("registry/v3/system/info", "ccompat/v7/subjects"):
                with urllib.request.urlopen(f"{self.url}/apis/{path}", timeout=2):
                    pass
        except (OSError, urllib.error.URLError):
            return False
        return True

    def stop(self) -> None:
        """Stops the registry and with it forgets every schema."""
        if self.service is not None:
            self.service.stop(5)


def java() -> str:
    """A Java runtime that is new enough: on the PATH, of JAVA_HOME, or where Debian puts them."""
    places = [shutil.which("java"), os.path.join(os.environ.get("JAVA_HOME") or "/nowhere", "bin/java")]
    places += map(str, sorted(Path("/usr/lib/jvm").glob("*/bin/java"), reverse=True))
    for place in places:
        if place and os.access(place, os.X_OK) and version(place) >= OLDEST_JAVA:
            return place
    raise FetchError(f"no Java {OLDEST_JAVA} or newer: install one (Debian: openjdk-21-jre-headless) and name it with JAVA_HOME")


def version(path: str) -> int:
    """The feature version of a Java runtime; 0 where it does not say."""
    done = subprocess.run([path, "-version"], capture_output=True, text=True, check=False)
    found = re.search(r'version "(\d+)', done.stderr)
    return int(found[1]) if found else 0
