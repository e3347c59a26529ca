"""Owns Flink SQL as a peer. Its jars come by Maven; the registry's format needs jars that Maven Central lacks, so it reads the
same datums without the five bytes in front of them, and enums and times as the numbers they are: a little less work."""

from __future__ import annotations

from pathlib import Path

import duckdb
from services.cache import checked, fetched, program

from bench.measured import Taken, measured
from bench.shapes import Shape
from bench.stage import Stage

HERE = Path(__file__).parent


def flink(stage: Stage, shape: Shape, count: int) -> Taken:
    """Flink SQL from Kafka to the file system, parallelism 2, batch mode."""
    jars = fetched("flink-1.20.1", _fetch)
    folder = stage.folder / f"flink-{count}"
    classes = folder / "classes"
    classes.mkdir(parents=True)
    checked([program("javac"), "-cp", f"{jars}/*", "-d", str(classes), str(HERE / "FlinkPeer.java")])
    opens = [f"--add-opens=java.base/{name}=ALL-UNNAMED" for name in ("java.util", "java.lang", "java.nio", "java.time")]
    command = [program("java"), *opens, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{classes}:{jars}/*", "FlinkPeer"]
    lake = folder / "lake"
    taken, _ = measured([*command, stage.kafka.brokers, stage.topic(shape, count, framed_values=False), str(lake)], folder)
    # Not pyarrow: it refuses Flink's maps, whose keys are marked optional.
    (rows,) = duckdb.sql(f"select count(*) from read_parquet('{lake}/part-*')").fetchall()[0]
    assert rows == count, f"Flink wrote {rows} of {count} rows"
    return taken


def _fetch(folder: Path) -> None:
    goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    checked([program("mvn"), "-q", "-B", "-f", str(HERE / "flink.xml"), *goal])
