"""Memory stays within the budget and a stated overhead, whatever is wide: the store slow, the topics or directories many, dead letters unheard."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.lake import Lake
from harness.sluice import BINARY, drain
from harness.waiting import until
from services.process import die_with_parent

from faults.bench import NOISE
from faults.extent import only_long
from faults.steady import SCHEMA, orders

BUDGET_MIB = 64
OVERHEAD_MIB = 80
"""What a process with one connector holds beside its budget: docs/operations.md, Size."""
SLOW_STORE_OVERHEAD_MIB = 180
"""The same after large blocks have come and gone; what remains is probably what the allocator of the C library keeps."""


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
    began, peak = time.monotonic(), 0.0
    while process.poll() is None:
        peak = max(peak, peak_mib(process.pid))
        if time.monotonic() > began + seconds:
            process.kill()
        time.sleep(0.01)
    said = log.read_text(errors="replace")
    assert process.returncode == 0, f"exit code {process.returncode} after {time.monotonic() - began:.0f} s:\n{said[-2500:]}"
    rotations = dict(Counter(re.findall(r'"reason":"([a-z_]+)"', said)))
    print(f"{settings['name']}: {time.monotonic() - began:.0f} s, peak {peak:.0f} MiB with a budget of {BUDGET_MIB} MiB, flushes ended by {rotations}")
    return peak


def peak_mib(pid: int) -> float:
    """The peak of resident memory of a living process; 0 when it has just ended."""
    # Not the peak that the system tells of an ended child: that begins with the memory of its parent.
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0


def assert_within(peak: float, overhead: int = OVERHEAD_MIB) -> None:
    assert peak < BUDGET_MIB + overhead, f"{peak:.0f} MiB"


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
    assert_within(peak, SLOW_STORE_OVERHEAD_MIB)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.timeout(600)
def test_fault_98_dead_letters_without_an_acknowledgement_fit_into_the_budget(lab: Lab) -> None:
    """What goes to the broker crawls, so that questions pass and letters do not."""
    count, letters = 2_000, lab.topic("dead")
    topic, lake = lab.topic("poison", 2), lab.local()
    lab.topics.produce(topic, 0, (b"\xff%06d" % number + os.urandom(100_000) for number in range(count)))
    produced = lab.produce(topic, 1, NOISE, ({"noise": os.urandom(1_000)} for _ in range(1_000)))
    proxy = lab.stack.toxiproxy
    proxy.proxy("crawl", lab.stack.kafka.proxied_port, lab.stack.kafka.proxy_port)
    proxy.toxic("crawl", "bandwidth", "upstream", rate=30)
    connector = lab.connector(
        lake,
        [topic],
        kafka={"properties": {"bootstrap.servers": lab.stack.kafka.proxied_brokers}},
        errors={"on_poison": "dead_letter", "dead_letter_topic": letters},
        rotate={"rows": 100, "every": "1s"},
        tasks=2,
    )
    config = lab.sluice.write([connector.settings])
    config.write_text(config.read_text().replace("daemon:\n", f"daemon:\n  memory: {BUDGET_MIB}MiB\n"))
    daemon = lab.sluice.daemon(config)
    admin = Admin.of(config)
    try:
        until("the partition of the letters is held", lambda: admin.metrics().sum("sluice_paused_partitions") == 1)
        until("the other partition is settled", lambda: lab.topics.committed(connector.group, topic).get(1, 0) == len(produced))
        assert admin.metrics().sum("sluice_memory_used_bytes") < BUDGET_MIB << 20
        heard, held = admin.metrics().sum("sluice_dead_letters_total"), peak_mib(daemon.process.pid)
        assert lab.topics.committed(connector.group, topic).get(0, 0) <= heard, "the offset moved past a letter that nobody has"
        proxy.reset()
        until("everything is settled", lambda: lab.topics.lag(connector.group, [topic]) == 0, 180)
        again, peak = admin.metrics().sum("sluice_drops_total"), peak_mib(daemon.process.pid)
        drain(daemon)
    finally:
        proxy.remove("crawl")
    print(f"peak {held:.0f} MiB with letters that wait, {peak:.0f} MiB at the end, partitions begun again {again:.0f} times")
    assert_within(peak, 40)
    came = Counter((message.value() or b"")[1:7] for message in lab.topics.records(letters))
    assert set(came) == {b"%06d" % number for number in range(count)}
    assert again or set(came.values()) == {1}, "a letter came twice, and nothing had gone wrong"
    assert_delivered(lake, topic, produced)
