"""Owns schemas that are odd in one way each, by hand: what parsers disagree about, and what a column can hardly hold."""

from __future__ import annotations

import json
from typing import Any


def record(*fields: Any, name: str = "R", **more: Any) -> dict[str, Any]:
    """A record of fields f0, f1, … of these types; a dict with a name is a field as it is."""
    made = [field if isinstance(field, dict) and "name" in field and field.get("type") not in NAMED else {"name": f"f{place}", "type": field} for place, field in enumerate(fields)]
    return {"type": "record", "name": name, "fields": made, **more}


NAMED = ("record", "error", "enum", "fixed")
EMPTY = {"type": "record", "name": "Empty", "fields": []}


def field(type: Any, **more: Any) -> dict[str, Any]:
    """A field `x`."""
    return {"name": "x", "type": type, **more}


def enum(*symbols: str, **more: Any) -> dict[str, Any]:
    """An enum E."""
    return {"type": "enum", "name": "E", "symbols": list(symbols), **more}


def fixed(size: Any, **more: Any) -> dict[str, Any]:
    """A fixed F."""
    return {"type": "fixed", "name": "F", "size": size, **more}


def array(items: Any, **more: Any) -> dict[str, Any]:
    """An array."""
    return {"type": "array", "items": items, **more}


def map_(values: Any, **more: Any) -> dict[str, Any]:
    """A map."""
    return {"type": "map", "values": values, **more}


def decimal(precision: Any = None, scale: Any = None, base: Any = "bytes", **more: Any) -> dict[str, Any]:
    """A decimal on bytes, or on a fixed."""
    head = {"type": base} if isinstance(base, str) else dict(base)
    digits = {key: value for key, value in (("precision", precision), ("scale", scale)) if value is not None}
    return {**head, "logicalType": "decimal", **digits, **more}


def chain(levels: int, wrap: Any) -> Any:
    """Records inside each other, each wrapped."""
    made: Any = "int"
    for level in range(levels):
        made = wrap(record(made, name=f"L{level}"))
    return made


TEXTS = "aé漢🦀\"\\\n/*//\u202e\u0000\ufeff"
WORDS = ("null", "boolean", "int", "long", "float", "double", "bytes", "string")
LOGICAL = (
    *("decimal", "big-decimal", "uuid", "date", "time-millis", "time-micros", "timestamp-millis", "timestamp-micros", "timestamp-nanos"),
    *("local-timestamp-millis", "local-timestamp-micros", "local-timestamp-nanos", "duration", "unheard-of", "", "DATE"),
)

