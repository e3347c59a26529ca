"""Odd schemas and odd defaults, one by one: taken where Java's parser takes them, with the values that Java sees."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from differential import engines, oracles
from differential.columns import expected, named
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.oddities import DEFAULTS, ODDITIES, TEXT_ODDITIES
from differential.oracles import Case

VALUES = 12
# Of such precision that no value is worth making; and of no values at all.
WITHOUT_VALUES = {"decimal 2147483648, 0", "decimal 1099511627776, 549755813888", "enum of none", "union of none", *TEXT_ODDITIES}
# Java's own resolver makes a question mark of a letter that is no byte.
NO_BYTES = ("\u0100", "€", "\u0100a")


def test_odd_schemas_are_taken_as_java_takes_them(tmp_path: Path) -> None:
    odd = {name: json.dumps(schema, ensure_ascii=False) for name, schema in ODDITIES.items()} | TEXT_ODDITIES
    verdicts = oracles.java({"do": "parse", "schema": text} for text in odd.values())
    outcomes = oracles.ours((Case(text, []) for text in odd.values()), tmp_path)
    seen: Counter[str] = Counter()
    wrong = []
    for name, verdict, outcome in zip(odd, verdicts, outcomes, strict=True):
        refused = outcome.refused
        if refused and refused["stage"] == "columns" and name.startswith("recursive"):
            seen["contains itself"] += "contains itself" in refused["reason"] and " at " in refused["reason"]
        elif "error" not in verdict and refused:
            wrong.append(f"{name}: {refused}")
        else:
            seen[f"{'refused' if 'error' in verdict else 'taken'} by Java, {'refused' if refused else 'taken'} by us"] += 1
    print(dict(seen))
    assert not wrong, "\n".join(wrong)
    recursive = sum(name.startswith("recursive") for name in odd)
    assert seen["contains itself"] == recursive and seen["refused by Java, refused by us"] > 50, seen


def test_values_of_odd_schemas_arrive_in_both_engines(tmp_path: Path) -> None:
    candidates = {name: schema for name, schema in ODDITIES.items() if name not in WITHOUT_VALUES}
    takes = oracles.java({"do": "parse", "schema": json.dumps(schema)} for schema in candidates.values())
    names = [name for name, verdict in zip(candidates, takes, strict=True) if "error" not in verdict and not name.startswith("recursive")]
    schemas = [candidates[name] for name in names]
    types = [parse(schema) for schema in schemas]
    makers = [ValueMaker(Random(seed), items=1 if "deep" in name else 2) for seed, name in enumerate(names)]
    values = [[maker.value(type) for _ in range(VALUES)] for maker, type in zip(makers, types, strict=True)]
    asked = [{"do": "encode", "schema": json.dumps(schema), "values": made, "logical": False, "blocks": False} for schema, made in zip(schemas, values, strict=True)]
    datums = [oracles.datums_of(answer) for answer in oracles.java(asked)]
    outcomes = oracles.ours((Case(json.dumps(schema), made) for schema, made in zip(schemas, datums, strict=True)), tmp_path)
    connection = duckdb.connect(config={"threads": 1})
    for name, type, made, outcome in zip(names, types, values, outcomes, strict=True):
        assert outcome.refused is None and not any(outcome.datums), f"{name}: {outcome.refused} {outcome.datums}"
        table = engines.with_pyarrow(outcome.file)
        assert engines.names(table.schema) == named(type), name
        assert engines.rows(table) == rows(type, made, False), f"{name} by pyarrow"
        # DuckDB reads lists in lists in a time that doubles with each level.
        if "deep" not in name:
            assert engines.rows(engines.with_duckdb(connection, outcome.file)) == rows(type, made, True), f"{name} by DuckDB"
    assert len(names) > 250, len(names)


def rows(type: Type, values: list[Any], doubles: bool) -> list[Any]:
    """The rows that the values must become."""
    wanted = [expected(type, value, doubles) for value in values]
    return wanted if type.kind == "record" else [[value] for value in wanted]


def test_defaults_of_every_kind_are_those_of_java(tmp_path: Path) -> None:
    """Of fields that the writer lacks. What Java's parser refuses we may refuse; what both read is the same."""
    nothing = json.dumps({"type": "record", "name": "R", "fields": []})
    readers = [{"type": "record", "name": "R", "fields": [{"name": "x", "type": type, "default": default}]} for type, default in DEFAULTS]
    texts = [json.dumps(reader) for reader in readers]
    asked: list[dict[str, Any]] = [{"do": "parse", "schema": text} for text in texts]
    asked += [{"do": "resolve", "writer": nothing, "reader": text, "datums": [""]} for text in texts]
    answers = oracles.java(asked)
    parsed, resolved = answers[: len(texts)], answers[len(texts) :]
    outcomes = oracles.ours((Case(nothing, [b""], text) for text in texts), tmp_path)
    seen: Counter[str] = Counter()
    for (_, default), reader, verdict, answer, outcome in zip(DEFAULTS, readers, parsed, resolved, outcomes, strict=True):
        value = answer["values"][0] if "values" in answer else {"error": ""}
        type = parse(reader)
        if outcome.refused is None and not any(outcome.datums):
            if "error" in value:
                # Java lacks "NaN" for a double in a union alone.
                seen["read by us alone"] += default == "NaN"
                continue
            assert engines.rows(engines.with_pyarrow(outcome.file)) == [expected(type, value)], f"{reader}"
            seen["equal"] += 1
        elif outcome.refused is None:
            seen["beyond its logical type"] += "digits" in str(outcome.datums) or "time of day" in str(outcome.datums)
        else:
            assert " at x: " in outcome.refused["reason"], outcome.refused
            assert "error" in verdict or "error" in value or default in NO_BYTES, f"{reader}: {outcome.refused}"
            seen["refused"] += 1
    print(dict(seen))
    assert seen["equal"] > 50 and seen["read by us alone"] == 1 and seen["beyond its logical type"] == 2, seen
    assert sum(seen.values()) == len(DEFAULTS), seen
