"""Owns the fixtures of tests that break services: services of their own, and a `lab`. Does not own what they break."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from services import Stack

from harness.lab import Lab
from harness.sluice import BINARY


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Kafka, registry, MinIO and toxiproxy."""
    with Stack() as stack:
        yield stack


@pytest.fixture
def lab(stack: Stack, tmp_path: Path) -> Iterator[Lab]:
    """The workplace of a test; the binary must be there."""
    assert BINARY.is_file(), f"{BINARY} is not there: run `make build`, or set SLUICE_BIN"
    lab = Lab(stack, tmp_path)
    yield lab
    lab.sluice.close()
