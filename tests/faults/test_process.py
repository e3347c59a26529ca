"""What happens to the process: ended while it flushes, short of disk, files or memory, a panic, a log that nobody reads."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.lake import LocalLake
from harness.sluice import BINARY, drain
from harness.small_disk import small_disk as small_disk_of
from harness.waiting import until
from services.process import die_with_parent

from faults.bench import NOISE, Bench
from faults.process_case import Run
from faults.side_by_side import Case, run_side_by_side
from faults.steady import SCHEMA, orders

SIGTERM = 15


def ended_by(bench: Bench, failpoints: str, signals: int, code: int, timeout: str = "30s") -> Case:
    """SIGTERM in the middle of a flush; offsets are right whatever the exit code, and the next run finishes."""
    connector, lake, topic, _ = bench.case("local")
    daemon = {"listen": "127.0.0.1:0", "shutdown_timeout": timeout}
    config = bench.lab.sluice.write([connector.settings], f"{connector.settings['name']}.yaml", daemon=daemon)
    run = Run(bench.lab, config, failpoints, until_end=False)
    yield run.says("failpoint publish.before")
    for _ in range(signals):
        run.service.signal(SIGTERM)
        yield run.says("shutting down")
    yield run.ended()
    run.assert_code(code)
    again = Run(bench.lab, config)
    yield again.ended()
    again.assert_code(0)
    bench.prove(connector, lake, topic)


def test_fault_96_ended_in_the_middle_of_a_flush_the_offsets_are_right(bench: Bench) -> None:
    cases = [
        ("a flush within the deadline", ended_by(bench, "publish.before=pause:3000", 1, 0)),
        ("a second SIGTERM", ended_by(bench, "publish.before=pause:30000", 2, 1)),
        ("the deadline passed", ended_by(bench, "publish.before=pause:30000", 1, 1, "2s")),
    ]
    run_side_by_side(cases)


def test_fault_105_a_panic_stops_one_connector_visibly_and_no_other(lab: Lab) -> None:
    topic, lakes = lab.topic("panic", 2), [lab.local(), lab.local()]
    produced = lab.produce(topic, 0, SCHEMA, orders(300)) | lab.produce(topic, 1, SCHEMA, orders(300, 1))
    connectors = [lab.connector(lake, [topic], rotate={"rows": 100, "every": "1s"}, tasks=1) for lake in lakes]
    config = lab.sluice.write([connector.settings for connector in connectors])
    run = Run(lab, config, "task.input=panic@3", until_end=False, panics=True)
    try:
        until("one has failed", lambda: "a task panicked" in run.text and "connector failed" in run.text)
        failed = 0 if f'connector="{connectors[0].settings["name"]}"' in next(line for line in run.text.splitlines() if "connector failed" in line) else 1
        other = connectors[1 - failed]
        until("the other one delivers", lambda: lab.topics.lag(other.group, [topic]) == 0)
    finally:
        run.service.kill()
    assert_delivered(lakes[1 - failed], topic, produced)
    lab.sluice.until_end(config)
    assert_delivered(lakes[failed], topic, produced)


@pytest.mark.parametrize("pipe", ["full", "closed"])
def test_fault_106_a_log_pipe_that_nobody_reads_holds_nothing_up(lab: Lab, pipe: str) -> None:
    topic, lake = lab.topic("log"), lab.local()
    connector = lab.connector(lake, [topic], rotate={"rows": 20, "every": "1s"})
    config = lab.sluice.write([connector.settings], daemon={"listen": "127.0.0.1:0", "log": {"level": "trace"}})
    produced = lab.produce(topic, 0, SCHEMA, orders(5_000))
    reading, writing = os.pipe()
    daemon = subprocess.Popen(
        [BINARY, "run", "--config", config], stderr=writing, stdout=writing, stdin=subprocess.DEVNULL, preexec_fn=die_with_parent(os.getpid())
    )
    os.close(writing)
    try:
        if pipe == "closed":
            os.close(reading)
        until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0, 90)
        daemon.terminate()
        assert daemon.wait(60) == 0
    finally:
        daemon.kill()
        daemon.wait()
        if pipe == "full":
            os.close(reading)
    assert_delivered(lake, topic, produced)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MiB, mounted where root may mount; otherwise the test says what it needs."""
    folder = tmp_path / "small"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, text=True, check=False)
    assert mounted.returncode == 0, f"cannot mount a tmpfs ({mounted.stderr.strip()}): run as root with the right to mount"
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=False)


