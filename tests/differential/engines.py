"""Owns reading a Parquet file back with pyarrow and with DuckDB, into the form that `columns` compares."""

from __future__ import annotations

from decimal import Context
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from differential.columns import spelled

UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
WIDE = Context(prec=200)


def with_pyarrow(path: Path) -> pa.Table:
    """The file's rows."""
    return pq.read_table(path)


def with_duckdb(connection: duckdb.DuckDBPyConnection, path: Path) -> pa.Table:
    """The file's rows."""
    return connection.sql("SELECT * FROM read_parquet(?)", params=[str(path)]).to_arrow_table()


def rows(table: pa.Table) -> list[list[Any]]:
    """Each row as the list of its columns' compared values."""
    columns = [values(column) for column in table.columns]
    return [list(row) for row in zip(*columns, strict=True)]


def names(type: pa.DataType | pa.Schema) -> Any:
    """The names of columns in the form of `columns.named`."""
    if isinstance(type, pa.Schema) or pa.types.is_struct(type):
        return [(field.name, names(field.type)) for field in type]
    if pa.types.is_map(type):
        return names(type.item_type)
    return names(type.value_type) if pa.types.is_list(type) else None


def values(array: pa.Array | pa.ChunkedArray) -> list[Any]:
    """The compared values of a column."""
    if isinstance(array, pa.ChunkedArray):
        return [value for chunk in array.chunks for value in values(chunk)]
    kind = array.type
    if pa.types.is_struct(kind):
        parts = [values(part) for part in array.flatten()]
        valid = array.is_valid().to_pylist()
        return [[part[row] for part in parts] if valid[row] else None for row in range(len(array))]
    if pa.types.is_map(kind):
        keys, items = values(array.keys), values(array.items)
        return between(array, list(zip(keys, items, strict=True)))
    if pa.types.is_list(kind):
        return between(array, values(array.values))
    if pa.types.is_timestamp(kind) or pa.types.is_time(kind):
        whole = array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).to_pylist()
        return [None if value is None else value * UNITS[kind.unit] for value in whole]
    if pa.types.is_date32(kind):
        return array.cast(pa.int32()).to_pylist()
    if pa.types.is_decimal(kind):
        return [None if value is None else int(value.scaleb(kind.scale, WIDE)) for value in array.to_pylist()]
    if pa.types.is_float32(kind) or pa.types.is_float64(kind):
        return [None if value is None else spelled(value) for value in array.to_pylist()]
    return array.to_pylist()


def between(array: pa.ListArray | pa.MapArray, items: list[Any]) -> list[Any]:
    """The items of each list, by their offsets."""
    offsets, valid = array.offsets.to_pylist(), array.is_valid().to_pylist()
    return [items[offsets[row] : offsets[row + 1]] if valid[row] else None for row in range(len(array))]
