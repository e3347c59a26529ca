"""Owns the tests' own model of an Avro schema: what a JSON text declares, by the specification alone.

Does not own generated schemas, values, or what becomes of them. Knows nothing of the implementation under test.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

PRIMITIVES = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL_OF_PRIMITIVE = {
    "int": ("date", "time-millis"),
    "long": (
        "time-micros",
        "timestamp-millis",
        "timestamp-micros",
        "timestamp-nanos",
        "local-timestamp-millis",
        "local-timestamp-micros",
        "local-timestamp-nanos",
    ),
    "string": ("uuid",),
    "bytes": ("decimal", "big-decimal"),
}


@dataclass(eq=False)
class Type:
    """One type. `items` is that of an array's items or a map's values."""

    kind: str
    name: str = ""
    logical: str | None = None
    precision: int = 0
    scale: int = 0
    items: Type | None = None
    branches: list[Type] = field(default_factory=list)
    fields: list[tuple[str, Type]] = field(default_factory=list)
    symbols: list[str] = field(default_factory=list)
    size: int = 0

    @property
    def word(self) -> str:
        """The short name of a named type, else the word of the kind."""
        return self.name.rpartition(".")[2] if self.name else self.kind


def parse(schema: Any) -> Type:
    """The model of a schema that was read from JSON."""
    return Parser().type(schema, "")


class Parser:
    """Knows the named types met so far."""

    def __init__(self) -> None:
        self.named: dict[str, Type] = {}

    def type(self, schema: Any, namespace: str) -> Type:
        """The type that `schema` declares or mentions."""
        if isinstance(schema, str):
            return self.mentioned(schema, namespace)
        if isinstance(schema, list):
            return Type("union", branches=[self.type(branch, namespace) for branch in schema])
        kind = schema["type"]
        if not isinstance(kind, str):
            return self.type(kind, namespace)
        if kind in ("record", "error", "enum", "fixed"):
            return self.declared(schema, namespace)
        if kind == "array":
            return Type("array", items=self.type(schema["items"], namespace))
        if kind == "map":
            return Type("map", items=self.type(schema["values"], namespace))
        if kind not in PRIMITIVES:
            return self.mentioned(kind, namespace)
        made = Type(kind)
        if schema.get("logicalType") in LOGICAL_OF_PRIMITIVE.get(kind, ()):
            made.logical = schema["logicalType"]
        if made.logical == "decimal":
            decimal(made, schema, None)
        return made

    def mentioned(self, name: str, namespace: str) -> Type:
        """A built-in type, or a named one that was declared before."""
        if name in PRIMITIVES:
            return Type(name)
        full = name if "." in name or not namespace else f"{namespace}.{name}"
        return self.named[full] if full in self.named else self.named[name]

    def declared(self, schema: Any, namespace: str) -> Type:
        """A named type."""
        name, own = schema["name"], schema.get("namespace")
        if "." not in name:
            space = namespace if own is None else own
            name = f"{space}.{name}" if space else name
        made = self.named[name] = Type("record" if schema["type"] == "error" else schema["type"], name=name)
        if made.kind == "record":
            space = name.rpartition(".")[0]
            made.fields = [(entry["name"], self.type(entry["type"], space)) for entry in schema["fields"]]
        elif made.kind == "enum":
            made.symbols = schema["symbols"]
        else:
            made.size = schema["size"]
            logical = schema.get("logicalType")
            if (logical, made.size) in (("uuid", 16), ("duration", 12)):
                made.logical = logical
            elif logical == "decimal":
                made.logical = logical
                decimal(made, schema, made.size)
        return made


def decimal(made: Type, schema: Any, size: int | None) -> None:
    """Completes a decimal, or makes it the plain type where its attributes are not valid."""
    precision, scale = schema.get("precision"), schema.get("scale", 0)
    valid = type(precision) is int and type(scale) is int and 0 <= scale <= precision and precision > 0
    if valid and size is not None:
        valid = size > 0 and precision <= math.floor(math.log10(2) * (8 * size - 1))
    if valid:
        made.precision, made.scale = precision, scale
    else:
        made.logical = None


def is_recursive(root: Type) -> bool:
    """Whether a type contains itself."""

    def inside(type: Type, within: tuple[Type, ...]) -> bool:
        if type in within:
            return True
        below = [part for _, part in type.fields] + type.branches + ([type.items] if type.items else [])
        outer = (*within, type) if type.kind == "record" else within
        return any(inside(part, outer) for part in below)

    return inside(root, ())
