"""Owns a disk that is soon full: a file system in memory, mounted for one test. Does not own what is written to it."""

from __future__ import annotations

import errno
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class SmallDisk:
    """The disk, and what fills it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self._ballast = folder / ".ballast"

    def fill(self) -> None:
        """Takes all the room that is left."""
        with open(self._ballast, "ab", buffering=0) as ballast:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        ballast.write(bytes(size))
                except OSError as error:
                    assert error.errno == errno.ENOSPC, error

    def make_room(self) -> None:
        """Gives it back."""
        self._ballast.unlink()


@contextmanager
def small_disk(folder: Path, mebibytes: int) -> Iterator[SmallDisk]:
    """Mounts it where root may mount; otherwise the test says what it needs."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m", "tmpfs", str(folder)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    assert mounted.returncode == 0, f"cannot mount a tmpfs ({mounted.stderr.strip()}): run as root with the right to mount"
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=False)
