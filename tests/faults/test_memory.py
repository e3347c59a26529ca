"""Memory stays within the budget and a stated overhead, whatever is wide: the store slow, the topics many, the directories many."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.lake import Lake
from harness.sluice import BINARY
from services.process import die_with_parent

from faults.bench import NOISE
from faults.extent import only_long
from faults.steady import SCHEMA, orders

BUDGET_MIB = 64
OVERHEAD_MIB = 180
"""What a process with one connector holds beside its budget: docs/operations.md, Size."""


def peak_of_a_bounded_run(lab: Lab, settings: dict[str, Any], seconds: float = 240) -> float:
    """The peak of resident memory, in MiB, of a run up to the end, with a budget of `BUDGET_MIB`."""
    config = lab.sluice.write([settings], f"{settings['name']}.yaml", daemon={"listen": "127.0.0.1:0", "memory": f"{BUDGET_MIB}MiB"})
    log = lab.folder / f"{settings['name']}.log"
    with open(log, "wb") as output:
        process = subprocess.Popen(
            [BINARY, "run", "--until-end", "--config", config],
            stdout=output,
            stderr=output,
            env={**os.environ, **lab.sluice.environment},
            preexec_fn=die_with_parent(os.getpid()),
        )
    began, peak_kib = time.monotonic(), 0
    while process.poll() is None:
        # Not the peak that the system tells of an ended child: that begins with the memory of its parent.
        found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{process.pid}/status").read_text())
        peak_kib = max(peak_kib, int(found[1]) if found else 0)
        if time.monotonic() > began + seconds:
            process.kill()
        time.sleep(0.01)
    said = log.read_text(errors="replace")
    assert process.returncode == 0, f"exit code {process.returncode} after {time.monotonic() - began:.0f} s:\n{said[-2500:]}"
    peak = peak_kib / 1024
    rotations = dict(Counter(re.findall(r'"reason":"([a-z_]+)"', said)))
    print(f"{settings['name']}: {time.monotonic() - began:.0f} s, peak {peak:.0f} MiB with a budget of {BUDGET_MIB} MiB, flushes ended by {rotations}")
    return peak


def assert_within(peak: float) -> None:
    assert peak < BUDGET_MIB + OVERHEAD_MIB, f"{peak:.0f} MiB"


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("partitions", "records"), [(100, 5), only_long(500, 10)])
def test_fault_98_many_topic_partitions_fit_into_the_budget(lab: Lab, partitions: int, records: int) -> None:
    """Each holds an open flush, and together they hold more than the budget."""
    topic, lake = lab.topic("wide", partitions), lab.local()
    produced: dict[Any, Any] = {}
    for partition in range(partitions):
        produced |= lab.produce(topic, partition, NOISE, ({"noise": os.urandom(50_000)} for _ in range(records * 4)))
    total = sum(len(record["noise"]) for record in produced.values()) >> 20
    print(f"{partitions} partitions, {total} MiB of records")
    connector = lab.connector(lake, [topic], rotate={"bytes": "64MiB", "every": "1h"}, parquet={"compression": "none"})
    assert_within(peak_of_a_bounded_run(lab, connector.settings))
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("kind", "directories"), [("local", 1000), ("s3", 300), only_long("local", 5000), only_long("s3", 5000)])
def test_fault_72_fault_98_many_directories_in_one_flush_fit_into_the_budget(lab: Lab, kind: str, directories: int) -> None:
    """Each is an open file with few rows, the dearest way to hold them."""
    topic = lab.topic("deep")
    lake: Lake = lab.lake(kind)
    many = ({**order, "shipping": {"country": f"country {number % directories}"}} for number, order in enumerate(orders(directories * 2)))
    produced = lab.produce(topic, 0, SCHEMA, many)
    connector = lab.connector(lake, [topic], rotate={"bytes": "64MiB", "every": "1h"}, partition_by=[{"field": "shipping.country"}])
    assert_within(peak_of_a_bounded_run(lab, connector.settings))
    print(f"{len(lake.files())} files of {directories} directories")
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.timeout(900)
@pytest.mark.parametrize(("mib", "rate_kib"), [(40, 12_000), only_long(300, 8_000)])
def test_fault_98_a_slow_store_holds_the_broker_back(lab: Lab, mib: int, rate_kib: int) -> None:
    """The broker gives at once what the store takes at its own pace."""
    topic, lake = lab.topic("slow", 4), lab.s3()
    produced: dict[Any, Any] = {}
    for partition in range(4):
        produced |= lab.produce(topic, partition, NOISE, ({"noise": os.urandom(50_000)} for _ in range(mib * 5)))
    proxy = lab.stack.toxiproxy
    port = proxy.proxy("slow-store", lab.stack.minio.port)
    proxy.toxic("slow-store", "bandwidth", "upstream", rate=rate_kib)
    storage = {"url": lake.url, "options": {**lake.options, "endpoint": f"http://127.0.0.1:{port}", "timeout": "120s"}}
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, storage=storage, rotate={"bytes": "20MiB", "every": "2s"}, parquet={"compression": "none"})
    try:
        peak = peak_of_a_bounded_run(lab, connector.settings)
    finally:
        proxy.remove("slow-store")
    assert_within(peak)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
