"""Owns which columns the engines are shown: a type in every place, with the values at its edges, and what must come of them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from differential import oracles
from differential.columns import expected, text
from differential.encode import datum
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.oracles import Case

ROWS = 60
FIRST, LAST = -25_567, 84_005
"""Days since 1970 of 1900-01-01 and 2199-12-31: what every engine knows, also in nanoseconds."""
UNITS_A_DAY = {"date": 1, "millis": 86_400_000, "micros": 86_400_000_000, "nanos": 86_400_000_000_000}
STAMPS = ("timestamp-nanos", "local-timestamp-nanos")
CHOSEN: list[tuple[Any, Any]] = [
    *(({"type": "long", "logicalType": word}, {"type": "long", "logicalType": word.replace("nanos", "micros")}) for word in STAMPS),
    ({"type": "int", "logicalType": "time-millis"}, "int"),
    ({"type": "long", "logicalType": "time-micros"}, "long"),
    ({"type": "bytes", "logicalType": "decimal", "precision": 76, "scale": 9}, "string"),
]
"""Types with a choice for Spark, and the type that the column then is like."""


def optional(schema: Any) -> Any:
    """A schema beside null."""
    if isinstance(schema, list):
        return schema if "null" in schema else ["null", *schema]
    return ["null", schema] if schema != "null" else schema


def everywhere(schema: Any) -> Any:
    """A record with the type as it is, beside null, and in lists, maps and records, with nulls in each."""
    again = schema["name"] if isinstance(schema, dict) and "name" in schema else schema
    lists = optional({"type": "array", "items": optional(again)})
    inner = {"type": "record", "name": "Inner", "fields": [{"name": "x", "type": again}, {"name": "y", "type": lists}]}
    types = {
        "f": schema,
        "n": optional(again),
        "l": {"type": "array", "items": optional(again)},
        "m": optional({"type": "map", "values": optional(again)}),
        "s": optional(inner),
    }
    return {"type": "record", "name": "R", "fields": [{"name": name, "type": type} for name, type in types.items()]}


class Maker(ValueMaker):
    """Values that every engine's types can hold."""

    def meaningful(self, type: Type) -> Any:
        """A value of a logical type; moments are of 1900 to 2199."""
        logical = type.logical or ""
        if logical == "date" or "timestamp" in logical:
            unit = UNITS_A_DAY[logical.rpartition("-")[2]]
            edges = (0, -1, FIRST * unit, LAST * unit + unit - 1, unit)
            return self.random.choice((*edges, self.random.randint(FIRST * unit, LAST * unit)))
        return super().meaningful(type)


@dataclass
class Written:
    """A file of ours, and what its rows are made of. `type` says how the columns are to be read."""

    file: Path
    type: Type
    wrote: Type
    values: list[Any]

    def wanted(self, engine: str = "", choice: str | None = None) -> list[list[Any]]:
        """The compared rows: of an engine with its own ways, of a file that was written with a choice."""
        rows = [expected(self.wrote, value, doubles=engine == "DuckDB" and not choice) for value in self.values]
        if choice:
            rows = [[chosen(part, item) for (_, part), item in zip(self.wrote.fields, row, strict=True)] for row in rows]
        return told(engine, self.type, rows)


def written(folder: Path, schema: Any, values: list[Any], settings: str | None = None, read_as: Any = None) -> Written:
    """A file of these neutral values; `settings` as the example takes them."""
    type = parse(schema)
    (outcome,) = oracles.ours([Case(json.dumps(schema), [datum(type, value) for value in values])], folder, settings)
    assert outcome.refused is None and not any(outcome.datums), outcome
    return Written(outcome.file, parse(read_as) if read_as else type, type, values)


class Files:
    """Files that are written once for all engines."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.made: dict[str, Written] = {}

    def of_type(self, schema: Any, settings: str | None = None, read_as: Any = None) -> Written:
        """A file of `everywhere` with generated values."""
        if settings and "uuid" in settings:
            read_as = {"type": "fixed", "name": "Raw", "size": 16}
        return self.of(json.dumps([schema, settings]), lambda folder: of_type(folder, schema, settings, read_as))

    def of(self, what: str, write: Callable[[Path], Written]) -> Written:
        """What `write` writes into a folder."""
        if what not in self.made:
            self.made[what] = write(self.folder / str(len(self.made)))
        return self.made[what]


def of_type(folder: Path, schema: Any, settings: str | None, read_as: Any) -> Written:
    """A file of `everywhere`."""
    whole = everywhere(schema)
    type = parse(whole)
    maker = Maker(Random(1), items=3)
    values = [maker.value(type) for _ in range(ROWS)]
    return written(folder, whole, values, settings, everywhere(read_as) if read_as else None)


def told(engine: str, type: Type, rows: list[list[Any]]) -> list[list[Any]]:
    """Compared rows without what an engine does not tell."""
    change = without_null if engine == "ClickHouse" else ordered
    return [[change(part, ordered(part, item)) for (_, part), item in zip(type.fields, row, strict=True)] for row in rows]


def members(type: Type) -> list[Type] | None:
    """The members of a type that is a struct; None of any other."""
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        return parts if len(parts) > 1 else None
    if type.logical == "duration":
        return [Type("long")] * 3
    return [part for _, part in type.fields] if type.kind == "record" and type.fields else None


def only(type: Type) -> Type:
    """What a union with null and one other is of."""
    parts = [part for part in type.branches if part.kind != "null"]
    return parts[0] if type.kind == "union" and len(parts) == 1 else type


def mapped(type: Type, value: Any, change: Any) -> Any:
    """A compared value with `change(type, part)` made to each part of it."""
    type = only(type)
    if value is None or not (type.kind in ("array", "map") or members(type)):
        return value
    if type.kind == "array":
        return [change(type.items, item) for item in value]
    if type.kind == "map":
        return [[key, change(type.items, item)] for key, item in value]
    inner = members(type) or []
    nullable = type.kind == "union"
    return [change(Type("union", branches=[Type("null"), part]) if nullable else part, item) for part, item in zip(inner, value, strict=True)]


def ordered(type: Type, value: Any) -> Any:
    """With the entries of maps in the order of their keys, which engines may change."""
    made = mapped(type, value, ordered)
    return sorted(made, key=lambda entry: entry[0]) if only(type).kind == "map" and made else made


def chosen(type: Type, value: Any) -> Any:
    """As `timestamp_nanos: micros, time: number, wide_decimal: string, uuid: uuid` write it."""
    inner = only(type)
    logical = inner.logical or ""
    if value is None:
        return None
    if logical.endswith("timestamp-nanos"):
        return value // 1_000 * 1_000
    if logical.startswith("time-"):
        return value // (1_000_000 if logical == "time-millis" else 1_000)
    if logical == "decimal" and 38 < inner.precision <= 76:
        return text(value, inner.scale)
    if logical == "uuid":
        return uuid.UUID(value).bytes
    return mapped(type, value, chosen)


def without_null(type: Type, value: Any) -> Any:
    """As far as ClickHouse tells: lists, maps and structs are never null there but empty, or of nulls."""
    made = mapped(type, value, without_null)
    inner = only(type)
    if inner.kind in ("array", "map"):
        return made or None
    empty = inner.kind == "record" and not inner.fields
    return None if (members(inner) or empty) and made is not None and all(item is None for item in made) else made
