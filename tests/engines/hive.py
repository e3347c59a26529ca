"""Owns Hive's own reader of Parquet, of the version that Spark brings (2.3), and the declarations of its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from differential.model import Type
from engines.spark import Spark

PRIMITIVES = {"null": "boolean", "boolean": "boolean", "int": "int", "long": "bigint", "float": "float", "double": "double", "bytes": "binary", "fixed": "binary"}


class Hive(Spark):
    """Tables of Hive's SerDe over one file each."""

    name = "Hive"

    def __init__(self, spark: Any):
        super().__init__(spark)
        self.tables: dict[Path, str] = {}

    def frame(self, file: Path, type: Type) -> Any:
        if file not in self.tables:
            name = f"t{len(self.tables)}"
            folder = file.parent / "hive"
            folder.mkdir()
            (folder / file.name).symlink_to(file)
            columns = ", ".join(f"`{column}` {declaration(part)}" for column, part in type.fields)
            self.spark.sql(f"CREATE EXTERNAL TABLE {name} ({columns}) STORED AS PARQUET LOCATION 'file://{folder}'")
            self.tables[file] = name
        return self.spark.table(self.tables[file])


def declaration(type: Type) -> str:
    """The type of a column."""
    logical = type.logical or ""
    if logical == "decimal" and type.precision <= 76:
        return f"decimal({type.precision},{type.scale})"
    if type.kind in ("string", "enum") or logical in ("uuid", "big-decimal", "decimal"):
        return "string"
    if logical == "date" or "timestamp" in logical:
        return "date" if logical == "date" else "timestamp"
    if type.kind == "array":
        return f"array<{declaration(type.items)}>"
    if type.kind == "map":
        return f"map<string,{declaration(type.items)}>"
    if logical == "duration":
        return struct([("months", Type("long")), ("days", Type("long")), ("milliseconds", Type("long"))])
    if type.kind == "record":
        return struct(type.fields)
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        return struct([(part.word, part) for part in parts]) if len(parts) > 1 else declaration(parts[0])
    return PRIMITIVES[type.kind]


def struct(members: list[tuple[str, Type]]) -> str:
    """A struct of these members."""
    return "struct<" + ",".join(f"`{name}`:{declaration(part)}" for name, part in members) + ">"
