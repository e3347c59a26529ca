"""Owns generated schemas and generated values in the neutral form of AvroOracle.java, each from a seeded generator."""

from __future__ import annotations

import base64
import struct
from random import Random
from typing import Any

from differential.model import LOGICAL_OF_PRIMITIVE, PRIMITIVES, Type

# Beside each other: letters of both cases, other scripts, words of SQL and of metadata, our own suffix.
FIELD_NAMES = (
    *("id", "Id", "ID", "id_2", "é", "É", "größe", "Größe", "имя", "名前", "ß", "ẞ", "ı", "İ", "K", "\u212a"),
    *("_offset", "_Topic", "select", "value", "key", "element", "list", "_empty", "key_value", "order", "a1", "_"),
)
SYMBOLS = ("A", "B", "_C", "longer_symbol", "a")
LETTERS = "aZ09 é漢🦀\0\n'\",/=%\\\u200f\ufeff"
LONG_WORDS = LOGICAL_OF_PRIMITIVE["long"]


class SchemaMaker:
    """Makes one schema."""

    def __init__(self, random: Random, longest: int = 5):
        self.random = random
        self.longest = longest
        self.count = 0
        self.defined: list[str] = []

    def schema(self) -> Any:
        """A record of a few fields, now and then something else."""
        if self.random.random() < 0.03:
            return self.any(3)
        return self.record(self.random.randint(1, 5))

    def record(self, depth: int) -> Any:
        """A record whose types nest at most `depth` deep."""
        made = self.named("record")
        count = self.random.choice((0, 1, 2, 3, 4, self.longest))
        names = self.random.sample(FIELD_NAMES, min(count, len(FIELD_NAMES)))
        names += [f"f{number}" for number in range(count - len(names))]
        made["fields"] = [{"name": name, "type": self.any(depth - 1)} for name in names]
        self.defined.append(full(made))
        return made

    def any(self, depth: int, union: bool = True) -> Any:
        """Any type; no union directly in a union."""
        random = self.random
        pick = random.random()
        if depth <= 0 or pick < 0.25:
            return random.choice(PRIMITIVES)
        if pick < 0.45:
            return self.logical()
        if pick < 0.52:
            return self.leaf_of_a_name()
        if pick < 0.57 and self.defined:
            return random.choice(self.defined)
        if pick < 0.67:
            return {"type": "array", "items": self.any(depth - 1)}
        if pick < 0.76:
            return {"type": "map", "values": self.any(depth - 1)}
        if pick < 0.85 or not union:
            return self.record(depth)
        return self.union(depth)

    def union(self, depth: int) -> Any:
        """Of one branch, of null and another, or of many."""
        random = self.random
        branches: dict[str, Any] = {}
        wanted = random.choice((1, 2, 2, 2, 2, 3, 4, 6))
        null_at = random.choice((0, 0, 1, 2)) if wanted > 1 and random.random() < 0.8 else None
        for _ in range(20):
            if len(branches) == null_at:
                branches["null"] = "null"
            if len(branches) >= wanted:
                break
            known = list(self.defined)
            branch = self.any(depth - 1, union=False)
            if key(branch) in branches:
                # What is not in the schema cannot be mentioned later.
                self.defined = known
            branches.setdefault(key(branch), branch)
        return list(branches.values())

    def leaf_of_a_name(self) -> Any:
        """An enum or a fixed."""
        if self.random.random() < 0.5:
            made = self.named("enum")
            made["symbols"] = self.random.sample(SYMBOLS, self.random.randint(1, len(SYMBOLS)))
        else:
            made = self.named("fixed")
            made["size"] = self.random.choice((0, 1, 2, 7, 16, 33))
        self.defined.append(full(made))
        return made

    def logical(self) -> Any:
        """A logical type that fits, and sometimes one that does not."""
        random = self.random
        precision = random.choice((1, 4, 9, 10, 18, 19, 28, 38, 39, 57, 76, 77, 120))
        digits = {"precision": precision, "scale": random.choice((0, precision // 2, precision))}
        match random.randrange(10):
            case 0 | 1:
                return {"type": "bytes", "logicalType": "decimal", **digits}
            case 2:
                size = next(size for size in range(1, 60) if (8 * size - 1) * 0.30102 > precision)
                return {**self.fixed(size + random.randrange(3)), "logicalType": "decimal", **digits}
            case 3:
                return {"type": "bytes", "logicalType": "big-decimal"}
            case 4:
                return random.choice(({"type": "string", "logicalType": "uuid"}, {**self.fixed(16), "logicalType": "uuid"}))
            case 5:
                return {**self.fixed(12), "logicalType": "duration"}
            case 6:
                return {"type": "int", "logicalType": random.choice(("date", "time-millis"))}
            case 7 | 8:
                return {"type": "long", "logicalType": random.choice(LONG_WORDS)}
            case _:
                return self.invalid()

    def invalid(self) -> Any:
        """A logical type that must be ignored."""
        return self.random.choice(
            (
                {"type": "bytes", "logicalType": "decimal", "precision": 3, "scale": 4},
                {"type": "bytes", "logicalType": "decimal"},
                {"type": "bytes", "logicalType": "decimal", "precision": "9"},
                {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": None},
                {**self.fixed(2), "logicalType": "decimal", "precision": 9},
                {**self.fixed(8), "logicalType": "duration"},
                {"type": "string", "logicalType": "date"},
                {"type": "int", "logicalType": "timestamp-millis"},
                {"type": "long", "logicalType": "date"},
                {"type": "int", "logicalType": "unheard-of", "more": [1, {}]},
            )
        )

    def fixed(self, size: int) -> dict[str, Any]:
        """A fixed of a name of its own."""
        return {**self.named("fixed"), "size": size}

    def named(self, kind: str) -> dict[str, Any]:
        """The head of a named type, with a namespace of its own half the time."""
        self.count += 1
        name = f"{self.random.choice(('N', 'Ñ', '型', 'n_'))}{self.count}"
        pick = self.random.random()
        if pick < 0.3:
            return {"type": kind, "name": f"my.spaces.{name}"}
        if pick < 0.5:
            return {"type": kind, "name": name, "namespace": "other_space"}
        return {"type": kind, "name": name, "namespace": ""}


def full(schema: Any) -> str:
    """The full name of a definition made here."""
    return f"{schema['namespace']}.{schema['name']}" if schema.get("namespace") else schema["name"]


def key(schema: Any) -> str:
    """What may be but once in a union."""
    if isinstance(schema, str):
        return schema
    return full(schema) if "name" in schema else schema["type"]


class ValueMaker:
    """Makes values of a type. `tame` keeps to what every engine can show: moments within some 290,000 years."""

    def __init__(self, random: Random, tame: bool = True, items: int = 3):
        self.random = random
        self.tame = tame
        self.items = items

    def value(self, type: Type, depth: int = 0) -> Any:
        """A neutral value; lists are shorter and unions rather null the deeper it gets."""
        if type.logical:
            return self.meaningful(type)
        random, kind = self.random, type.kind
        if kind == "null":
            return None
        if kind == "boolean":
            return random.random() < 0.5
        if kind in ("int", "long"):
            return self.integer(31 if kind == "int" else 63)
        if kind == "float":
            return random.choice((0x7FC00000, 0xFF800000, 0x80000000, 0x3FC00000, random.getrandbits(32) & ~0x00400000 & 0xBFFFFFFF))
        if kind == "double":
            return random.choice((0x7FF8 << 48, 0x7FF0 << 48, 1 << 63, 1, random.getrandbits(64) & ~(1 << 62)))
        if kind == "string":
            return self.text()
        if kind in ("bytes", "fixed"):
            return encoded(random.randbytes(type.size if kind == "fixed" else random.choice((0, 1, 3, 20))))
        if kind == "enum":
            return random.choice(type.symbols)
        if kind == "array":
            return [self.value(type.items, depth + 1) for _ in range(self.length(depth))]
        if kind == "map":
            keys = dict.fromkeys(self.text() for _ in range(self.length(depth)))
            return [[text, self.value(type.items, depth + 1)] for text in keys]
        if kind == "union":
            return self.branch(type, depth)
        return [self.value(part, depth + 1) for _, part in type.fields]

    def branch(self, type: Type, depth: int) -> Any:
        """Any branch; null where values nest deep, so that recursive types come to an end."""
        branch = self.random.randrange(len(type.branches))
        if depth > 12:
            nulls = [place for place, part in enumerate(type.branches) if part.kind == "null"]
            branch = nulls[0] if nulls else branch
        return [branch, self.value(type.branches[branch], depth + 1)]

    def length(self, depth: int) -> int:
        return 0 if depth > 12 else self.random.choice((0, 1, 2, self.items))

    def text(self) -> str:
        return "".join(self.random.choice(LETTERS) for _ in range(self.random.choice((0, 1, 2, 9))))

    def integer(self, bits: int) -> int:
        """Of any width, often at an edge."""
        random = self.random
        wide = random.getrandbits(random.randint(1, bits))
        return random.choice((0, -1, 1, (1 << bits) - 1, -(1 << bits), wide, -wide, wide))

    def meaningful(self, type: Type) -> Any:
        """A value of a logical type."""
        random, logical = self.random, type.logical or ""
        if logical == "decimal":
            most = 10**type.precision - 1
            digits = random.randint(0, 10 ** random.randint(0, type.precision) - 1)
            unscaled = random.choice((0, most, -most, digits, -digits, digits))
            least = type.size or (unscaled + (unscaled < 0)).bit_length() // 8 + 1
            # Sign bytes that change nothing are legal.
            return encoded(unscaled.to_bytes(least if type.size else least + random.choice((0, 0, 0, 3)), "big", signed=True))
        if logical == "big-decimal":
            unscaled, scale = self.integer(200), random.choice((0, 2, 40, -3))
            digits = unscaled.to_bytes((unscaled + (unscaled < 0)).bit_length() // 8 + 1, "big", signed=True)
            return encoded(zigzag(len(digits)) + digits + zigzag(scale))
        if logical == "uuid":
            raw = random.randbytes(16)
            return encoded(raw) if type.kind == "fixed" else "-".join(raw.hex()[a:b] for a, b in ((0, 8), (8, 12), (12, 16), (16, 20), (20, 32)))
        if logical == "duration":
            return encoded(struct.pack("<III", *(random.choice((0, 1, 0xFFFFFFFF, random.getrandbits(32))) for _ in range(3))))
        if logical == "date":
            return random.randint(-700_000, 2_900_000) if self.tame else self.integer(31)
        if logical.startswith("time-"):
            day = 86_400_000 if logical == "time-millis" else 86_400_000_000
            return random.choice((0, day - 1, random.randrange(day)))
        widest = {"nanos": 9_000_000_000_000_000_000, "micros": 9_000_000_000_000_000_000, "millis": 9_000_000_000_000_000}
        bound = widest[logical.rpartition("-")[2]]
        return random.choice((0, -1, random.randint(-bound, bound), random.randint(0, 1 << 41))) if self.tame else self.integer(63)


def encoded(data: bytes) -> str:
    """Bytes in the neutral form."""
    return base64.b64encode(data).decode()


def zigzag(value: int) -> bytes:
    """A zig-zag varint."""
    rest = (value << 1) ^ (value >> 63)
    out = bytearray()
    while rest >= 0x80:
        out.append(rest & 0x7F | 0x80)
        rest >>= 7
    out.append(rest)
    return bytes(out)