ODDITIES: dict[str, Any] = {
    # Schemas that are no records.
    **{f"only {word}": word for word in WORDS},
    **{f"only {word}, in an object": {"type": word} for word in WORDS},
    "type in a type in a type": {"type": {"type": {"type": "string"}}},
    "union in a type": {"type": ["null", "string"]},
    "union at the top": ["null", "int", "string"],
    "union at the top of one": ["int"],
    "union at the top of records": [record("int", name="A"), record("A", name="B")],
    "array at the top": array(["null", "int"]),
    "map at the top": map_(array("long")),
    "enum at the top": enum("A", "B"),
    "fixed at the top": fixed(3),
    "an optional record at the top": ["null", record("int")],
    # Wide and deep.
    "a thousand fields": record(*(["int", ["null", "string"], "boolean"][at % 3] for at in range(1_000))),
    "26 records deep": chain(26, lambda below: below),
    "26 optional records deep": chain(26, lambda below: ["null", below]),
    "12 maps of arrays deep": chain(12, lambda below: ["null", map_(below)]),
    "26 arrays deep": json.loads('{"type":"array","items":' * 26 + '"int"' + "}" * 26),
    # Names.
    "fields that differ by case": record(*({"name": name, "type": "int"} for name in ("Id", "ID", "id", "iD", "id_2", "ID_3"))),
    "a field twice": record(field("int"), field("int")),
    "reserved fields": record(*({"name": name, "type": "int"} for name in ("_topic", "_offset", "_key", "_headers", "_TOPIC", "_empty"))),
    "types that differ by case": record({"type": "fixed", "name": "T", "size": 1}, {"type": "fixed", "name": "t", "size": 2}, ["T", "t"]),
    "types of one name in two namespaces": record([{"type": "fixed", "name": "a.T", "size": 1}, {"type": "fixed", "name": "b.T", "size": 1}, "null"]),
    "a type twice": record(fixed(1), fixed(1)),
    "a type called as a primitive in a namespace": record({"type": "fixed", "name": "a.int", "size": 2}, "int", "a.int"),
    "a namespace of nothing": record(fixed(1, namespace=""), "F", namespace="a.b"),
    "a namespace that is null": record(fixed(1, namespace=None), namespace="a"),
    "a mention in an inner namespace": record(fixed(1, name="a.F"), {"type": "record", "name": "a.I", "fields": [field("F")]}),
    "a name of dots": record("int", name=".R"),
    "a name that ends in a dot": record("int", name="R."),
    "a name with an empty part": record("int", name="a..R"),
    "a dash in a namespace": record("int", namespace="a-b"),
    "letters of other scripts": record({"name": "größe", "type": "int"}, name="Тип", namespace="名.前"),
    "a name of a digit": record({"name": "1st", "type": "int"}),
    # Attributes without meaning.
    "text everywhere": record(field("string", doc=TEXTS, default=TEXTS, aliases=["Ä"]), doc=TEXTS, aliases=["名", "a.b"], größe=TEXTS),
    "doc of a number": record(field("int", doc=1), doc=1),
    "doc of an object": record(field("int", doc={}), doc=[1, {}]),
    "doc of null": record(field("int", doc=None), doc=None),
    **{f"order {order!r}": record(field("int", order=order)) for order in ("ascending", "descending", "ignore", "IGNORE", "other", "", None, 1)},
    "attributes of every kind": record(field("int", a=1e300, b=[None, {}], c={"type": "record"}), type2="x", **{"": 1, "avro.java.string": "String", "connect.version": 2**80}),
    "attributes on primitives": record({"type": "int", "name": "x", "size": "much", "symbols": 3, "fields": {}}),
    "attributes on arrays": record(array("int", name="A", namespace="b", size=-1, default=[])),
    "attributes on unions' branches": record(["null", {"type": "string", "avro.java.string": "String", "maxLength": 5}]),
    # Enums.
    "enum of none": record(enum()),
    "enum of 10,000": record(enum(*(f"S{at}" for at in range(10_000)))),
    "enum of a symbol twice": record(enum("A", "A")),
    "enum of cases": record(enum("A", "a", "Ä", "ä")),
    "enum of an empty symbol": record(enum("A", "")),
    "enum of odd symbols": record(enum("a b", "1", "null", "名")),
    "enum default": record(enum("A", "B", default="B")),
    "enum default unknown": record(enum("A", default="Z")),
    "enum default of null": record(enum("A", default=None)),
    "enum default of a number": record(enum("A", default=1)),
    "enum symbols of numbers": record({"type": "enum", "name": "E", "symbols": [1, 2]}),
    "enum without symbols": record({"type": "enum", "name": "E"}),
    # Unions.
    "union of null": record(["null"]),
    "union of null twice": record(["null", "null"]),
    "union of none": record([]),
    "union of one": record(["int"]),
    "union of int twice": record(["int", "int"]),
    "union, null last": record(["int", "null"]),
    "union, null in the middle": record(["int", "null", "string"]),
    "union of all primitives": record(list(WORDS)),
    "union of two records of one shape": record([record("int", name="A"), record("int", name="B")]),
    "union of two arrays": record([array("int"), array("string")]),
    "union of two maps": record([map_("int"), map_("string")]),
    "union of array and map": record(["null", array("int"), map_("int")]),
    "union in a union": record(["null", ["int"]]),
    "union in an object in a union": record(["null", {"type": ["int"]}]),
    "union in map in array in union": record(["null", array(map_(["null", "int", array(["string", "null"])]))]),
    "union of fixed of two sizes": record([fixed(1), {"type": "fixed", "name": "G", "size": 2}]),
    "union of int and date": record(["int", {"type": "int", "logicalType": "date"}]),
    "union of bytes and decimal": record(["bytes", decimal(9, 2)]),
    "union of enum and string": record([enum("A"), "string", "null"]),
    "union of names like words": record([{"type": "record", "name": "my.array", "fields": []}, array("int"), "null"]),
    # Fixed.
    **{f"fixed of {size!r}": record(fixed(size)) for size in (0, 1, 4_096, 4_097, -1, 16.0, 1.5, "16", None, 2**31 - 1, 2**31, 2**63, 10**30)},
    "fixed without size": record({"type": "fixed", "name": "F"}),
    # Decimals.
    **{
        f"decimal {precision!r}, {scale!r}": record(decimal(precision, scale))
        for precision, scale in ((0, 0), (1, None), (-1, 0), (9, 9), (9, 10), (9, -1), (38, 38), (39, 39), (76, 76), (76, 0), (77, 0), (77, 77), (1_000, 500), (9.0, 2.0), (9.5, 0), ("9", 0), (9, "2"), (2**31, 0), (2**40, 2**39), (None, 2), (None, None), (True, 0))
    },
    **{f"decimal {precision} in fixed of {size}": record(decimal(precision, 0, fixed(size))) for precision, size in ((2, 1), (3, 1), (38, 16), (39, 16), (76, 32), (77, 32), (1, 0), (1, 1), (154, 64), (155, 64))},
    "decimal in fixed of much": record(decimal(5, 2, fixed(100))),
    "decimals of several scales": record(decimal(5, 2), decimal(38, 9), decimal(76, 76), decimal(77, 3)),
    "decimal of an attribute of its own": record({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2, "x": {}}),
    # Logical types on every type.
    **{f"{logical!r} on {word}": record({"type": word, "logicalType": logical}) for logical in LOGICAL for word in WORDS},
    **{f"{logical!r} on fixed of {size}": record(fixed(size, logicalType=logical)) for logical in ("uuid", "duration", "decimal", "date") for size in (12, 16, 3)},
    **{f"{logical!r} on {kind}": record({**made, "logicalType": logical}) for logical in ("date", "uuid", "decimal") for kind, made in (("array", array("int")), ("map", map_("int")), ("enum", enum("A")), ("record", record("int", name="I")))},
    "a logical type of a number": record({"type": "int", "logicalType": 1}),
    "a logical type of null": record({"type": "int", "logicalType": None}),
    "a logical type of an object": record({"type": "int", "logicalType": {}}),
    "a logical type on a type in a type": record({"type": {"type": "int"}, "logicalType": "date"}),
    "a logical type in a type in a type": record({"type": {"type": "int", "logicalType": "date"}}),
    "a logical type on a field": record(field("int", logicalType="date")),
    # Aliases.
    "alias of another field": record({"name": "a", "type": "int", "aliases": ["b"]}, {"name": "b", "type": "int"}),
    "alias of itself": record({"name": "a", "type": "int", "aliases": ["a", "a"]}),
    "aliases of no list": record({"name": "a", "type": "int", "aliases": "b"}),
    "aliases of numbers": record({"name": "a", "type": "int", "aliases": [1]}),
    "aliases of null": record({"name": "a", "type": "int", "aliases": None}),
    "aliases of types that clash": record(fixed(1, aliases=["G", "x.y.Z"]), {"type": "fixed", "name": "G", "size": 2}),
    "aliases with odd letters": record(field("int", aliases=["a b", "", "1"]), aliases=["", "a..b"]),
    # What contains itself.
    "recursive": record({"name": "next", "type": "R"}),
    "recursive, optional": record("int", {"name": "next", "type": ["null", "R"]}),
    "recursive in an array": record("int", array("R")),
    "recursive in a map": record("int", map_("R")),
    "recursive in a union": record("int", ["string", "R", array("R")]),
    "recursive by two": record({"type": "record", "name": "B", "fields": [field(["null", "R"])]}),
    "recursive array at the top": array(record(array("R"))),
    # Nothing at all.
    "empty record": EMPTY,
    "empty record inside": record(EMPTY),
    "empty record, optional": record(["null", EMPTY]),
    "empty records in an array": record(array(EMPTY)),
    "empty records in a map": record(map_(EMPTY)),
    "maps of maps of empty records": record(map_(map_(EMPTY))),
    "union of empty records": record([EMPTY, {"type": "record", "name": "Void", "fields": []}]),
    "record of an empty record of an empty record": record(record(EMPTY, name="I")),
    "nulls in lists and maps": record(array("null"), map_("null"), array(["null"]), map_(array("null"))),
    "fixed of none in lists": record(array(fixed(0)), map_("F"), ["null", "F"]),
    "an error type": {"type": "error", "name": "R", "fields": [field("int")]},
    # What is no schema.
    **{f"{json.dumps(made)} for a schema": made for made in (None, 1, True, {}, {"type": None}, {"type": 1}, {"type": "record"}, {"type": "record", "name": "R"}, {"type": "array"}, {"type": "map"}, {"name": "R"}, "R", "", "Int", [["int"]], {"type": "union"}, {"type": []}, {"type": "record", "name": "R", "fields": {}}, {"type": "record", "name": "R", "fields": [1]}, {"type": "record", "name": "R", "fields": [{"name": "a"}]}, {"type": "record", "name": "R", "fields": [{"type": "int"}]}, {"type": "record", "name": 1, "fields": []}, {"type": "record", "name": "int", "fields": []})},
}
# What json.dumps cannot say.
TEXT_ODDITIES = {
    "comments": '/* a */ {"type": "record", // b\n "name": "R", "fields": []}',
    "a key twice": '{"type":"record","type":"record","name":"A","name":"R","fields":[{"name":"a","type":"int","type":"long"}]}',
    "a mark of byte order": '\ufeff"int"',
    "space around": ' \n\t"int" \r\n ',
    "more behind": '"int" "long"',
    "more brackets behind": '{"type":"int"}}',
    "a word without quotes": "int",
    "words without quotes in a union": "[null, int]",
    "text cut off": '{"type":"rec',
    "nothing": "",
    "half a pair": '{"type":"record","name":"R","doc":"\\ud83e","fields":[]}',
    "size with an exponent": '{"type":"fixed","name":"F","size":1e1}',
    "size with a zero in front": '{"type":"fixed","name":"F","size":016}',
    "numbers beyond all": '{"type":"record","name":"R","x":1e999,"y":123456789012345678901234567890,"fields":[]}',
    "not a number": '{"type":"record","name":"R","x":NaN,"fields":[]}',
    "a letter of control in text": '{"type":"record","name":"R","doc":"a\tb\nc","fields":[]}',
    "quotes of one stroke": "{'type':'int'}",
    "a comma too many": '{"type":"record","name":"R","fields":[],}',
}

