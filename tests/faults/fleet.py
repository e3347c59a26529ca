"""Owns the daemons of a run: their configurations, their lives, and what their logs tell of what they went through.

Does not own which fault comes when (`chaos.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from harness.lab import Connector, Lab
from harness.sluice import BINARY, assert_no_panic
from services.process import Service, free_port

LOG_LEVEL = os.environ.get("SLUICE_FAULT_LOG") or "info"
SIGTERM, SIGSTOP, SIGCONT = 15, 19, 18


@dataclass
class Member:
    """One daemon of the fleet; it keeps its configuration and its log over restarts."""

    service: Service
    stopped: bool = False
    """SIGSTOP was sent, SIGCONT not yet."""

    @property
    def running(self) -> bool:
        """Whether it runs and is not stopped."""
        return self.service.running() and not self.stopped


@dataclass
class Fleet:
    """Daemons that share the same connectors."""

    lab: Lab
    connectors: list[Connector]
    size: int
    environment: dict[str, str] = field(default_factory=dict)
    members: list[Member] = field(default_factory=list)

    def start(self) -> None:
        """Starts every daemon."""
        for _ in range(self.size):
            self.add()

    def add(self, **environment: str) -> Member:
        """Starts one more daemon."""
        number = len(self.members)
        daemon = {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "json", "level": LOG_LEVEL}, "memory": "256MiB", "shutdown_timeout": "40s"}
        config = self.lab.sluice.write([connector.settings for connector in self.connectors], f"fleet-{self.lab.tag}-{number}.yaml", daemon=daemon)
        log = self.lab.folder / f"fleet-{self.lab.tag}-{number}.log"
        variables = {**self.lab.sluice.environment, **self.environment, **environment}
        member = Member(Service("sluice", [str(BINARY), "run", "--config", str(config)], log, variables))
        self.members.append(member)
        self.lab.sluice.daemons.append(member.service)
        member.service.start()
        return member

    def kill(self, member: Member) -> None:
        """kill -9."""
        member.service.kill()
        member.stopped = False

    def pause(self, member: Member, stopped: bool) -> None:
        """SIGSTOP or SIGCONT."""
        member.service.signal(SIGSTOP if stopped else SIGCONT)
        member.stopped = stopped

    def terminate(self, member: Member, seconds: float = 60, meanwhile: Callable[[], None] = lambda: None) -> None:
        """SIGTERM; the daemon must drain and end with 0. `meanwhile` is called while it does."""
        member.service.signal(SIGTERM)
        deadline = time.monotonic() + seconds
        while member.service.running() and time.monotonic() < deadline:
            meanwhile()
            time.sleep(0.05)
        code = member.service.wait_end(seconds)
        assert code == 0, f"exit code {code} after SIGTERM; the log ends with:\n{member.service.log_tail()}"

    def stacks(self) -> str:
        """Where the threads of every daemon are, where gdb is installed; for a hang."""
        found = ""
        for member in self.members:
            if member.service.process is not None and shutil.which("gdb"):
                command = ["gdb", "-p", str(member.service.process.pid), "-batch", "-ex", "thread apply all bt 14"]
                found += subprocess.run(command, capture_output=True, text=True, timeout=120, check=False).stdout[-30_000:]
        return found

    def assert_alive(self) -> None:
        """No daemon has ended by itself, no connector has failed."""
        for member in self.members:
            assert member.service.process is None or member.service.running(), f"a daemon ended by itself:\n{member.service.log_tail()}"
        told = self.tally()
        assert not told.failures, f"connectors failed: {told.failures[:3]}"

    def tally(self) -> Tally:
        """What the logs tell."""
        tally = Tally()
        for member in self.members:
            tally.read(member.service.log)
        return tally


@dataclass
class Tally:
    """Counts from the daemons' logs."""

    counts: Counter[str] = field(default_factory=Counter)
    failures: list[str] = field(default_factory=list)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why unsettled records were dropped."""

    def read(self, log: Path) -> None:
        """Adds a log; a last line that was cut off by a kill is passed over."""
        text = log.read_text(errors="replace")
        assert_no_panic(text)
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(entry, dict):
                self._count(entry)

    def _count(self, entry: dict[str, Any]) -> None:
        message = str(entry.get("message", ""))
        if message == "flush published":
            self.counts["flushes published"] += 1
            self.counts["intents replayed"] += bool(entry.get("replayed"))
            self.counts["files adopted"] += int(entry.get("adopted", 0))
        elif message == "partition started":
            self.counts["partitions started"] += 1
            self.counts["started with a pending intent"] += entry.get("replay_to") is not None
        elif message == "partitions assigned":
            self.counts["rebalances that gave partitions"] += 1
        elif message.startswith("partitions revoked"):
            self.counts["rebalances that took partitions"] += 1
        elif message.startswith("partitions lost"):
            self.counts["partitions lost to the group"] += 1
        elif message.startswith("unsettled records dropped"):
            self.counts["recoveries by dropping"] += 1
            self.reasons[message.removeprefix("unsettled records dropped, to be read again: ")[:120]] += 1
        elif message.startswith("not flushed within"):
            self.counts["drain deadlines passed"] += 1
        elif entry.get("level") == "ERROR":
            self.failures.append(message)
