"""Owns asking engines that run inside this process: pyarrow, DuckDB, Polars, DataFusion, ClickHouse (chdb)."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, Protocol

import pyarrow as pa

from differential import engines
from differential.model import Type
from engines.predicates import Predicate


class Refused(Exception):
    """What an engine says when it does not read a file."""


class Reader(Protocol):
    """An engine."""

    name: str
    version: str

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        """Each column's name and type, as the engine calls it."""

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        """The compared rows, in the file's order."""

    def counts(self, file: Path, type: Type, predicates: list[Predicate]) -> list[int]:
        """How many rows each predicate holds for; each by a scan of its own, so that it may leave row groups and pages out."""


def compared(table: pa.Table, type: Type) -> list[list[Any]]:
    """Arrow's rows in the form of `Written.wanted`: `type` tells maps from lists of pairs."""
    columns = [engines.values(familiar(column.combine_chunks())) for column in table.columns]
    parts = [part for _, part in type.fields]
    columns = [[shaped(part, value) for value in column] for part, column in zip(parts, columns, strict=True)]
    return [list(row) for row in zip(*columns, strict=True)]


def familiar(array: pa.Array) -> pa.Array:
    """The array with the forms of lists and text that `engines.values` knows."""
    wanted = familiar_type(array.type)
    return array if wanted == array.type else array.cast(wanted)


def familiar_type(kind: pa.DataType) -> pa.DataType:
    """Lists, text and bytes with 32-bit offsets, and nothing else changed."""
    if pa.types.is_struct(kind):
        return pa.struct([field.with_type(familiar_type(field.type)) for field in kind])
    if pa.types.is_map(kind):
        return pa.map_(familiar_type(kind.key_type), kind.item_field.with_type(familiar_type(kind.item_type)))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(kind.value_field.with_type(familiar_type(kind.value_type)))
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return pa.binary() if pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind) else kind


def shaped(type: Type, value: Any) -> Any:
    """A value with the entries of maps sorted, as `Written.wanted` has them, and text of bytes."""
    if value is None:
        return None
    if isinstance(value, uuid.UUID) or (isinstance(value, str) and type.kind == "fixed" and not type.logical):
        return uuid.UUID(str(value)).bytes
    if isinstance(value, bytes) and (type.kind in ("string", "enum") or type.logical in ("uuid", "big-decimal") or type.precision > 76):
        return value.decode()
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        return shaped(parts[0], value) if len(parts) == 1 else [shaped(part, item) for part, item in zip(parts, value, strict=True)]
    if type.logical:
        return value
    if type.kind == "map":
        return sorted(([key.decode() if isinstance(key, bytes) else key, shaped(type.items, item)] for key, item in map(pair, value)), key=lambda pair: pair[0])
    if type.kind == "array":
        return [shaped(type.items, item) for item in value]
    if type.kind == "record" and type.fields:
        return [shaped(part, item) for (_, part), item in zip(type.fields, value, strict=True)]
    return value


def pair(entry: Any) -> Any:
    """Key and value of an entry of a map, or of what an engine makes of one."""
    return entry if isinstance(entry, (list, tuple)) else list(entry.values())


class OneByOne:
    """An engine that is asked for each count."""

    def counts(self, file: Path, type: Type, predicates: list[Predicate]) -> list[int]:
        return [self.count(file, predicate) for predicate in predicates]

    def count(self, file: Path, predicate: Predicate) -> int:
        """One count."""
        raise NotImplementedError


def together(engine: str, source: str, predicates: list[Predicate]) -> str:
    """One query for all counts, for engines in which every query takes long."""
    return " UNION ALL ".join(f"SELECT {number} AS n, count(*) AS c FROM {source} WHERE {each.sql(engine)}" for number, each in enumerate(predicates))


