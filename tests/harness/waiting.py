"""Owns waiting for a condition with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

Answer = TypeVar("Answer")


def until(what: str, condition: Callable[[], Answer], seconds: float = 60.0) -> Answer:
    """Asks until the answer is true and returns it; fails with `what` and the last answer after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for: {what}; last answer: {answer!r}"
        time.sleep(0.1)
    return answer
