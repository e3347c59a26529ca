"""What the consumer group does to a daemon: partitions asked back, lost, kept, fenced off, shared with strangers."""

from __future__ import annotations

import re
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Connector, Lab
from harness.sluice import drain
from harness.waiting import until
from services.process import free_port

from faults.extent import only_long
from faults.proof import audit
from faults.process_case import Run
from faults.steady import SCHEMA, orders

SIGKILL, SIGTERM = 9, 15
CONSUMER = {"group.protocol": "consumer"}
BOTH = pytest.mark.parametrize("properties", [QUICK_GROUP, CONSUMER], ids=["classic", "consumer"])


def produced_to(lab: Lab, topic: str, partitions: int, count: int, seed: int = 0) -> dict[tuple[int, int], Any]:
    """Orders in every partition."""
    produced: dict[tuple[int, int], Any] = {}
    for partition in range(partitions):
        produced |= lab.produce(topic, partition, SCHEMA, orders(count, seed + partition))
    return produced


def all_committed(lab: Lab, connector: Connector, topic: str, seconds: float = 60) -> None:
    """Waits until the group has committed everything."""
    until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0, seconds)


def buffered(run: Run, config: Path, records: int) -> bool:
    """Whether the daemon holds so many records that are in no file."""
    address = re.search(r'listen: "([^"]+)"', config.read_text())
    assert address and run.service.running(), run.text[-2000:]
    metrics = metrics_of(address[1])
    return sum(value for name, value in metrics.items() if name.startswith("sluice_records_total")) >= records


def metrics_of(address: str) -> dict[str, float]:
    """The metrics page of a daemon, by series; empty while it does not answer."""
    try:
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as reply:
            lines = reply.read().decode().splitlines()
    except OSError:
        return {}
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line and not line.startswith("#")}


