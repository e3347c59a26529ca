"""Owns the instruction counts of the hot paths: counted by callgrind, compared with those in `instructions.json`.

Counts of the same binary repeat to a thousandth on any machine, busy or not; another compiler gives others.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

from harness.sluice import REPOSITORY

HOT_PATHS = Path(os.environ.get("SLUICE_HOT_PATHS") or REPOSITORY / "target/release/examples/hot_paths")
COMMITTED = Path(__file__).with_name("instructions.json")
RECORDS = 20_000
"""As in examples/hot_paths.rs."""
TOLERANCE = 0.03


def check(accept: bool) -> int:
    """Counts, compares, prints; 1 when a path takes more than 3 % more instructions than it did."""
    counts = {path: count(path) for path in ("decode", "encode")}
    compiler = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True).stdout.strip()
    if accept:
        COMMITTED.write_text(json.dumps({"compiler": compiler, "instructions_a_record": counts}, indent=2) + "\n", encoding="utf-8")
    committed = json.loads(COMMITTED.read_text(encoding="utf-8"))
    if committed["compiler"] != compiler:
        print(f"note: the committed counts are of {committed['compiler']}, this is {compiler}")
    worse = 0
    for path, found in counts.items():
        before = committed["instructions_a_record"][path]
        change = found / before - 1
        verdict = "WORSE" if change > TOLERANCE else "better: accept it with --accept" if change < -TOLERANCE else "same"
        worse += change > TOLERANCE
        print(f"{path:7} {found:8,.0f} instructions a record, {before:8,.0f} committed, {change:+.1%}: {verdict}")
    return 1 if worse else 0


def count(path: str) -> float:
    """Instructions a record of one hot path."""
    if not HOT_PATHS.is_file():
        sys.exit(f"{HOT_PATHS} is not there: run `make bench-instructions`")
    tool = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", "--collect-atstart=no", f"--toggle-collect=*measured_{path}*"]
    try:
        done = subprocess.run([*tool, str(HOT_PATHS), path], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        sys.exit("`valgrind` is not on the PATH: install it (Debian: apt-get install valgrind) and try again")
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None or int(found[1]) == 0:
        sys.exit(f"callgrind counted nothing:\n{done.stderr[-2000:]}")
    return int(found[1]) / RECORDS
