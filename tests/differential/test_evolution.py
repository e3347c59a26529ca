"""Reading with another schema than the writer's: the same verdicts and values as Java Avro's resolution, but for the
differences that docs/types.md names."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

from differential import engines, oracles
from differential.columns import expected
from differential.evolve import Evolver
from differential.generate import SchemaMaker, ValueMaker
from differential.model import parse
from differential.oracles import Case

SEED = int(os.environ.get("SLUICE_SEED") or 1)
PAIRS = int(os.environ.get("SLUICE_PAIRS") or 1_500)
DATUMS = 8

# What we refuse as a whole though Java reads on: it looks at neither logical types nor the names of records.
REFUSED_ON_PURPOSE = re.compile(r"decimal of scale|(?:decimal|date|time|uuid|duration).* cannot be read as|(?:bytes|string|fixed|record|N\d|Ñ\d|型\d|n_\d).* cannot be read as")
# What is poison to us though Java reads it: bytes that are no text become question marks there, and it has no look at
# what a logical type of the reader means.
POISON_ON_PURPOSE = re.compile(r"not valid UTF-8|time of day|more digits|after the last value|beyond the end")


class Pair:
    """A generated writer, a reader made of it, and values of the writer."""

    def __init__(self, seed: int):
        random = Random(seed)
        self.seed = seed
        self.writer = SchemaMaker(random, longest=4).record(3)
        self.reader = Evolver(random).reader(self.writer)
        maker = ValueMaker(random, items=2)
        self.type = parse(self.writer)
        self.values = [maker.value(self.type) for _ in range(DATUMS)]

    @property
    def texts(self) -> tuple[str, str]:
        return json.dumps(self.writer), json.dumps(self.reader)

    def __str__(self) -> str:
        return f"seed {self.seed}\nwriter {self.texts[0]}\nreader {self.texts[1]}"


def test_generated_pairs_are_resolved_as_java_does(tmp_path: Path) -> None:
    seeds = range(SEED * 1_000_000 + 500_000, SEED * 1_000_000 + 500_000 + PAIRS)
    print(f"seeds {seeds.start} to {seeds.stop - 1}, {DATUMS} datums each")
    pairs = [Pair(seed) for seed in seeds]
    written = oracles.java({"do": "encode", "schema": pair.texts[0], "values": pair.values, "logical": False, "blocks": False} for pair in pairs)
    for pair, answer in zip(pairs, written, strict=True):
        assert "error" not in answer, f"{answer}\n{pair}"
    asked = zip(pairs, written, strict=True)
    resolved = oracles.java({"do": "resolve", "writer": pair.texts[0], "reader": pair.texts[1], "datums": answer["datums"]} for pair, answer in asked)
    cases = [Case(pair.texts[0], oracles.datums_of(answer), pair.texts[1]) for pair, answer in zip(pairs, written, strict=True)]
    outcomes = oracles.ours(cases, tmp_path)
    seen: Counter[str] = Counter()
    wrong: list[str] = []
    for pair, answer, outcome in zip(pairs, resolved, outcomes, strict=True):
        try:
            compare(pair, answer, outcome, seen)
        except AssertionError as difference:
            wrong.append(str(difference))
    print(dict(seen))
    assert not wrong, f"{len(wrong)} of {len(pairs)} pairs differ:\n" + "\n\n".join(wrong[:5])
    assert seen["equal values"] > PAIRS * DATUMS / 3 and seen["both refuse"] > 0 and seen["lossless"] > PAIRS / 20, seen


def compare(pair: Pair, answer: dict[str, Any], outcome: oracles.Outcome, seen: Counter[str]) -> None:
    """Verdict and values of one pair; counts what was seen."""
    if "error" in answer:
        # Its parser refuses the reader schema, which proves nothing.
        seen["unusable for Java"] += 1
        return
    read = [not (isinstance(value, dict) and "error" in value) for value in answer["values"]]
    if outcome.refused:
        assert outcome.refused["stage"] == "plan", f"{outcome.refused}\n{pair}"
        agrees = not answer["compatible"] or not any(read)
        allowed = REFUSED_ON_PURPOSE.search(outcome.refused["reason"])
        assert agrees or allowed, f"we alone refuse: {outcome.refused}\n{pair}"
        seen["both refuse" if agrees else "refused on purpose"] += 1
        return
    seen[outcome.absorbs] += 1
    if answer["compatible"] and outcome.absorbs != "incompatible":
        seen["both compatible"] += 1
    rows = iter(engines.rows(engines.with_pyarrow(outcome.file)))
    type = parse(pair.reader)
    for place, (value, readable, fate) in enumerate(zip(answer["values"], read, outcome.datums, strict=True)):
        if fate is not None:
            # An empty list of what cannot be read, and text for a decimal: Java's own check of schemas refuses these too.
            lazy = "cannot take this branch" in fate and (not answer["compatible"] or "decimal" in pair.texts[1])
            assert not readable or lazy or POISON_ON_PURPOSE.search(fate), f"we alone refuse datum {place}: {fate}\n{value}\n{pair}"
            assert outcome.absorbs != "lossless", f"said to lose nothing, but datum {place} is refused: {fate}\n{pair}"
            seen["both poison" if not readable else "poison on purpose"] += 1
            continue
        cells = next(rows)
        if not readable:
            seen[f"Java alone refuses: {re.sub(r'[^A-Za-z ]+', '', value['error'])[:60]}"] += 1
            continue
        wanted = expected(type, value)
        wanted = wanted if type.kind == "record" else [wanted]
        assert unordered(cells) == unordered(wanted), f"datum {place}: we read {cells}, Java {wanted}\n{pair}"
        seen["equal values"] += 1


def unordered(value: Any) -> Any:
    """Maps in the order of their keys: Java's have none."""
    if isinstance(value, list):
        pairs = bool(value) and all(isinstance(item, tuple) for item in value)
        return sorted(((key, unordered(item)) for key, item in value), key=lambda pair: pair[0]) if pairs else [unordered(item) for item in value]
    return value
