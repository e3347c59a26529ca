"""Owns the processes that a test run starts: where they listen, that they are ready, and that they end with the run.

Does not own which services there are. A child is stopped by `stop`, else at exit, else by the kernel when this
process is killed (parent-death signal), so nothing outlives a run.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)
FOLDER_PREFIX = "sluice-test-"


class ServiceError(Exception):
    """A service did not become ready. The message carries the end of its log."""


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on; never handed out twice by this process."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        if port not in _ports_handed_out:
            _ports_handed_out.add(port)
            return port


_ports_handed_out: set[int] = set()


def run_folder() -> Path:
    """A new temporary folder for a run's data, removed at exit; folders of runs that were killed are swept."""
    parent = Path(tempfile.gettempdir())
    for stale in parent.glob(f"{FOLDER_PREFIX}*"):
        owner = stale.name.removeprefix(FOLDER_PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(stale, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=parent))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def die_with_parent(parent: int) -> Callable[[], None]:
    """For `Popen(preexec_fn=…)`: the kernel kills the child when the starting thread of `parent` ends."""

    def arrange() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # It died before the request was made.
            os._exit(1)

    return arrange


class Service:
    """One child process in a process group of its own, with its output in a log file.

    It can be started again after `stop` or `kill`: same command, same ports, same data.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str] | None = None):
        self.name = name
        self.command = list(command)
        self.log = log
        self.environment = dict(environment or {})
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process and returns at once; see `wait_until`."""
        assert threading.current_thread() is threading.main_thread(), "the parent-death signal follows the starting thread"
        assert not self.running(), f"{self.name} is running already"
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, **self.environment},
                cwd=self.log.parent,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(os.getpid()),
            )
        atexit.register(self.kill)

    def running(self) -> bool:
        """Whether the process was started and has not ended."""
        return self.process is not None and self.process.poll() is None

    def wait_until(self, ready: Callable[[], bool], seconds: float) -> None:
        """Returns when `ready()` is true; raises when the process ends before that, or `seconds` pass."""
        deadline = time.monotonic() + seconds
        while not ready():
            if not self.running():
                raise ServiceError(f"{self.name} ended while it was starting; its log ends with:\n{self.log_tail()}")
            if time.monotonic() > deadline:
                raise ServiceError(f"{self.name} was not ready after {seconds:.0f} s; its log ends with:\n{self.log_tail()}")
            time.sleep(0.05)

    def stop(self, seconds: float = 20.0) -> None:
        """Asks the process to end (SIGTERM) and kills its group if it has not after `seconds`."""
        if self.running():
            assert self.process is not None
            self.process.terminate()
            try:
                self.process.wait(seconds)
            except subprocess.TimeoutExpired:
                pass
        self.kill()

    def kill(self) -> None:
        """Ends the process group at once (SIGKILL) and reaps the process."""
        if self.process is None:
            return
        atexit.unregister(self.kill)
        if self.process.returncode is None:  # Not reaped, so its group cannot be a stranger's.
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
        self.process = None

    def wait_end(self, seconds: float) -> int:
        """Waits for the process to end by itself and returns its exit code (negative: the signal that ended it)."""
        assert self.process is not None, f"{self.name} is not running"
        try:
            code = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise ServiceError(f"{self.name} did not end within {seconds:.0f} s; its log ends with:\n{self.log_tail()}") from None
        self.kill()
        return code

    def signal(self, number: int) -> None:
        """Sends a signal to the process, for instance SIGSTOP and SIGCONT."""
        assert self.process is not None, f"{self.name} is not running"
        self.process.send_signal(number)

    def log_tail(self, lines: int = 40) -> str:
        """The last lines of the log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
