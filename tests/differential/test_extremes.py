"""Schemas at the edge of what there is: wide, deep, oddly named, with oddities of enums and unions; and real ones."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from differential import engines, oracles
from differential.columns import expected, named
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.oracles import Case
from differential.real import real_schemas


def record(name: str, *fields: Any) -> Any:
    """A record of fields f0, f1, … of these types; or of (name, type)."""
    named = [field if isinstance(field, tuple) else (f"f{place}", field) for place, field in enumerate(fields)]
    return {"type": "record", "name": name, "fields": [{"name": field, "type": type} for field, type in named]}


def wide() -> Any:
    types = ("int", ["null", "string"], {"type": "long", "logicalType": "timestamp-millis"}, ["null", "double"], "boolean")
    return record("Wide", *(types[place % len(types)] for place in range(1_500)))


def deep(levels: int, wrap: Any) -> Any:
    made = record(f"Level{levels}", "long", ["null", "string"])
    for level in reversed(range(levels)):
        made = record(f"Level{level}", "int", wrap(made))
    return made


def odd_names() -> Any:
    names = ["a.b", "a_b", "a b", "a-b", "1st", "ÄÖÜ", "äöü", "名 前", "'", '"', "`", "a/b", "%", "=", "{}", "(),;", "\u200f", "🦀", "SELECT"]
    inner = record("Inner Type", *((name, "string") for name in names))
    return record("1 Größe", *((name, ["null", "int"]) for name in names), ("inner", inner))


def odd_enums() -> Any:
    many = {"type": "enum", "name": "Many", "symbols": [f"S{place}" for place in range(10_000)]}
    cased = {"type": "enum", "name": "Cased", "symbols": ["A", "a", "Ä", "ä", "_", "null", "true"]}
    return record("Enums", many, cased, {"type": "enum", "name": "One", "symbols": ["X"], "default": "X"}, ["null", "Cased"])


def odd_unions() -> Any:
    same = record("x.Same", "int")
    cased = record("y.same", "string")
    every = ["null", "boolean", "int", "long", "float", "double", "bytes", "string", {"type": "array", "items": ["null", "int"]}]
    every += [{"type": "map", "values": ["string", "null"]}, {"type": "fixed", "name": "Raw", "size": 3}, same, cased]
    like_words = [record("my.int", "int"), record("my.String", "int"), "int", "string"]
    return record("Unions", every, like_words, ["null"], [], ["x.Same"], {"type": "array", "items": ["x.Same", "y.same"]})


EDGES = {
    "wide": wide(),
    "deep records": deep(30, lambda below: below),
    "deep optional records": deep(30, lambda below: ["null", below]),
    "deep optional lists": deep(26, lambda below: ["null", {"type": "array", "items": ["null", below]}]),
    "deep maps": deep(26, lambda below: {"type": "map", "values": below}),
    "optional lists": deep(9, lambda below: ["null", {"type": "array", "items": ["null", below]}]),
    "maps": deep(9, lambda below: {"type": "map", "values": ["null", below, "string"]}),
    # 95 levels in Parquet; pyarrow reads up to 100 unless told otherwise.
    "deep lists alone": json.loads('{"type":"array","items":' * 46 + '"int"' + "}" * 46),
    "odd names": odd_names(),
    "odd enums": odd_enums(),
    "odd unions": odd_unions(),
}
# DuckDB reads lists in lists in a time that doubles with each level.
TOO_DEEP_FOR_DUCKDB = {"deep optional lists", "deep maps", "deep lists alone"}


def test_edges_arrive_in_both_engines(tmp_path: Path) -> None:
    compare([(edge, json.dumps(schema)) for edge, schema in EDGES.items()], tmp_path, values=10)


def test_real_schemas_arrive_in_both_engines(tmp_path: Path) -> None:
    schemas = real_schemas()
    assert len(schemas) > 300, f"{len(schemas)} schemas"
    compare(schemas, tmp_path, values=10)


def compare(schemas: list[tuple[str, str]], folder: Path, values: int) -> None:
    """Generated values of each schema by way of Java, us and both engines."""
    types = [parse(json.loads(text)) for _, text in schemas]
    made = []
    for seed, type in enumerate(types):
        if type.kind == "record":
            # An empty union has no value.
            type.fields = [(name, part) for name, part in type.fields if part.kind != "union" or part.branches]
        maker = ValueMaker(Random(seed), items=2)
        made.append([maker.value(type) for _ in range(values)])
    texts = [text.replace(', {"name": "f3", "type": []}', "") for _, text in schemas]
    answers = oracles.java({"do": "encode", "schema": text, "values": part, "logical": False, "blocks": False} for text, part in zip(texts, made, strict=True))
    for (name, _), answer in zip(schemas, answers, strict=True):
        assert "error" not in answer, f"{name}: {answer['error'][:500]}"
    outcomes = oracles.ours((Case(text, oracles.datums_of(answer)) for text, answer in zip(texts, answers, strict=True)), folder)
    connection = duckdb.connect(config={"threads": 1})
    for (name, _), type, part, outcome in zip(schemas, types, made, outcomes, strict=True):
        assert outcome.refused is None and not any(outcome.datums), f"{name}: {outcome.refused} {outcome.datums}"
        table = engines.with_pyarrow(outcome.file)
        assert engines.names(table.schema) == named(type), name
        assert engines.rows(table) == rows(type, part, doubles=False), f"{name} by pyarrow"
        if name not in TOO_DEEP_FOR_DUCKDB:
            found = engines.rows(engines.with_duckdb(connection, outcome.file))
            assert found == rows(type, part, doubles=True), f"{name} by DuckDB"


def rows(type: Type, values: list[Any], doubles: bool) -> list[Any]:
    """The rows that the values must become."""
    wanted = [expected(type, value, doubles) for value in values]
    return wanted if type.kind == "record" else [[value] for value in wanted]
