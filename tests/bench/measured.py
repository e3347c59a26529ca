"""Owns running a program and saying what it took: the kernel's own account of the process, not samples."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Taken:
    """What a process and its children took."""

    wall_s: float
    cpu_s: float
    peak_rss_mib: float


class RunFailed(Exception):
    """A measured program failed. The message carries the end of what it said."""


def measured(command: Sequence[str], folder: Path, environment: Mapping[str, str] | None = None, seconds: float = 1800) -> tuple[Taken, str]:
    """Runs a program to its end; gives what it took and its standard output."""
    out, err = folder / "stdout.txt", folder / "stderr.txt"
    started = time.monotonic()
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        process = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env={**os.environ, **(environment or {})})
        _, status, usage = os.wait4(process.pid, 0)
    taken = Taken(time.monotonic() - started, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RunFailed(f"{command[0]} ended with {process.returncode}:\n{err.read_text(errors='replace')[-4000:]}")
    assert taken.wall_s < seconds, f"took {taken.wall_s:.0f} s"
    return taken, out.read_text(errors="replace")
