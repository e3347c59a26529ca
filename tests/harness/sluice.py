"""Owns running the binary: its configuration file, one run to its end, a daemon. Does not own what it writes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from services.process import Service, free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BINARY = Path(os.environ.get("SLUICE_BIN") or REPOSITORY / "target/release/sluice").resolve()


@dataclass(frozen=True)
class Finished:
    """How a run ended: exit code, standard output, standard error, seconds."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def text(self) -> str:
        """Everything that it said."""
        return f"{self.out}\n{self.err}"

    def __str__(self) -> str:
        return f"exit code {self.code} after {self.seconds:.1f} s\n--- out\n{self.out[-6000:]}\n--- err\n{self.err[-12000:]}"


@dataclass
class Sluice:
    """The binary, run inside the folder of one test."""

    folder: Path
    environment: Mapping[str, str]
    """Its variables beside those of this process."""
    daemons: list[Service] = field(default_factory=list)

    def write(self, connectors: list[dict[str, Any]], name: str = "connectors.yaml", **top: Any) -> Path:
        """Writes a configuration of these connectors; keywords are further keys at its top."""
        daemon = {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "text", "level": "info"}}
        return self.write_text(as_yaml({"version": 1, "daemon": daemon, **top, "connectors": connectors}), name)

    def write_text(self, text: str, name: str = "connectors.yaml") -> Path:
        """Writes a configuration as it is."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def run(self, *arguments: str | Path, seconds: float = 120, environment: Mapping[str, str] | None = None) -> Finished:
        """Runs a command to its end. It may not take longer than `seconds`, and it may never panic."""
        started = time.monotonic()
        try:
            done = subprocess.run(
                [BINARY, *arguments],
                cwd=self.folder,
                env={**os.environ, **self.environment, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as late:
            out, err = ((text or b"").decode(errors="replace")[-6000:] for text in (late.stdout, late.stderr))
            raise AssertionError(f"`sluice {arguments[0]}` did not end within {seconds:.0f} s; it said:\n{out}\n{err}") from None
        finished = Finished(done.returncode, done.stdout, done.stderr, time.monotonic() - started)
        print(f"$ sluice {' '.join(map(str, arguments))}\n{finished}")
        assert_no_panic(finished.text)
        return finished

    def until_end(self, config: Path, seconds: float = 180) -> Finished:
        """`run --until-end`, which must succeed."""
        finished = self.run("run", "--config", config, "--until-end", seconds=seconds)
        assert finished.code == 0, finished
        return finished

    def daemon(self, config: Path, environment: Mapping[str, str] | None = None, *arguments: str) -> Service:
        """Starts `run` with further arguments; the fixture that made this object kills it when the test is over."""
        log = self.folder / f"daemon-{len(self.daemons)}.log"
        command = [str(BINARY), "run", "--config", str(config), *arguments]
        daemon = Service("sluice", command, log, {**self.environment, **(environment or {})})
        self.daemons.append(daemon)
        daemon.start()
        return daemon

    def close(self) -> None:
        """Kills the daemons and shows what they said; none of them may have panicked."""
        for daemon in self.daemons:
            daemon.kill()
            print(f"$ sluice (daemon, {daemon.log.name})\n{daemon.log_tail(80)}")
        for daemon in self.daemons:
            assert_no_panic(daemon.log.read_text(errors="replace"))


def drain(daemon: Service, seconds: float = 60) -> None:
    """Sends SIGTERM; the daemon must publish, commit and end with 0."""
    daemon.signal(15)
    code = daemon.wait_end(seconds)
    assert code == 0, f"exit code {code} after SIGTERM; the log ends with:\n{daemon.log_tail()}"


def assert_no_panic(text: str) -> None:
    """Fails when a Rust panic is in the text."""
    found = re.search(r"panicked at .*(\n.*){0,3}", text)
    assert not found, found


def as_yaml(value: Any, indent: int = 0) -> str:
    """Block-style YAML of dictionaries, lists and scalars; strings are quoted as JSON, which YAML contains."""
    pad = "  " * indent
    if isinstance(value, dict) and value:
        return "".join(f"{pad}{key}:{_after(item, indent)}" for key, item in value.items())
    if isinstance(value, list) and value:
        return "".join(f"{pad}-{_after(item, indent)}" for item in value)
    return f"{pad}{json.dumps(value, ensure_ascii=False)}\n"


def _after(item: Any, indent: int) -> str:
    nested = isinstance(item, (dict, list)) and len(item) > 0
    return "\n" + as_yaml(item, indent + 1) if nested else " " + as_yaml(item)
