"""Versions of a schema that alternate record by record: as many files as one version makes, times the file schemas."""

from __future__ import annotations

import os
from collections import Counter
from typing import Any

from differential.encode import datum
from differential.model import parse
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.lake import Lake
from harness.registry import framed

RECORDS = int(os.environ.get("SLUICE_E2E_ALTERNATING") or 10_000)
"""By hand with 1000000."""
FLUSHES = 5
OLD: dict[str, Any] = {"type": "record", "name": "Thing", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
WIDER = {**OLD, "fields": [*OLD["fields"], {"name": "colour", "type": ["null", "string"], "default": None}]}
OTHER = {**OLD, "fields": [{"name": "n", "type": "string"}, OLD["fields"][1]]}


def thing(schema: dict[str, Any], n: int) -> list[Any]:
    """The neutral value of a record of this version."""
    if schema is OTHER:
        return [str(n), f"thing {n}"]
    return [n, f"thing {n}", *([[1, f"c{n % 7}"]] if schema is WIDER else [])]


def delivered(lab: Lab, versions: list[dict[str, Any]]) -> Lake:
    """A lake of a topic in which the versions alternate, cut into flushes of the same rows."""
    topic, lake = lab.topic("alternating"), lab.local()
    known = [(schema, lab.register(topic, schema), parse(schema)) for schema in versions]
    values = ((*known[n % len(known)], n) for n in range(RECORDS))
    positions = lab.topics.produce(topic, 0, (framed(number, datum(type, thing(schema, n))) for schema, number, type, n in values))
    connector = lab.connector(lake, [topic], rotate={"bytes": None, "rows": RECORDS // FLUSHES})
    lab.sluice.until_end(lab.sluice.write([connector.settings]), seconds=600)
    assert_delivered(lake, topic, positions)
    assert_sound(lake)
    return lake


def test_fault_62_alternating_versions_make_the_files_of_one_times_the_file_schemas(lab: Lab) -> None:
    one = delivered(lab, [OLD])
    assert len(one.files()) == FLUSHES
    read_up = delivered(lab, [WIDER, OLD])
    assert len(read_up.files()) == FLUSHES, "the older version is read up to the newer: one file schema"
    found = read_up.duckdb().execute("select count(*), sum(n), count(colour), sum(text = 'thing ' || n) from lake").fetchone()
    assert found == (RECORDS, RECORDS * (RECORDS - 1) // 2, RECORDS // 2, RECORDS)
    newest_second = delivered(lab, [OLD, WIDER])
    per_flush = Counter(file.start for file in newest_second.files())
    assert max(per_flush.values()) <= 2 and len(newest_second.files()) <= FLUSHES + 1, "only the first flush knows but the older at first"
    apart = delivered(lab, [OLD, OTHER])
    assert len(apart.files()) == FLUSHES * 2, "what cannot be read up has a file of its own, once in each flush"
