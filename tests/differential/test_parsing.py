"""What Java's parser takes for a schema by default, we take: real schemas, and thousands made of them by small changes."""

from __future__ import annotations

import copy
import json
import os
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from differential import oracles
from differential.generate import SchemaMaker
from differential.oracles import Case
from differential.real import real_schemas

SEED = int(os.environ.get("SLUICE_SEED") or 1)
CHANGED = int(os.environ.get("SLUICE_TEXTS") or 6_000)
# A valid schema that no Parquet file can hold.
NO_COLUMNS = re.compile(r"contains itself|nest deeper|columns")

WORDS: tuple[Any, ...] = (
    *("null", "int", "long", "string", "bytes", "record", "enum", "fixed", "array", "map", "error", "union", "R", "ns.R", "", ".R", "a b", "1st", "é"),
    *(None, 0, 1, -1, 1.5, 2**31, True, [], {}, ["null"], [[]], {"type": "int"}, {"type": {"type": "long"}}, {"type": ["null", "int"]}),
    *({"type": "array", "items": "int"}, {"type": "map", "values": []}, {"type": "enum", "name": "E", "symbols": []}, ["X", "X"], ["X", "Y"]),
    {"type": "record", "name": "R", "fields": []},
    {"type": "fixed", "name": "F", "size": 0},
    {"type": "error", "name": "Err", "fields": [{"name": "a", "type": "Err", "order": "IGNORE"}]},
    {"type": "bytes", "logicalType": "decimal", "precision": "9"},
)
KEYS = (*("type", "name", "namespace", "items", "values", "fields", "symbols", "size", "default", "aliases"), *("doc", "order", "logicalType", "precision", "scale", "x"))


def places(schema: Any) -> Iterator[tuple[Any, Any]]:
    """Every (container, key) of a JSON value."""
    entries = schema.items() if isinstance(schema, dict) else enumerate(schema) if isinstance(schema, list) else ()
    for key, value in entries:
        yield schema, key
        yield from places(value)


def changed(random: Random, schema: Any, others: list[Any]) -> Any:
    """The schema with one to three changes."""
    whole = [copy.deepcopy(schema)]
    for _ in range(random.randint(1, 3)):
        container, key = random.choice(list(places(whole)))
        match random.randrange(7):
            case 0 | 1:
                container[key] = copy.deepcopy(random.choice(WORDS))
            case 2 if isinstance(container, dict):
                container[random.choice(KEYS)] = copy.deepcopy(random.choice(WORDS))
            case 3 if container is not whole:
                del container[key]
            case 4 if isinstance(container, list) and container is not whole:
                container.insert(random.randrange(len(container) + 1), copy.deepcopy(container[key]))
            case 5:
                part, at = random.choice(list(places([random.choice(others)])))
                container[key] = copy.deepcopy(part[at])
            case _ if isinstance(container, list):
                random.shuffle(container)
    return whole[0]


def test_what_java_takes_we_take(tmp_path: Path) -> None:
    random = Random(SEED)
    print(f"seed {SEED}, {CHANGED} texts")
    texts = [text for _, text in real_schemas()]
    schemas = [json.loads(text) for text in texts if len(text) < 15_000]
    schemas += [SchemaMaker(random).schema() for _ in range(100)]
    texts += [json.dumps(changed(random, random.choice(schemas), schemas), ensure_ascii=random.random() < 0.5) for _ in range(CHANGED)]
    verdicts = oracles.java({"do": "parse", "schema": text} for text in texts)
    outcomes = oracles.ours((Case(text, []) for text in texts), tmp_path)
    seen: Counter[str] = Counter()
    for text, verdict, outcome in zip(texts, verdicts, outcomes, strict=True):
        taken = outcome.refused is None or (outcome.refused["stage"] == "columns" and NO_COLUMNS.search(outcome.refused["reason"]))
        assert taken or "error" in verdict, f"Java takes it, we refuse: {outcome.refused}\n{text}"
        seen[f"{'refused' if 'error' in verdict else 'taken'} by Java, {'taken' if taken else 'refused'} by us"] += 1
    print(dict(seen))
    assert seen["taken by Java, taken by us"] > CHANGED / 5 and seen["refused by Java, refused by us"] > CHANGED / 10, seen
