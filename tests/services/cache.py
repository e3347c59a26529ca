"""Owns the cache folder: what is fetched once, guarded by a lock file. Does not own what is fetched, or how."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "sluice-test"

INSTALL_HINTS = {
    "java": "a Java runtime, 17 or newer (Debian: apt-get install default-jre-headless)",
    "keytool": "a Java runtime, 17 or newer (Debian: apt-get install default-jre-headless)",
    "mvn": "Apache Maven, 3.8 or newer (Debian: apt-get install maven)",
    "cargo": "Rust, the version of Cargo.toml or newer (https://rustup.rs)",
    "npm": "npm with Node.js, 18 or newer (Debian: apt-get install npm)",
    "node": "Node.js, 18 or newer (Debian: apt-get install nodejs)",
    "go": "Go, 1.24 or newer (https://go.dev/dl)",
}


class FetchError(Exception):
    """A service cannot be fetched. The message says what to install or to look at."""


def fetched(name: str, fetch: Callable[[Path], None]) -> Path:
    """The folder `name` of the cache, made by `fetch(empty folder)` the first time.

    Other processes that ask for the same name wait; an interrupted fetch leaves nothing that looks complete.
    """
    folder = ROOT / name
    with exclusive(name):
        if not folder.exists():
            partial = ROOT / f"{name}.partial"
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            fetch(partial)
            partial.rename(folder)
    return folder


@contextmanager
def exclusive(name: str) -> Iterator[None]:
    """Holds the lock file of `name`; the kernel lets go of it when the process ends, however it ends."""
    ROOT.mkdir(parents=True, exist_ok=True)
    with open(ROOT / f"{name}.lock", "w", encoding="utf-8") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def program(name: str) -> str:
    """The path of a program that must be installed; otherwise an error that says what to install."""
    path = shutil.which(name)
    if path is None:
        raise FetchError(f"`{name}` is not on the PATH: install {INSTALL_HINTS[name]} and try again")
    return path


def checked(command: Sequence[str], environment: Mapping[str, str] | None = None) -> None:
    """Runs a command of a fetch; its whole output is in the error when it fails."""
    done = subprocess.run(
        command,
        env={**os.environ, **(environment or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise FetchError(f"`{' '.join(command)}` ended with {done.returncode}. Is its package registry reachable? Its output:\n{done.stdout}")
