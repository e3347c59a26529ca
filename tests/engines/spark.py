"""Owns a local Spark and its own reader of Parquet. Does not own what is asked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differential.model import Type
from engines.predicates import Predicate
from engines.readers import compared, together


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

    def counts(self, file: Path, type: Type, predicates: list[Predicate]) -> list[int]:
        rows = self.spark.sql(together("Spark", f"parquet.`{file}`", predicates)).collect()
        return [row.c for row in sorted(rows, key=lambda row: row.n)]
