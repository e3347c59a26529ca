"""docs/faults.md: a line for every row of the catalogue, and no test that does not exist."""

from __future__ import annotations

import re

from harness.sluice import REPOSITORY

ROWS = 115
WITHOUT_A_TEST = {17, 65}
"""Rows whose outcome says why."""


def test_every_row_has_a_line_and_every_named_test_exists() -> None:
    lines = re.findall(r"^\| (\d+) \| .+ \| (.+) \| (.+) \|$", (REPOSITORY / "docs/faults.md").read_text(), re.M)
    assert [int(number) for number, _, _ in lines] == list(range(1, ROWS + 1))
    sources = [*(REPOSITORY / "src").rglob("*.rs"), *(REPOSITORY / "tests").rglob("*.rs"), *(REPOSITORY / "tests").rglob("*.py")]
    known = set(re.findall(r"(?:fn|def) (\w*fault_\w+)", "\n".join(path.read_text() for path in sources)))
    for number, outcome, shown_by in lines:
        named = set(re.findall(r"`(\w+)`", shown_by))
        assert named <= known, f"row {number}: no such test: {named - known}"
        assert bool(named) != (int(number) in WITHOUT_A_TEST), f"row {number} needs a test or a reason"
        assert outcome.endswith("."), f"row {number}"
