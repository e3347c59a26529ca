"""Owns a local Spark, and Hive's own reader of Parquet inside it. Does not own what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differential.model import Type
from engines.predicates import Predicate
from engines.readers import compared
from engines.trino import declaration


def session(folder: Path) -> Any:
    """The session; its Hive keeps what it knows in memory."""
    from pyspark.sql import SparkSession

    settings = {
        "spark.driver.memory": "1500m",
        "spark.ui.enabled": "false",
        "spark.sql.session.timeZone": "UTC",
        "spark.sql.shuffle.partitions": "2",
        "spark.sql.warehouse.dir": str(folder / "warehouse"),
        "spark.hadoop.javax.jdo.option.ConnectionURL": "jdbc:derby:memory:metastore;create=true",
        "spark.driver.extraJavaOptions": f"-Dderby.system.home={folder}/derby",
        "spark.sql.hive.convertMetastoreParquet": "false",
        "spark.sql.execution.arrow.maxRecordsPerBatch": "100000",
    }
    builder = SparkSession.builder.master("local[2]").enableHiveSupport()
    for key, value in settings.items():
        builder = builder.config(key, value)
    made = builder.getOrCreate()
    made.sparkContext.setLogLevel("OFF")
    return made


class Spark:
    """Spark's own reader of Parquet."""

    name = "Spark"

    def __init__(self, spark: Any):
        self.spark, self.version = spark, spark.version

    def frame(self, file: Path, type: Type) -> Any:
        return self.spark.read.parquet(str(file))

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        return self.frame(file, type).dtypes

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return compared(self.frame(file, type).toArrow(), type)

    def count(self, file: Path, type: Type, predicate: Predicate) -> int:
        return self.frame(file, type).where(predicate.sql("Spark")).count()


class Hive(Spark):
    """Hive's Parquet SerDe, of the version that Spark brings, under a table that is declared as Trino's are."""

    name = "Hive"

    def __init__(self, spark: Any):
        super().__init__(spark)
        self.version = "2.3 in Spark " + spark.version
        self.tables: dict[Path, str] = {}

    def frame(self, file: Path, type: Type) -> Any:
        if file not in self.tables:
            name = f"t{len(self.tables)}"
            folder = file.parent / f"hive-{file.stem}"
            folder.mkdir()
            (folder / file.name).symlink_to(file)
            columns = ", ".join(f"`{column}` {hive(declaration(part))}" for column, part in type.fields)
            self.spark.sql(f"CREATE EXTERNAL TABLE {name} ({columns}) STORED AS PARQUET LOCATION 'file://{folder}'")
            self.tables[file] = name
        return self.spark.table(self.tables[file])

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return [[timed(part, item) for (_, part), item in zip(type.fields, row, strict=True)] for row in super().rows(file, type)]


def timed(type: Type, value: Any) -> Any:
    """A value whose times of day came as numbers of milliseconds or microseconds."""
    if value is None:
        return None
    if (type.logical or "").startswith("time-"):
        return value * (1_000_000 if type.logical == "time-millis" else 1_000)
    if type.kind == "union":
        return timed(next(part for part in type.branches if part.kind != "null"), value) if len(type.branches) == 2 else value
    if type.kind == "array":
        return [timed(type.items, item) for item in value]
    if type.kind == "map":
        return [[key, timed(type.items, item)] for key, item in value]
    if type.kind == "record" and type.fields:
        return [timed(part, item) for (_, part), item in zip(type.fields, value, strict=True)]
    return value


def hive(declared: str) -> str:
    """Hive's words for a declaration of Trino's."""
    out, depth = "", []
    words = {"varchar": "string", "varbinary": "binary", "integer": "int", "real": "float", "timestamp(9)": "timestamp"}
    import re

    for token in re.findall(r'timestamp\(9\)|decimal\(\d+,\d+\)|"[^"]*"|\w+|[(), ]', declared):
        if token == "row":
            token = "struct"
        if token == "(":
            depth.append("row" if out.endswith("struct") else "other")
            out += "<"
        elif token == ")":
            depth.pop()
            out += ">"
        elif token == " ":
            out += ":" if depth and depth[-1] == "row" and not out.endswith((",", ":")) else ""
        elif token.startswith('"'):
            out += token.strip('"')
        else:
            out += words.get(token, token)
    return out


