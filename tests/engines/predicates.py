"""Owns predicates on one column in each engine's SQL. Does not own what they are asked of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any


@dataclass(frozen=True)
class Predicate:
    """A column, `=`, `<`, `>=` or `is null`, and a value: a datetime with a zone is an instant, one without a wall clock."""

    column: str
    operator: str
    value: Any = None

    def holds(self, value: Any) -> bool:
        """Whether it holds for a value, None being null."""
        if self.operator == "is null":
            return value is None
        if value is None:
            return False
        return {"=": value == self.value, "<": value < self.value, ">=": value >= self.value}[self.operator]

    def sql(self, engine: str) -> str:
        """The words of an engine."""
        return f"{self.column} IS NULL" if self.operator == "is null" else f"{self.column} {self.operator} {literal(engine, self.value)}"


def literal(engine: str, value: Any) -> str:
    """A value in the words of an engine."""
    house = engine == "ClickHouse"
    if isinstance(value, datetime):
        return moment(engine, value)
    if isinstance(value, bool | int):
        return str(value).lower()
    if isinstance(value, float):
        return f"{value:e}"
    if isinstance(value, Decimal):
        scale = -int(value.as_tuple().exponent)
        return f"toDecimal128('{value}', {scale})" if house else f"CAST('{value}' AS DECIMAL(38, {scale}))"
    if isinstance(value, date):
        return f"toDate32('{value}')" if house else f"DATE '{value}'"
    if isinstance(value, bytes):
        return {"DuckDB": f"from_hex('{value.hex()}')", "ClickHouse": f"unhex('{value.hex()}')"}.get(engine, f"X'{value.hex()}'")
    return "'" + value.replace("'", "''") + "'"


def moment(engine: str, value: datetime) -> str:
    """An instant or a wall clock."""
    text = value.replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
    if engine == "ClickHouse":
        return f"toDateTime64('{text}', 6, 'UTC')"
    if value.tzinfo is None:
        return f"TIMESTAMP_NTZ '{text}'" if engine == "Spark" else f"TIMESTAMP '{text}'"
    return {"DuckDB": f"TIMESTAMPTZ '{text}+00'", "DataFusion": f"arrow_cast('{text}Z', 'Timestamp(Microsecond, Some(\"UTC\"))')"}.get(engine, f"TIMESTAMP '{text}'")
