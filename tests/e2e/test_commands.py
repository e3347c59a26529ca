"""`demo` and `inspect`: what someone sees first."""

from __future__ import annotations

import json
import re
from pathlib import Path

import duckdb
import pyarrow.parquet
import pytest
from harness.delivery import assert_sound
from harness.lake import LocalLake
from harness.sluice import Finished, Sluice

RECORDS = 20_000


@pytest.fixture(scope="module")
def demo(binary: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Finished, LocalLake, Sluice]:
    """A demo run of 20,000 records, without any service."""
    folder = tmp_path_factory.mktemp("demo")
    sluice = Sluice(folder, {})
    finished = sluice.run("demo", "--records", str(RECORDS), "--output", folder / "out", seconds=120)
    return finished, LocalLake(folder / "out"), sluice


def test_the_demo_writes_what_it_says(demo: tuple[Finished, LocalLake, Sluice]) -> None:
    finished, lake, _ = demo
    assert finished.code == 0, finished
    assert len(lake.positions()) == len(set(lake.positions())) == RECORDS
    assert_sound(lake)
    for file in lake.files():
        assert file.path.name in finished.text, f"the table does not have {file.path.name}"


def test_the_query_that_the_demo_prints_can_be_pasted(demo: tuple[Finished, LocalLake, Sluice], monkeypatch: pytest.MonkeyPatch) -> None:
    finished, _, sluice = demo
    monkeypatch.chdir(sluice.folder)
    printed = re.search(r'^  duckdb -c "(.+)"$', finished.out, re.M)
    assert printed, finished
    rows = duckdb.sql(printed[1]).fetchall()
    assert sum(orders for _, orders, _ in rows) == RECORDS and len(rows) > 1


def test_inspect_describes_a_file_for_people(demo: tuple[Finished, LocalLake, Sluice]) -> None:
    _, lake, sluice = demo
    file = lake.files()[0]
    finished = sluice.run("inspect", file.path)
    assert finished.code == 0, finished
    columns = pyarrow.parquet.ParquetFile(file.path).schema_arrow.names
    for words in (*columns, file.topic, str(file.end), "SNAPPY"):
        assert words.lower() in finished.out.lower(), f"inspect does not say {words}"


def test_inspect_describes_a_file_for_programs(demo: tuple[Finished, LocalLake, Sluice]) -> None:
    _, lake, sluice = demo
    file = lake.files()[0]
    finished = sluice.run("inspect", "--json", file.path)
    assert finished.code == 0, finished
    described = json.loads(finished.out)
    assert isinstance(described, dict) and file.topic in json.dumps(described)


def test_inspect_refuses_what_is_no_parquet_file(binary: Path, tmp_path: Path) -> None:
    sluice = Sluice(tmp_path, {})
    (tmp_path / "not.parquet").write_bytes(b"PAR1 but no more")
    for name in ("not.parquet", "missing.parquet"):
        finished = sluice.run("inspect", name)
        assert finished.code == 1, finished
        assert name in finished.text


def test_replay_keeps_its_place_and_says_what_does_its_work_today(binary: Path, tmp_path: Path) -> None:
    for arguments in (["s3://lake/raw", "--topic", "orders"], []):
        finished = Sluice(tmp_path, {}).run("replay", *arguments)
        assert finished.code == 2 and "is not there yet: nothing was read and nothing produced" in finished.err, finished
        assert "Deliver a range again" in finished.err
    assert "replay" not in Sluice(tmp_path, {}).run("--help").out


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["run", "--help"], ["check", "--help"], ["demo", "--help"], ["inspect", "--help"]])
def test_help_is_given(binary: Path, tmp_path: Path, arguments: list[str]) -> None:
    finished = Sluice(tmp_path, {}).run(*arguments)
    assert finished.code == 0 and "sluice" in finished.out, finished
