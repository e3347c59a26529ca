"""Owns how long the fault tests are: a few minutes, or with SLUICE_KILLS=200 the long form of `make faults`."""

from __future__ import annotations

import os

import pytest

KILLS = int(os.environ.get("SLUICE_KILLS") or 12)
"""kill -9 in each run of random faults."""

LONG = KILLS >= 50


def only_long(*values: object) -> object:
    """A parameter of long runs only. Deselected otherwise: a skipped test counts as failed."""
    return pytest.param(*values, marks=pytest.mark.long)