def test_fault_74_a_full_disk_is_waited_for_and_nothing_is_half_written(lab: Lab, small_disk: Path) -> None:
    topic, lake = lab.topic("full"), LocalLake(small_disk)
    ballast = small_disk / ".ballast"
    ballast.write_bytes(bytes(900_000))
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, rotate={"every": "500ms"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    produced = lab.produce(topic, 0, NOISE, [{"noise": os.urandom(1000)} for _ in range(300)])
    until("the full disk is told", lambda: "goes on when there is room again" in daemon.log.read_text())
    assert daemon.running() and not lake.files()
    assert lab.topics.members(connector.group) == 1, "it left the group"
    ballast.unlink()
    until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemon)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_74_scratch_space_that_open_flushes_have_filled_comes_back(lab: Lab, tmp_path: Path) -> None:
    topic, lake = lab.topic("scratch", 4), lab.s3()
    produced = {}
    for partition in range(4):
        produced |= lab.produce(topic, partition, NOISE, ({"noise": os.urandom(20_000)} for _ in range(300)))
    rotate, parquet = {"bytes": "3MiB", "every": "10m"}, {"row_group": {"bytes": "256KiB"}}
    connector = lab.connector(lake, [topic], rotate=rotate, parquet=parquet)
    with small_disk_of(tmp_path / "scratch", 2) as disk:
        daemon = {"listen": "127.0.0.1:0", "scratch_dir": str(disk.folder)}
        ended = lab.sluice.until_end(lab.sluice.write([connector.settings], daemon=daemon))
    assert "scratch space" in ended.text, "the disk was never full"
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_72_thousands_of_storage_partitions_in_one_batch(lab: Lab) -> None:
    topic, lake = lab.topic("wide"), lab.local()
    many = [{**order, "shipping": {"country": f"country {number}"}} for number, order in enumerate(orders(3000))]
    produced = lab.produce(topic, 0, SCHEMA, many)
    connector = lab.connector(lake, [topic], partition_by=[{"field": "shipping.country"}])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert len(lake.files()) == 3000
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def peak_memory(pid: int) -> int:
    """Peak resident memory of a process, in bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


@pytest.mark.long
def test_fault_98_fault_99_a_backlog_and_a_slow_store_fit_into_the_same_memory_life_after_life(lab: Lab) -> None:
    topic, lake = lab.topic("backlog", 4), lab.s3()
    produced = {}
    for partition in range(4):
        produced |= lab.produce(topic, partition, NOISE, ({"noise": os.urandom(50_000)} for _ in range(600)))
    proxy = lab.stack.toxiproxy
    port = proxy.proxy("slow-store", lab.stack.minio.port)
    proxy.toxic("slow-store", "bandwidth", "upstream", rate=2000)
    storage = {"url": lake.url, "options": {**lake.options, "endpoint": f"http://127.0.0.1:{port}"}}
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, storage=storage, rotate={"bytes": "8MiB", "every": "2s"})
    config = lab.sluice.write([connector.settings], daemon={"listen": "127.0.0.1:0", "memory": "48MiB"})
    budget, overhead = 48 << 20, 160 << 20
    peaks = []
    try:
        for _ in range(2):
            daemon = lab.sluice.daemon(config)
            assert daemon.process is not None
            files = len(lake.visible())
            until("a file comes", lambda: len(lake.visible()) > files, 60)  # noqa: B023
            time.sleep(2)  # The store is slow, the broker is not: memory would grow now.
            peaks.append(peak_memory(daemon.process.pid))
            daemon.kill()
        proxy.remove("slow-store")
        proxy.proxy("slow-store", lab.stack.minio.port, port)
        lab.sluice.until_end(config)
    finally:
        proxy.remove("slow-store")
    print(f"budget {budget >> 20} MiB, peaks {[peak >> 20 for peak in peaks]} MiB, {sum(len(record['noise']) for record in produced.values()) >> 20} MiB of records")
    assert max(peaks) < budget + overhead
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
