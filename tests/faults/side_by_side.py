"""Owns running many small cases at once: each is a generator that yields what it waits for. One thread, no case waits for
another; all failures are told together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass

Wait = tuple[str, Callable[[], object], float]
"""What is waited for, the question, and the seconds it may take."""
Case = Generator[Wait, None, None]


@dataclass
class _Running:
    name: str
    case: Case
    wait: Wait
    deadline: float


def run_side_by_side(cases: Iterable[tuple[str, Case]], width: int = 6) -> int:
    """Runs all cases, `width` at a time; raises with every failure, else returns how many there were."""
    waiting, running, failures, count = deque(cases), [], [], 0
    while waiting or running:
        while waiting and len(running) < width:
            name, case = waiting.popleft()
            count += 1
            begun = _advance(name, case, failures)
            running += [begun] if begun else []
        for one in list(running):
            what, question, seconds = one.wait
            try:
                answer = question()
            except BaseException as error:  # noqa: BLE001
                failures.append(f"{one.name}: while waiting for {what}: {error}")
                running.remove(one)
                one.case.close()
                continue
            if answer:
                running.remove(one)
                begun = _advance(one.name, one.case, failures)
                running += [begun] if begun else []
            elif time.monotonic() > one.deadline:
                failures.append(f"{one.name}: waited {seconds:.0f} s for {what}")
                running.remove(one)
                one.case.close()
        time.sleep(0.02)
    assert not failures, f"{len(failures)} of {count} cases failed:\n" + "\n".join(failure[:3000] for failure in failures)
    return count


def _advance(name: str, case: Case, failures: list[str]) -> _Running | None:
    try:
        wait = next(case)
    except StopIteration:
        return None
    except (AssertionError, OSError, RuntimeError) as error:
        failures.append(f"{name}: {error}")
        return None
    return _Running(name, case, wait, time.monotonic() + wait[2])