class DuckDb(OneByOne):
    """DuckDB."""

    name = "DuckDB"

    def __init__(self) -> None:
        import duckdb

        self.version = duckdb.__version__
        self.connection = duckdb.connect(config={"threads": 1})

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in self.connection.execute(f"DESCRIBE SELECT * FROM '{file}'").fetchall()]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return compared(self.connection.sql(f"SELECT * FROM '{file}'").to_arrow_table(), type)

    def count(self, file: Path, predicate: Predicate) -> int:
        return self.connection.execute(f"SELECT count(*) FROM '{file}' WHERE {predicate.sql(self.name)}").fetchall()[0][0]


class PyArrow(OneByOne):
    """pyarrow; its types are Arrow's."""

    name = "pyarrow"

    def __init__(self) -> None:
        self.version = pa.__version__

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        import pyarrow.parquet as pq

        return [(field.name, str(field.type)) for field in pq.read_schema(file)]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return compared(engines.with_pyarrow(file), type)

    def count(self, file: Path, predicate: Predicate) -> int:
        import pyarrow.parquet as pq
        from pyarrow import compute

        column = compute.field(predicate.column)
        if predicate.operator == "is null":
            return pq.read_table(file, filters=column.is_null()).num_rows
        return pq.read_table(file, filters=[(predicate.column, predicate.operator, predicate.value)]).num_rows


class Polars(OneByOne):
    """Polars, through its own reader."""

    name = "Polars"

    def __init__(self) -> None:
        import polars

        self.polars, self.version = polars, polars.__version__

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        return [(name, str(kind)) for name, kind in self.polars.read_parquet_schema(file).items()]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return compared(self.polars.read_parquet(file).to_arrow(), type)

    def count(self, file: Path, predicate: Predicate) -> int:
        column, value = self.polars.col(predicate.column), self.polars.lit(predicate.value)
        wanted = {"=": column == value, "<": column < value, ">=": column >= value, "is null": column.is_null()}[predicate.operator]
        return self.polars.scan_parquet(file).filter(wanted).collect().height


class DataFusion(OneByOne):
    """DataFusion."""

    name = "DataFusion"

    def __init__(self) -> None:
        import datafusion

        self.version = datafusion.__version__
        options = {"datafusion.execution.parquet.pushdown_filters": "true", "datafusion.execution.time_zone": "UTC", "datafusion.execution.target_partitions": "1"}
        self.context = datafusion.SessionContext(datafusion.SessionConfig(options))

    def table(self, file: Path) -> str:
        name = "t" + str(abs(hash(file)))
        if not self.context.table_exist(name):
            self.context.register_parquet(name, str(file))
        return name

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        return [(field.name, str(field.type)) for field in self.context.table(self.table(file)).schema()]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        return compared(self.context.table(self.table(file)).to_arrow_table(), type)

    def count(self, file: Path, predicate: Predicate) -> int:
        found = self.context.sql(f"SELECT count(*) FROM {self.table(file)} WHERE {predicate.sql(self.name)}").to_arrow_table()
        return found.column(0)[0].as_py()


class ClickHouse(OneByOne):
    """ClickHouse, in its embedded form."""

    name = "ClickHouse"

    def __init__(self) -> None:
        import chdb

        self.chdb = chdb
        self.version = self.ask("SELECT version()", "TSV").decode().strip()

    def ask(self, query: str, form: str) -> bytes:
        return self.chdb.query(query, form).bytes()

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        lines = self.ask(f"DESCRIBE file('{file}', Parquet)", "TSV").decode().splitlines()
        return [tuple(line.split("\t")[:2]) for line in lines]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        settings = "output_format_arrow_string_as_string=0, session_timezone='UTC'"
        data = self.ask(f"SELECT * FROM file('{file}', Parquet) SETTINGS {settings}", "ArrowStream")
        return compared(pa.ipc.open_stream(data).read_all(), type)

    def count(self, file: Path, predicate: Predicate) -> int:
        return int(self.ask(f"SELECT count() FROM file('{file}', Parquet) WHERE {predicate.sql(self.name)} SETTINGS session_timezone='UTC'", "TSV"))
