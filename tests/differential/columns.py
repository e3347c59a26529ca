"""Owns what a value must become in a column, by the rules of docs/types.md. Does not own reading columns."""

from __future__ import annotations

import base64
import math
import struct
import uuid
from collections.abc import Iterable
from decimal import Context, Decimal
from typing import Any

from differential.model import Type

# Values as compared: None, bool, int, str, bytes; floats as their repr; times in nanoseconds, dates in days; decimals as
# their unscaled integer; lists for arrays and for the members of a struct; maps as lists of pairs.
NANOS = {"nanos": 1, "micros": 1_000, "millis": 1_000_000}
WIDE = Context(prec=200)


class Near(float):
    """A float that an engine has made of a decimal: equal to a spelled one up to a few of the last bits."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and math.isclose(self, float(other), rel_tol=1e-13)

    __hash__ = None


def expected(type: Type, value: Any, doubles: bool = False) -> Any:
    """The compared form of a neutral value; with `doubles`, decimals of more than 38 digits are floats."""
    if type.logical:
        return meaning(type, value, doubles)
    kind = type.kind
    if kind == "float":
        return spelled(struct.unpack("<f", struct.pack("<I", value))[0])
    if kind == "double":
        return spelled(struct.unpack("<d", struct.pack("<Q", value))[0])
    if kind in ("bytes", "fixed"):
        return base64.b64decode(value)
    if kind == "array":
        return [expected(type.items, item, doubles) for item in value]
    if kind == "map":
        return [(key, expected(type.items, item, doubles)) for key, item in value]
    if kind == "record":
        return [expected(part, item, doubles) for (_, part), item in zip(type.fields, value, strict=True)] or [None]
    if kind == "union":
        return union(type, value, doubles)
    return value


def union(type: Type, value: Any, doubles: bool) -> Any:
    """One member of a struct, or the value itself where there is but one branch beside null."""
    branch, inner = value
    chosen = type.branches[branch]
    if chosen.kind == "null":
        return None
    members = [part for part in type.branches if part.kind != "null"]
    made = expected(chosen, inner, doubles)
    return made if len(members) == 1 else [made if part is chosen else None for part in members]


def meaning(type: Type, value: Any, doubles: bool) -> Any:
    """The compared form of a value of a logical type."""
    logical = type.logical or ""
    if logical == "decimal":
        unscaled = int.from_bytes(base64.b64decode(value), "big", signed=True)
        if type.precision > 76:
            return text(unscaled, type.scale)
        if type.precision > 38 and doubles:
            return Near(float(Decimal(unscaled).scaleb(-type.scale, WIDE)))
        return unscaled
    if logical == "big-decimal":
        return text(*big_decimal(base64.b64decode(value)))
    if logical == "uuid":
        return value if type.kind == "string" else str(uuid.UUID(bytes=base64.b64decode(value)))
    if logical == "duration":
        return list(struct.unpack("<III", base64.b64decode(value)))
    return value if logical == "date" else value * NANOS[logical.rpartition("-")[2]]


def text(unscaled: int, scale: int) -> str:
    """A decimal as Java's `BigDecimal.toString` writes it, which is what Python's does too."""
    digits = tuple(int(digit) for digit in str(abs(unscaled)))
    return str(Decimal((int(unscaled < 0), digits, -scale)))


def big_decimal(data: bytes) -> tuple[int, int]:
    """Unscaled value and scale."""
    length, at = varint(data, 0)
    return int.from_bytes(data[at : at + length], "big", signed=True), varint(data, at + length)[0]


def varint(data: bytes, at: int) -> tuple[int, int]:
    """A zig-zag varint and where it ends."""
    value = shift = 0
    while True:
        value |= (data[at] & 0x7F) << shift
        at += 1
        if data[at - 1] < 0x80:
            return (value >> 1) ^ -(value & 1), at
        shift += 7


def spelled(value: float) -> str:
    """A float, told from every other; every NaN is one."""
    return repr(value)


def names(words: Iterable[str], reserved: Iterable[str] = ()) -> list[str]:
    """The names of columns beside each other: the first where case does not count keeps its own."""
    words = list(words)
    taken = {name.lower() for name in reserved}
    first = []
    for word in words:
        first.append(word.lower() not in taken)
        taken.add(word.lower())
    made = []
    for word, keeps in zip(words, first, strict=True):
        number = 2
        while not keeps and f"{word}_{number}".lower() in taken:
            number += 1
        made.append(word if keeps else f"{word}_{number}")
        taken.add(made[-1].lower())
    return made


RESERVED = ("_topic", "_partition", "_offset", "_timestamp", "_key", "_headers")


def named(type: Type, top: bool = True) -> Any:
    """The names of a type's columns, as nested lists: of a struct [(name, inside)], of a list or map what is inside."""
    if top and type.kind != "record":
        return [("value", named(type, False))]
    if type.logical:
        return [("months", None), ("days", None), ("milliseconds", None)] if type.logical == "duration" else None
    if type.kind == "record":
        words = names((name for name, _ in type.fields), RESERVED if top else ())
        return [(word, named(part, False)) for word, (_, part) in zip(words, type.fields, strict=True)] or [("_empty", None)]
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        if len(parts) == 1:
            return named(parts[0], False)
        return [(word, named(part, False)) for word, part in zip(names(part.word for part in parts), parts, strict=True)] or None
    return named(type.items, False) if type.items else None
