"""Owns Avro's binary encoding of neutral values, for schemas with names that the other implementations refuse."""

from __future__ import annotations

import base64
import struct
from typing import Any

from differential.generate import zigzag
from differential.model import Type


def datum(type: Type, value: Any) -> bytes:
    """The bytes of a neutral value (see AvroOracle.java)."""
    match type.kind:
        case "null":
            return b""
        case "boolean":
            return bytes([value])
        case "int" | "long":
            return zigzag(value)
        case "float":
            return struct.pack("<I", value)
        case "double":
            return struct.pack("<Q", value)
        case "string":
            return sized(value.encode())
        case "bytes":
            return sized(base64.b64decode(value))
        case "fixed":
            return base64.b64decode(value)
        case "enum":
            return zigzag(type.symbols.index(value))
        case "union":
            branch, inner = value
            return zigzag(branch) + datum(type.branches[branch], inner)
        case "array":
            return block([datum(type.items, item) for item in value])
        case "map":
            return block([sized(key.encode()) + datum(type.items, item) for key, item in value])
    return b"".join(datum(part, item) for (_, part), item in zip(type.fields, value, strict=True))


def sized(data: bytes) -> bytes:
    """Length and bytes."""
    return zigzag(len(data)) + data


def block(items: list[bytes]) -> bytes:
    """One block and its end."""
    return (zigzag(len(items)) if items else b"") + b"".join(items) + b"\0"
