"""Fixtures: the services once a session, a `lab` for every test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.lab import Lab
from harness.orders import OrdersTopic
from harness.orders_topic import orders_topic
from harness.registry import RegistryClient
from harness.secured import Secured
from harness.sluice import BINARY
from harness.topics import Topics
from services import Stack


@pytest.fixture(scope="session")
def stack() -> Iterator[Stack]:
    """Kafka, registry, MinIO and toxiproxy, shared by all tests."""
    with Stack() as stack:
        yield stack


@pytest.fixture(scope="session")
def secured(stack: Stack) -> Iterator[Secured]:
    """The broker with credentials and access rules, started for the first test that asks for it."""
    secured = Secured(stack.folder)
    yield secured
    secured.close()


@pytest.fixture(scope="session")
def binary() -> Path:
    """The binary under test; a test without one fails, it is never skipped."""
    assert BINARY.is_file(), f"{BINARY} is not there: run `make build`, or set SLUICE_BIN"
    return BINARY


@pytest.fixture(scope="session")
def orders(stack: Stack) -> OrdersTopic:
    """The big topic: `SLUICE_E2E_ORDERS` orders, 2,000,000 unless told."""
    count = int(os.environ.get("SLUICE_E2E_ORDERS") or 2_000_000)
    return orders_topic(Topics(stack.kafka.brokers), RegistryClient(stack.registry.url), "orders", count)


@pytest.fixture
def lab(binary: Path, bare_lab: Lab) -> Lab:
    """The workplace of a test that runs the binary."""
    return bare_lab


@pytest.fixture
def bare_lab(stack: Stack, tmp_path: Path) -> Iterator[Lab]:
    """The workplace of a test that does without the binary."""
    lab = Lab(stack, tmp_path)
    yield lab
    lab.sluice.close()
