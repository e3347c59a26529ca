"""Owns the proof at the end of a run: what the topic holds against what the lake, the dead letters and the skips hold.

Twice: by the program's own `sluice audit`, and by DuckDB over `_partition` and `_offset`, which shares no code with it.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from harness.lab import Lab
from harness.lake import Lake, LocalLake, S3Lake

from faults.steady import Truth


def prove(lab: Lab, lake: Lake, topic: str, group: str, expected: Truth, dead_letters: str | None = None) -> dict[str, int]:
    """Fails unless every good record is in exactly one file and every other one is accounted for; returns counts."""
    counts = prove_by_duckdb(lake, topic, expected)
    if dead_letters:
        letters = {position_of(dict(message.headers() or [])) for message in lab.topics.records(dead_letters)}
        missing = sorted(expected.poison - letters)
        strange = sorted(letters - expected.poison)
        assert not missing and not strange, f"{len(missing)} poison records are no dead letters {missing[:5]}, {len(strange)} others are {strange[:5]}"
    prove_by_audit(lab, lake, topic, group, expected)
    ends = lab.topics.end_offsets(topic)
    committed = lab.topics.committed(group, topic)
    behind = {partition: (committed.get(partition), end) for partition, end in ends.items() if end and committed.get(partition) != end}
    assert not behind, f"committed and end differ: {behind}"
    return counts


def prove_by_duckdb(lake: Lake, topic: str, expected: Truth) -> dict[str, int]:
    """Counts each position in the files."""
    found = Counter((partition, offset) for name, partition, offset in lake.positions() if name == topic)
    lost = sorted(expected.good - found.keys())
    strange = sorted(found.keys() - expected.good)
    doubled = sorted(position for position, count in found.items() if count > 1)
    assert not (lost or doubled or strange), (
        f"{lake.url}: {len(lost)} lost {lost[:8]}, {len(doubled)} doubled {doubled[:8]}, {len(strange)} that are no good record {strange[:8]}"
    )
    return {"rows": len(found), "files": len(lake.files())}


def prove_by_audit(lab: Lab, lake: Lake, topic: str, group: str, expected: Truth) -> None:
    """`sluice audit` says the same. A gap is right only where no good record lies in it."""
    report = audit(lab, lake, topic, group)
    for partition in report["partitions"]:
        for gap in partition["gaps"]:
            inside = [offset for number, offset in expected.good if number == partition["partition"] and gap["start"] <= offset < gap["end"]]
            assert not inside, f"partition {partition['partition']}: the audit finds a gap {gap} with good records {inside[:5]}"
        wrong = [key for key in ("overlaps", "disagreements", "unreadable") if partition[key]]
        wrong += [key for key in ("duplicates", "outside", "descending") if partition[key]["count"]]
        assert not wrong and (partition["ok"] or partition["gaps"]), f"{wrong}: {json.dumps(partition)[:3000]}"
    assert not report["renamed"], report["renamed"]
    assert report["rows"] == len(expected.good), (report["rows"], len(expected.good))


def audit(lab: Lab, lake: Lake, topic: str, group: str) -> Any:
    """The report of `sluice audit` as JSON."""
    finished = lab.sluice.run("audit", *audit_arguments(lab, lake, topic, group), "--json", seconds=300)
    assert finished.out.strip().startswith("{"), finished
    return json.loads(finished.out)


def audit_arguments(lab: Lab, lake: Lake, topic: str, group: str) -> list[str]:
    """The arguments that name a lake, its topic and its group."""
    options: list[str] = []
    if isinstance(lake, S3Lake):
        # Past any proxy that a test has put in front.
        own = {**lake.options, "endpoint": lab.stack.minio.url}
        options = [word for key, value in own.items() for word in ("--option", f"{key}={str(value).lower() if isinstance(value, bool) else value}")]
    else:
        assert isinstance(lake, LocalLake)
    return [lake.url, "--topic", topic, "--group", group, "--property", f"bootstrap.servers={lab.stack.kafka.brokers}", *options]


def position_of(headers: dict[str, Any]) -> tuple[int, int]:
    """Where a dead letter came from."""
    return int(headers["sluice.partition"]), int(headers["sluice.offset"])
