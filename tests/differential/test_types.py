"""Every type in every position: encoded by Java Avro and by fastavro, decoded and written by us, read back by pyarrow and
by DuckDB, equal value for value."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

import duckdb
import fastavro
import pytest

from differential import engines, oracles
from differential.columns import expected, named
from differential.generate import SchemaMaker, ValueMaker
from differential.model import Type, parse
from differential.oracles import Case, FastAvro

SEED = int(os.environ.get("SLUICE_SEED") or 1)
SCHEMAS = int(os.environ.get("SLUICE_SCHEMAS") or 1_000)
DATUMS = 20
PARTS = 4


class Made:
    """A generated schema with values; half of the datums come from Java, half from fastavro."""

    def __init__(self, seed: int, tame: bool = True):
        random = Random(seed)
        self.seed = seed
        self.schema = SchemaMaker(random).schema()
        self.type: Type = parse(self.schema)
        maker = ValueMaker(random, tame)
        self.values = [maker.value(self.type) for _ in range(DATUMS)]
        self.split = DATUMS // 2

    @property
    def text(self) -> str:
        """Non-ASCII letters as they are, in every second schema escaped."""
        return json.dumps(self.schema, ensure_ascii=self.seed % 2 == 0)

    def request(self) -> dict[str, Any]:
        """For Java: with conversions of logical types in every second schema, in small blocks in every third."""
        flags = {"logical": self.seed % 2 == 0, "blocks": self.seed % 3 == 0}
        return {"do": "encode", "schema": self.text, "values": self.values, **flags}

    def case(self, answer: dict[str, Any]) -> Case:
        """All datums."""
        assert "error" not in answer, f"seed {self.seed}: Java refuses: {answer['error']}\n{self.text}"
        datums = oracles.datums_of(answer)
        try:
            fast = FastAvro(self.schema)
        except (fastavro.schema.SchemaParseException, fastavro.schema.UnknownType):
            # It does not ignore logical types that are not valid, and knows no second guess at a name without namespace.
            self.split = DATUMS
        else:
            datums[self.split :] = [fast.encode(self.type, value) for value in self.values[self.split :]]
        return Case(self.text, datums)


def made(seeds: range, folder: Path, tame: bool = True) -> Iterator[tuple[Made, oracles.Outcome]]:
    """Each generated schema with what became of it; every datum must have been taken."""
    cases = [Made(seed, tame) for seed in seeds]
    answers = oracles.java(case.request() for case in cases)
    outcomes = oracles.ours((case.case(answer) for case, answer in zip(cases, answers, strict=True)), folder)
    for case, outcome in zip(cases, outcomes, strict=True):
        assert outcome.refused is None, f"seed {case.seed}: {outcome.refused}\n{case.text}"
        assert outcome.datums == [None] * DATUMS, f"seed {case.seed}: {outcome.datums}\n{case.text}"
        yield case, outcome
    by_both = sum(case.split < DATUMS for case in cases)
    assert by_both > len(cases) * 0.8, f"fastavro wrote for {by_both} of {len(cases)} schemas only"


@pytest.mark.parametrize("part", range(PARTS))
def test_generated_values_arrive_in_both_engines(tmp_path: Path, part: int) -> None:
    first = SEED * 1_000_000 + part * SCHEMAS // PARTS
    seeds = range(first, first + SCHEMAS // PARTS)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {DATUMS} datums each")
    connection = duckdb.connect(config={"threads": 1})
    for case, outcome in made(seeds, tmp_path):
        table = engines.with_pyarrow(outcome.file)
        assert engines.names(table.schema) == named(case.type), f"seed {case.seed}\n{case.text}"
        check(case, "pyarrow", engines.rows(table))
        check(case, "DuckDB", engines.rows(engines.with_duckdb(connection, outcome.file)), doubles=True)


def test_moments_beyond_an_engines_reach_are_still_written(tmp_path: Path) -> None:
    for case, outcome in made(range(SEED * 1_000_000 + 900_000, SEED * 1_000_000 + 900_100), tmp_path, tame=False):
        check(case, "pyarrow", engines.rows(engines.with_pyarrow(outcome.file)))


def check(case: Made, engine: str, found: list[Any], doubles: bool = False) -> None:
    """Row by row."""
    assert len(found) == len(case.values), f"{engine}, seed {case.seed}"
    for row, (value, cells) in enumerate(zip(case.values, found, strict=True)):
        wanted = expected(case.type, value, doubles)
        wanted = wanted if case.type.kind == "record" else [wanted]
        by = "Java" if row < case.split else "fastavro"
        assert cells == wanted, f"{engine}, seed {case.seed}, row {row} (written by {by})\n{case.text}\n{value}"
