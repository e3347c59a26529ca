"""The bounds in footers, which engines leave row groups out by: readable for older engines, too, and never wrong."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq

from differential import oracles
from differential.oracles import Case

# Field 1 of the union ColumnOrder (TYPE_ORDER), an empty struct, in Thrift's compact protocol. Field 2 is the IEEE 754 total
# order, for which older engines refuse the file: Polars 1.20 to 1.39 and DataFusion 49 were seen to.
TYPE_ORDER = b"\x1c\x00\x00"


def written(folder: Path, type: str | dict[str, object], datums: list[bytes]) -> Path:
    """A file of records with one field `f` of this type."""
    schema = json.dumps({"type": "record", "name": "R", "fields": [{"name": "f", "type": type}]})
    outcome = oracles.ours([Case(schema, datums)], folder)[0]
    assert outcome.refused is None and not any(outcome.datums), outcome
    return outcome.file


def test_fault_56_float_columns_are_declared_in_the_order_that_every_engine_knows(tmp_path: Path) -> None:
    for kind, form in (("double", "<d"), ("float", "<f")):
        values = [0.0, 1.5, math.nan]
        path = written(tmp_path / kind, kind, [struct.pack(form, value) for value in values])
        raw = path.read_bytes()
        # One column: the list of orders is the last of the footer, in front of the end of a struct, a length and the magic.
        assert raw[-9 - 5 : -8] == b"\x19\x1c" + TYPE_ORDER + b"\x00"
        bounds = pq.read_metadata(path).row_group(0).column(0).statistics
        assert bounds.has_min_max and (bounds.min, bounds.max) == (0.0, 1.5)
        assert math.copysign(1, bounds.min) == -1, "a zero as a minimum stands for both"
        assert pq.read_table(path, filters=[("f", "=", -0.0)]).num_rows == 1
        alone = written(tmp_path / f"{kind}-nan", kind, [struct.pack(form, math.nan)] * 3)
        bounds = pq.read_metadata(alone).row_group(0).column(0).statistics
        assert bounds is None or not bounds.has_min_max, "NaN is no bound"
        count = duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE isnan(f)", [str(alone)]).fetchone()
        assert count == (3,)


def test_wide_fixed_columns_can_be_filtered(tmp_path: Path) -> None:
    for size in (64, 65, 100, 4_096):
        datums = [bytes([number]) * size for number in range(9)]
        path = written(tmp_path / str(size), {"type": "fixed", "name": "F", "size": size}, datums)
        # In a process of its own: what is wrong here ends it.
        code = f"""
import pyarrow.parquet as pq
wanted = bytes([7]) * {size}
print(pq.read_metadata({str(path)!r}).row_group(0).column(0).statistics)
assert pq.read_table({str(path)!r}, filters=[("f", "=", wanted)])["f"].to_pylist() == [wanted]
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{size} bytes: {done.returncode}\n{done.stderr[-2000:]}"
        found = duckdb.execute("SELECT count(*) FROM read_parquet(?) WHERE f = ?", [str(path), bytes([7]) * size]).fetchone()
        assert found == (1,)
