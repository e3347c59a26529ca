"""The process dies within a flush, and is started again with other settings."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from harness.lab import Connector, merged

from faults.bench import Bench
from faults.process_case import Run
from faults.side_by_side import Case, run_side_by_side

OTHER_FILES: dict[str, Any] = {"partition_by": [{"field": "shipping.country"}]}
SAME_FILES: dict[str, Any] = {"rotate": {"rows": 37}, "parquet": {"compression": "zstd", "sort_by": ["text"], "row_group": {"rows": 11}}, "tasks": 3}
PENDING = re.compile(r"\[(\d+)\]: a flush of \[(\d+), (\d+)\) was begun with other settings")


def changed(bench: Bench, connector: Connector, changes: dict[str, Any]) -> Path:
    """A configuration of the same connector with these changes."""
    settings = merged(copy.deepcopy(connector.settings), changes)
    return bench.lab.sluice.write([settings], f"{connector.settings['name']}-changed.yaml")


def finished_later(bench: Bench) -> Case:
    """Settings that make other files stop it, with nothing touched; the former ones finish the flush, then the others may follow."""
    connector, lake, topic, config = bench.case("local")
    killed = Run(bench.lab, config, "publish.file.after=kill")
    yield killed.ended()
    killed.assert_code(-9)
    before = set(lake.visible())
    other = Run(bench.lab, changed(bench, connector, OTHER_FILES))
    yield other.ended()
    other.assert_code(1)
    assert PENDING.search(other.text) and "start once with the former settings" in other.text, other.text[-2000:]
    assert set(lake.visible()) == before
    for again in (config, changed(bench, connector, OTHER_FILES)):
        run = Run(bench.lab, again)
        yield run.ended()
        run.assert_code(0)
    bench.prove(connector, lake, topic)


def finished_otherwise(bench: Bench) -> Case:
    """Settings that only encode and cut otherwise finish the flush: its files stay the same ones."""
    connector, lake, topic, config = bench.case("local")
    killed = Run(bench.lab, config, "publish.file.after=kill")
    yield killed.ended()
    killed.assert_code(-9)
    before = {name: path.read_bytes() for name, path in lake.visible().items()}
    run = Run(bench.lab, changed(bench, connector, SAME_FILES))
    yield run.ended()
    run.assert_code(0)
    assert re.search(r"adopted=[1-9]\d* replayed=true", run.text), run.text[-2000:]
    after = lake.visible()
    assert all(after[name].read_bytes() == content for name, content in before.items())
    bench.prove(connector, lake, topic)


def abandoned(bench: Bench) -> Case:
    """As the message says: the files of the range deleted, its start committed without metadata."""
    connector, lake, topic, config = bench.case("local")
    killed = Run(bench.lab, config, "publish.file.after=kill")
    yield killed.ended()
    killed.assert_code(-9)
    new = changed(bench, connector, OTHER_FILES)
    for _ in range(3):
        run = Run(bench.lab, new)
        yield run.ended()
        found = PENDING.search(run.text)
        if found is None:
            break
        run.assert_code(1)
        partition, start, end = (int(number) for number in found.groups())
        for name in lake.visible():
            if f"+{partition}+{start:012}+{end:012}" in name:
                lake.remove(name)
        bench.lab.topics.commit(connector.group, topic, {partition: start})
    run.assert_code(0)
    bench.prove(connector, lake, topic)


def test_fault_26_a_flush_that_is_pending_when_settings_change_is_finished_or_abandoned(bench: Bench) -> None:
    cases = [("finished later", finished_later(bench)), ("finished otherwise", finished_otherwise(bench)), ("abandoned", abandoned(bench))]
    run_side_by_side(cases)
