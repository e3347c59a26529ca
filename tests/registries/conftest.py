"""Fixtures: the services, and a registry of the present generation."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from harness.broken import lab, stack
from services import Stack
from services.apicurio import Apicurio

__all__ = ["apicurio", "lab", "stack"]


@pytest.fixture(scope="session")
def apicurio(stack: Stack) -> Iterator[Apicurio]:
    """Apicurio 3, shared by all tests."""
    registry = Apicurio(stack.folder)
    try:
        registry.start()
        yield registry
    finally:
        registry.stop()