# Types and defaults, all of which a reader may give a field that the writer lacks.
DEFAULTS: list[tuple[Any, Any]] = [
    ("null", None),
    ("boolean", True),
    ("int", 7), ("int", -(2**31)), ("int", 2**31), ("int", 7.0), ("int", 7.5), ("int", "7"), ("int", 1e3),
    ("long", 2**63 - 1), ("long", -(2**63)), ("long", 2**63), ("long", 5.0), ("long", 1e18), ("long", "5"),
    ("float", 1), ("float", 1.1), ("float", 1e39), ("float", "NaN"), ("float", "Infinity"), ("float", "-Infinity"), ("float", 2**24 + 1), ("float", -0.0),
    ("double", 1), ("double", 2**63), ("double", 0.1), ("double", 10**400), ("double", "NaN"), ("double", "-Infinity"), ("double", "x"), ("double", -0.0), ("double", True),
    ("bytes", ""), ("bytes", "\u00ff\u0000a"), ("bytes", "\u0100"), ("bytes", "€"), ("bytes", 1),
    ("string", ""), ("string", TEXTS), ("string", 1), ("string", None),
    (fixed(2), "\u00ff\u00fe"), (fixed(2), "a"), (fixed(2), "abc"), (fixed(0), ""), (fixed(2), "\u0100a"),
    (enum("A", "B"), "B"), (enum("A", "B"), "Z"), (enum("A", default="A"), "Z"), (enum("A"), 1),
    (array("int"), []), (array("int"), [1, 2]), (array("int"), ["a"]), (array(["null", "int"]), [None]), (array(["null", "int"]), [1]), (array("int"), {}),
    (map_("int"), {}), (map_("int"), {"é": 1}), (map_("int"), {"": 2}), (map_("string"), {"a": 1}), (map_("int"), []),
    (["null", "int"], None), (["null", "int"], 1), (["int", "null"], 1), (["int", "null"], None), (["int", "string"], "second"), (["string", "int"], 3), (["null"], None), (["long", "int"], 5),
    (["bytes", "null"], "\u00ff"), (["double", "null"], "NaN"), ([enum("A", "B"), "null"], "B"), (["null", EMPTY], {}), ([EMPTY, "null"], {}),
    (EMPTY, {}), (EMPTY, None), (EMPTY, {"more": 1}),
    (record("int", {"name": "g", "type": "string", "default": "d"}, name="I"), {"f0": 1}), (record("int", {"name": "g", "type": "string", "default": "d"}, name="I"), {"f0": 1, "g": "e"}), (record("int", name="I"), {}), (record({"name": "g", "type": "int", "default": 4}, name="I"), {}),
    (decimal(9, 2), "\u0001\u00ff"), (decimal(2, 0), "\u0001\u00ff"), (decimal(9, 2), ""), (decimal(9, 2), 1.5), (decimal(77, 3), "\u0005"), (decimal(9, 2, fixed(2)), "\u0000\u0005"),
    ({"type": "string", "logicalType": "uuid"}, "0f0f0f0f-0000-1111-2222-333344445555"), ({"type": "string", "logicalType": "uuid"}, "no uuid"),
    ({"type": "int", "logicalType": "date"}, 5), ({"type": "int", "logicalType": "date"}, "2024-01-01"), ({"type": "int", "logicalType": "time-millis"}, 86_400_000), ({"type": "long", "logicalType": "timestamp-millis"}, -1),
    (fixed(12, logicalType="duration"), "\u0001" + "\u0000" * 11), (fixed(16, logicalType="uuid"), "\u00ff" * 16),
    ({"type": "array", "items": "bytes"}, ["\u00ff", ""]), ({"type": "map", "values": array(["null", "double"])}, {"k": []}),
]
