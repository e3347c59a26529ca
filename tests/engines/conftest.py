"""Fixtures: the engines, each started for the first test that asks for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from engines import readers
from engines.columns import Files
from engines.readers import Reader
from services.process import run_folder


@pytest.fixture(scope="session")
def engine() -> Iterator[Callable[[str], Reader]]:
    """An engine by its name."""
    folder = run_folder()
    started: dict[str, Reader] = {}

    def ask(name: str) -> Reader:
        if name not in started:
            started[name] = start(name, folder)
            print(f"{name} {started[name].version}")
        return started[name]

    yield ask
    if "Trino" in started:
        started["Trino"].close()


@pytest.fixture(scope="session")
def files() -> Files:
    """The files that every engine reads."""
    return Files(run_folder())


def start(name: str, folder: Path) -> Reader:
    """Starts it."""
    local = {"pyarrow": readers.PyArrow, "DuckDB": readers.DuckDb, "Polars": readers.Polars, "DataFusion": readers.DataFusion, "ClickHouse": readers.ClickHouse}
    if name in local:
        return local[name]()
    if name == "Trino":
        from engines.trino import Trino

        (folder / "trino").mkdir()
        return Trino(folder / "trino")
    from engines.hive import Hive
    from engines.spark import Spark, session

    # One session serves both, whichever is asked for first.
    return (Hive if name == "Hive" else Spark)(session(folder / "spark"))
