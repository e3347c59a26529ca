"""Owns the table of docs/types.md that says what engines show, and the Avro types that its rows speak of."""

from __future__ import annotations

import re
from dataclasses import dataclass

from differential.oracles import REPOSITORY

FIXED = {"type": "fixed", "name": "F", "size": 12}
TYPES = {
    "null, empty record's placeholder": ["null"],
    "string, enum, uuid, big-decimal, decimal beyond 76 digits": [
        "string",
        {"type": "enum", "name": "E", "symbols": ["A"]},
        {**FIXED, "size": 16, "logicalType": "uuid"},
        {"type": "bytes", "logicalType": "big-decimal"},
        {"type": "bytes", "logicalType": "decimal", "precision": 77},
    ],
    "bytes, fixed of no bytes": ["bytes", {**FIXED, "size": 0}],
    "fixed": [FIXED],
    "date": [{"type": "int", "logicalType": "date"}],
    "time-millis": [{"type": "int", "logicalType": "time-millis"}],
    "time-micros": [{"type": "long", "logicalType": "time-micros"}],
    "decimal up to 38 digits": [{"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": 2} for digits in (9, 18, 38)],
    "decimal of 39 to 76 digits": [{"type": "bytes", "logicalType": "decimal", "precision": digits, "scale": 9} for digits in (39, 76)],
    "uuid with `uuid: uuid`": [{"type": "string", "logicalType": "uuid"}, {**FIXED, "size": 16, "logicalType": "uuid"}],
    "duration, record, union of several": [
        {**FIXED, "logicalType": "duration"},
        {"type": "record", "name": "S", "fields": [{"name": "x", "type": "int"}, {"name": "y", "type": ["null", "string"]}]},
        ["int", "string"],
        ["null", "int", "string"],
    ],
    "array": [{"type": "array", "items": "int"}, {"type": "array", "items": ["null", "int"]}],
    "map": [{"type": "map", "values": "int"}, {"type": "map", "values": ["null", "int"]}],
}


@dataclass(frozen=True)
class Row:
    """What is said of some Avro types: for each engine its type, or `refused` or `none`."""

    of: str
    shown: dict[str, str]

    @property
    def schemas(self) -> list[object]:
        """The Avro types."""
        stamps = [{"type": "long", "logicalType": word} for word in self.of.split(", ")]
        return TYPES.get(self.of, stamps)

    @property
    def choice(self) -> str | None:
        """The setting that the row speaks of."""
        return "{" + self.of.split("`")[1] + "}" if "`" in self.of else None


def rows() -> list[Row]:
    """The rows of the table."""
    section = (REPOSITORY / "docs/types.md").read_text().split("## What engines show")[1].split("## Rules")[0]
    lines = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| ") and "---" not in line]
    engines = [head.split(":")[0] for head in lines[0][1:]]
    return [Row(first, {engine: said(cell) for engine, cell in zip(engines, cells, strict=True)}) for first, *cells in lines[1:]]


def said(cell: str) -> str:
    """The type in a cell: what stands before a comma or a bracket."""
    return re.split(r"[,(]", cell)[0].strip()


def bare(shown: str) -> str:
    """A type as the table has it, without parameters."""
    shown = re.sub(r"^Nullable\((.*)\)$", r"\1", shown, flags=re.DOTALL)
    return "LIST" if shown.endswith("[]") else re.split(r"[(<\[]", shown)[0]