@BOTH
def test_fault_19_fault_21_a_revoke_flushes_what_is_asked_back_and_keeps_the_rest(lab: Lab, properties: dict[str, Any]) -> None:
    topic, lake = lab.topic("revoked", 4), lab.local()
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"rows": 100_000, "every": "1h"})
    configs = [lab.sluice.write([connector.settings], f"{name}.yaml") for name in ("first", "second")]
    produced = produced_to(lab, topic, 4, 200)
    # The flush that the revoke ends takes a while.
    first = Run(lab, configs[0], "seal.before=pause:2000", until_end=False)
    try:
        until("all records are buffered", lambda: buffered(first, configs[0], 800))
        assert not lake.files()
        second = Run(lab, configs[1], until_end=False)
        until("the second has its share", lambda: second.text.count("partition started") == 2, 90)
        moved = set(re.findall(r'partition started .*? partition=(\d)', second.text))
        flushed = {str(file.partition) for file in lake.files()}
        assert moved == flushed and len(moved) == 2, f"moved {moved}, flushed {flushed}: kept partitions keep their buffers"
        assert "replay_to" not in second.text and "unsettled records dropped" not in first.text
        produced |= produced_to(lab, topic, 4, 50, 9)
        drain(first.service)
        drain(second.service)
        # What the first had not read yet moved to the second, which may have been ended before it read it.
        lab.sluice.until_end(configs[0])
    finally:
        first.service.kill()
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@BOTH
def test_fault_94_killed_before_it_gives_a_partition_up(lab: Lab, properties: dict[str, Any]) -> None:
    topic, lake = lab.topic("released", 2), lab.local()
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"rows": 100_000, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    produced = produced_to(lab, topic, 2, 100)
    run = Run(lab, config, "release.before=kill", until_end=False)
    until("all records are buffered", lambda: buffered(run, config, 200))
    run.service.signal(SIGTERM)
    until("it is dead", lambda: not run.service.running())
    run.assert_code(-SIGKILL)
    lab.sluice.until_end(config)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_22_a_static_member_that_restarts_keeps_its_partitions(lab: Lab) -> None:
    topic, lake = lab.topic("static", 4), lab.local()
    connectors = []
    for number in range(2):
        properties = {"session.timeout.ms": 45_000, "heartbeat.interval.ms": 500, "group.instance.id": f"{topic}-{number}"}
        name = connectors[0].settings["name"] if connectors else None
        connectors.append(lab.connector(lake, [topic], name=name, kafka={"properties": properties}, rotate={"every": "500ms"}))
    daemons = [lab.sluice.daemon(lab.sluice.write([connector.settings], f"{number}.yaml")) for number, connector in enumerate(connectors)]

    def share(number: int) -> set[str]:
        lines = [line for line in daemons[number].log.read_text().splitlines() if "partitions assigned" in line]
        return set(re.findall(r"\[(\d)\]", lines[-1])) if lines else set()

    produced = produced_to(lab, topic, 4, 100)
    all_committed(lab, connectors[0], topic)
    until("both have a share", lambda: share(0) and share(1))
    before, took = share(0), daemons[1].log.read_text().count("partitions assigned")
    daemons[0].kill()
    produced |= produced_to(lab, topic, 4, 100, 5)
    daemons[0].log.write_text("")
    daemons[0].start()
    # The session is far from over: the same partitions come back, and nobody else was disturbed.
    all_committed(lab, connectors[0], topic, 40)
    assert share(0) <= before and daemons[1].log.read_text().count("partitions assigned") == took
    for daemon in daemons:
        drain(daemon)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_23_of_two_members_with_one_instance_id_the_fenced_one_says_so(lab: Lab) -> None:
    topic, lake = lab.topic("fenced", 2), lab.local()
    properties = {**QUICK_GROUP, "group.instance.id": f"{topic}-instance"}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "500ms"})
    daemons = [lab.sluice.daemon(lab.sluice.write([connector.settings], "0.yaml"))]
    produced = produced_to(lab, topic, 2, 100)
    all_committed(lab, connector, topic)
    daemons.append(lab.sluice.daemon(lab.sluice.write([connector.settings], "1.yaml")))
    fenced = until("one of them is fenced", lambda: [daemon for daemon in daemons if "connector failed" in daemon.log.read_text()])
    assert "group.instance.id" in fenced[0].log.read_text()
    produced |= produced_to(lab, topic, 2, 100, 7)
    all_committed(lab, connector, topic)
    for daemon in daemons:
        daemon.stop(40)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_22_a_static_member_put_out_while_it_rejoins_goes_on_from_what_its_heir_committed(lab: Lab) -> None:
    """The client keeps its partitions without a word: its id is another one afterwards, its assignment is not."""
    topic, lake = lab.topic("silent"), lab.local()
    proxy = lab.stack.toxiproxy
    proxy.proxy("silent", lab.stack.kafka.proxied_port, lab.stack.kafka.proxy_port)
    far = {**QUICK_GROUP, "bootstrap.servers": lab.stack.kafka.proxied_brokers, "reconnect.backoff.max.ms": 500, "group.instance.id": f"{topic}-0", "debug": "cgrp"}
    static = lab.connector(lake, [topic], kafka={"properties": far}, rotate={"rows": 100_000, "every": "1h"})
    heir = lab.connector(lake, [topic], name=static.settings["name"], kafka={"properties": QUICK_GROUP}, rotate={"every": "500ms"})
    # What the client says of its joins is on the level of traces.
    port = free_port()
    config = lab.sluice.write([static.settings], "static.yaml", daemon={"listen": f"127.0.0.1:{port}", "log": {"format": "text", "level": "trace"}})
    produced = lab.produce(topic, 0, SCHEMA, orders(200))
    first = lab.sluice.daemon(config)

    def says(words: str) -> int:
        return first.log.read_text().count(words)

    def buffered_records() -> float:
        metrics = metrics_of(f"127.0.0.1:{port}")
        return sum(value for name, value in metrics.items() if name.startswith("sluice_records_total"))

    idle = Consumer({"bootstrap.servers": lab.stack.kafka.brokers, "group.id": static.group, "enable.auto.commit": False, "partition.assignment.strategy": "cooperative-sticky", "log_level": 1})
    try:
        until("all records are buffered", lambda: buffered_records() == 200)
        # It joins, and as nobody polls it, it never takes its empty share and never joins again.
        joins = f'Joining group "{static.group}"'
        joined = says(joins)
        idle.subscribe([topic])
        until("both have joined", lambda: says(joins) > joined and lab.topics.members(static.group) == 2 and lab.topics.state(static.group) == "STABLE")
        joined = says(joins)
        second = lab.sluice.daemon(lab.sluice.write([heir.settings], "heir.yaml"))
        until("the static member joins again", lambda: says(joins) > joined)
        proxy.enable("silent", False)
        idle.close()
        until("the heir has delivered", lambda: lab.topics.committed(static.group, topic) == {0: 200})
        drain(second)
        produced |= lab.produce(topic, 0, SCHEMA, orders(50, 1))
        joined = says("changed join state wait-assign-call -> steady")
        proxy.enable("silent", True)
        until("the static member is back", lambda: says("changed join state wait-assign-call -> steady") > joined)
        until("it has read the rest", lambda: buffered_records() >= 250)
        drain(first)
    finally:
        proxy.remove("silent")
    assert not says("partitions lost"), "the client told of it: this test shows nothing"
    assert says("took us in again")
    # What it had not read again when it was ended.
    lab.sluice.until_end(lab.sluice.write([heir.settings], "heir.yaml"))
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.parametrize(("kind", "point"), [("local", "sync.after"), only_long("s3", "put.before")], ids=["local", "s3"])
def test_fault_27_fault_104_a_store_slower_than_the_poll_interval_loses_no_membership(lab: Lab, kind: str, point: str) -> None:
    topic, lake = lab.topic("slow"), lab.lake(kind)
    properties = {**QUICK_GROUP, "max.poll.interval.ms": 4000}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"rows": 100, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    produced = produced_to(lab, topic, 1, 200)
    run = Run(lab, config, f"{point}=pause:9000", until_end=False)
    try:
        all_committed(lab, connector, topic)
        drain(run.service)
    finally:
        run.service.kill()
    assert run.text.count("partitions assigned") == 1, run.text[-3000:]
    assert "partitions lost" not in run.text and "unsettled records dropped" not in run.text
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.parametrize("properties", [QUICK_GROUP, only_long(CONSUMER)], ids=["classic", "consumer"])
def test_fault_28_a_storm_of_rebalances_leaks_nothing(lab: Lab, properties: dict[str, Any]) -> None:
    topic, lake = lab.topic("storm", 4), lab.local()
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "200ms"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    produced = produced_to(lab, topic, 4, 100)
    all_committed(lab, connector, topic)
    assert daemon.process is not None
    before = handles(daemon.process.pid)
    own = properties if properties is CONSUMER else {"partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 3000, "heartbeat.interval.ms": 300}
    for turn in range(10):
        took = daemon.log.read_text().count("partitions assigned")
        with Stranger(lab, connector.group, topic, own):
            produced |= produced_to(lab, topic, 4, 20, turn)
        until("the partitions are back", lambda: daemon.log.read_text().count("partitions assigned") > took)  # noqa: B023
    all_committed(lab, connector, topic)
    after = handles(daemon.process.pid)
    # Connections to the broker and the registry come and go.
    assert all(after[kind] <= before[kind] + 12 for kind in before), f"before {before}, after {after}"
    drain(daemon)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_30_what_a_stranger_in_the_group_takes_is_found_by_the_audit(lab: Lab) -> None:
    topic, lake = lab.topic("strange"), lab.local()
    connector = lab.connector(lake, [topic], rotate={"every": "500ms"})
    config = lab.sluice.write([connector.settings])
    produced_to(lab, topic, 1, 100)
    lab.sluice.until_end(config)
    produced_to(lab, topic, 1, 100, 1)
    lab.topics.commit(connector.group, topic, {0: 150})  # As another application in the group would.
    lab.sluice.until_end(config)
    report = audit(lab, lake, topic, connector.group)
    assert not report["ok"]
    assert [(gap["start"], gap["end"]) for gap in report["partitions"][0]["gaps"]] == [(100, 150)]


class Stranger:
    """A plain consumer in the group that commits nothing, while the context lasts."""

    def __init__(self, lab: Lab, group: str, topic: str, properties: dict[str, Any]):
        self._consumer = Consumer({"bootstrap.servers": lab.stack.kafka.brokers, "group.id": group, "enable.auto.commit": False, "log_level": 1, **properties})
        self._topic = topic
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)

    def __enter__(self) -> Stranger:
        joined = threading.Event()
        self._consumer.subscribe([self._topic], on_assign=lambda *_: joined.set())
        self._thread.start()
        joined.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        self._consumer.close()

    def _poll(self) -> None:
        while not self._stop.is_set():
            self._consumer.poll(0.1)


def handles(pid: int) -> dict[str, int]:
    """Open files and threads of a process."""
    return {kind: len(list(Path(f"/proc/{pid}/{kind}").iterdir())) for kind in ("fd", "task")}
