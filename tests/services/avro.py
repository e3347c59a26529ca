"""Owns the jars of Java Avro. Does not own what is done with them."""

from __future__ import annotations

from pathlib import Path

from services.cache import checked, fetched, program

VERSION = "1.12.1"


def fetch() -> Path:
    """The folder of the jars, copied by Maven the first time."""

    def copy(folder: Path) -> None:
        goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
        checked([program("mvn"), "-q", "-B", "-f", str(Path(__file__).parent / "maven/avro.xml"), *goal])

    program("java")
    return fetched(f"avro-{VERSION}", copy)
