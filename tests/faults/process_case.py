"""Owns one process of a small case: started with failpoints, watched without blocking."""

from __future__ import annotations

import os
from pathlib import Path

from harness.lab import Lab
from harness.sluice import REPOSITORY, assert_no_panic
from services.process import Service

from faults.side_by_side import Wait

BINARY = Path(os.environ.get("SLUICE_FAILPOINTS_BIN") or REPOSITORY / "target/failpoints/sluice").resolve()
"""Built with the feature `failpoints`; `tests/run faults` does that."""


class Run:
    """`sluice run`, bounded unless told otherwise, with these failpoints."""

    def __init__(self, lab: Lab, config: Path, failpoints: str = "", until_end: bool = True, panics: bool = False, **environment: str):
        self.log = lab.folder / f"{lab.name('run')}.log"
        words = [str(BINARY), "run", "--config", str(config), *(["--until-end"] if until_end else [])]
        variables = {**lab.sluice.environment, "SLUICE_FAILPOINTS": failpoints, **environment}
        self.service = Service("sluice", words, self.log, variables)
        self.panics = panics
        self.service.start()

    @property
    def text(self) -> str:
        """What it said so far."""
        return self.log.read_text(errors="replace")

    def ended(self, seconds: float = 90) -> Wait:
        """Waits for its end."""
        return (f"the end of a run that says:\n{self.text[-1500:]}", lambda: not self.service.running(), seconds)

    def stopped(self, seconds: float = 60) -> Wait:
        """Waits until it has stopped itself (SIGSTOP)."""
        return ("the process to stop itself", lambda: self._state() == "T", seconds)

    def says(self, words: str, seconds: float = 60) -> Wait:
        """Waits until the log has these words."""
        return (f"`{words}` in the log", lambda: words in self.text, seconds)

    def assert_code(self, expected: int) -> None:
        """Its exit code, or the negative number of the signal that ended it."""
        assert self.service.process is not None
        code = self.service.process.wait(5)
        text = self.text
        self.service.kill()
        if not self.panics:
            assert_no_panic(text)
        assert code == expected, f"exit code {code}, not {expected}; it said:\n{text[-2500:]}"

    def _state(self) -> str:
        assert self.service.process is not None
        try:
            return Path(f"/proc/{self.service.process.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0]
        except OSError:
            return ""
