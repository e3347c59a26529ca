"""Fixtures: services of their own for these tests, since they are broken and restarted here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.broken import lab, stack
from harness.lab import Lab
from services import Stack

from faults.bench import Bench
from faults.extent import LONG
from faults.process_case import BINARY as FAILPOINTS_BINARY

__all__ = ["bench", "lab", "pytest_collection_modifyitems", "stack"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out what only the long form runs."""
    left_out = [item for item in items if item.get_closest_marker("long") and not LONG]
    config.hook.pytest_deselected(items=left_out)
    items[:] = [item for item in items if item not in left_out]


@pytest.fixture(scope="session")
def bench(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """What small cases share. They run the binary with failpoints."""
    assert FAILPOINTS_BINARY.is_file(), f"{FAILPOINTS_BINARY} is not there: run `python3 tests/run faults`, or set SLUICE_FAILPOINTS_BIN"
    lab = Lab(stack, tmp_path_factory.mktemp("bench"))
    yield Bench(lab)
    lab.sluice.close()
