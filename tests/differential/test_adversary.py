"""Schemas made to be hard: none is refused, every value is found again in both engines."""

from __future__ import annotations

import json
import os
from pathlib import Path
from random import Random
from typing import Any

import duckdb

from differential import engines, oracles
from differential.adversary import Adversary
from differential.columns import expected, named
from differential.encode import datum
from differential.generate import ValueMaker
from differential.model import Type, parse
from differential.oracles import Case

SEED = int(os.environ.get("SLUICE_SEED") or 1)
SCHEMAS = int(os.environ.get("SLUICE_ADVERSARIES") or 20)
DATUMS = 6
# DuckDB reads lists in lists in a time that doubles with each level.
DUCKDB_LISTS = 6


def test_schemas_made_to_be_hard_arrive_in_both_engines(tmp_path: Path) -> None:
    seeds = range(SEED * 1_000_000 + 700_000, SEED * 1_000_000 + 700_000 + SCHEMAS)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {DATUMS} datums each")
    schemas = [Adversary(Random(seed)).schema() for seed in seeds]
    types = [parse(schema) for schema in schemas]
    values = [values_of(type, seed) for type, seed in zip(types, seeds, strict=True)]
    texts = [json.dumps(schema, ensure_ascii=seed % 2 == 0) for schema, seed in zip(schemas, seeds, strict=True)]
    cases = [Case(text, [datum(type, value) for value in made]) for text, type, made in zip(texts, types, values, strict=True)]
    outcomes = oracles.ours(cases, tmp_path)
    connection = duckdb.connect(config={"threads": 1})
    by_duckdb = 0
    for seed, type, made, outcome in zip(seeds, types, values, outcomes, strict=True):
        assert outcome.refused is None, f"seed {seed}: {outcome.refused}"
        assert outcome.datums == [None] * DATUMS, f"seed {seed}: {outcome.datums}"
        table = engines.with_pyarrow(outcome.file)
        assert engines.names(table.schema) == named(type), f"seed {seed}: names"
        compare(seed, "pyarrow", engines.rows(table), [expected(type, value) for value in made])
        if lists(type) <= DUCKDB_LISTS:
            by_duckdb += 1
            found = engines.rows(engines.with_duckdb(connection, outcome.file))
            compare(seed, "DuckDB", found, [expected(type, value, True) for value in made])
    assert by_duckdb > SCHEMAS / 2, by_duckdb


def values_of(type: Type, seed: int) -> list[Any]:
    maker = ValueMaker(Random(seed), items=2)
    return [maker.value(type) for _ in range(DATUMS)]


def compare(seed: int, engine: str, found: list[Any], wanted: list[Any]) -> None:
    """Row by row, cell by cell: a row of a thousand says little."""
    assert len(found) == len(wanted), f"{engine}, seed {seed}"
    for row, (cells, values) in enumerate(zip(found, wanted, strict=True)):
        for place, (cell, value) in enumerate(zip(cells, values, strict=True)):
            assert cell == value, f"{engine}, seed {seed}, row {row}, column {place}: {cell!r} is not {value!r}"


def lists(type: Type) -> int:
    """How deep lists and maps nest in a type."""
    inside = [part for _, part in type.fields] + type.branches + ([type.items] if type.items else [])
    return (type.items is not None) + max((lists(part) for part in inside), default=0)
