"""Three daemons on real services, killed, stopped, ended, pushed out of the group and cut off at random moments.

`SLUICE_KILLS` says how many kill -9 a run has, `SLUICE_FAULT_SEED` what is drawn.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import pytest
from harness.delivery import assert_nothing_left, assert_sound
from harness.lab import Lab
from harness.lake import LocalLake
from harness.waiting import until

from faults.chaos import Chaos, Doors
from faults.extent import KILLS, LONG
from faults.fleet import Fleet
from faults.proof import prove
from faults.reader import PartialReader
from faults.steady import PARTITION_BY, SteadyProducer, truth

PARTITIONS = 6
DAEMONS = 3
CLASSIC: dict[str, Any] = {"session.timeout.ms": 2000, "heartbeat.interval.ms": 300}
CONSUMER: dict[str, Any] = {"group.protocol": "consumer"}
SESSION_SECONDS = {"classic": 2.0, "consumer": 6.0}
VARIANTS = [("local", "classic"), ("s3", "consumer"), ("s3", "classic"), ("local", "consumer")]


@pytest.fixture
def doors(lab: Lab) -> Iterator[Doors]:
    """Proxies in front of every service."""
    doors = Doors(lab)
    doors.open()
    yield doors
    doors.close()


@pytest.mark.timeout(3600 if LONG else 280)
@pytest.mark.parametrize(("kind", "protocol"), VARIANTS if LONG else VARIANTS[:2], ids=lambda value: value)
def test_fault_19_fault_24_fault_25_fault_26_fault_28_fault_94_fault_97_every_record_is_there_once(lab: Lab, doors: Doors, kind: str, protocol: str) -> None:
    seed = int(os.environ.get("SLUICE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"SLUICE_FAULT_SEED={seed} {kind} {protocol}")
    topic, lake = lab.topic("chaos", PARTITIONS), lab.lake(kind)
    dead_letters = lab.topics.create(f"{topic}.dead")
    properties = {"classic": CLASSIC, "consumer": CONSUMER}[protocol]
    quick = {"reconnect.backoff.max.ms": 500, "socket.timeout.ms": 5000, "topic.metadata.refresh.interval.ms": 5000}
    storage: dict[str, Any] = {"url": lake.url}
    if kind == "s3":
        storage["options"] = {**lake.options, "endpoint": f"http://127.0.0.1:{doors.ports['minio']}", "timeout": "5s"}
    connector = lab.connector(
        lake,
        [topic],
        kafka={"properties": {"bootstrap.servers": lab.stack.kafka.proxied_brokers, **quick, **properties}},
        registry={"url": lab.registry.url.replace(str(lab.stack.registry.port), str(doors.ports["registry"]))},
        rotate={"every": "1s"},
        partition_by=PARTITION_BY,
        errors={"on_poison": "dead_letter", "dead_letter_topic": dead_letters, "on_tombstone": "skip"},
        storage=storage,
    )
    fleet = Fleet(lab, [connector], DAEMONS)
    session = SESSION_SECONDS[protocol]
    chaos = Chaos(lab, fleet, doors, [connector.group], topic, session, properties, seed)
    with SteadyProducer(lab, topic, PARTITIONS, rate=300) as producer, PartialReader(lake) as reader:
        fleet.start()
        until("the first files are there", lake.files)
        began = time.monotonic()
        chaos.run(KILLS, broker_restarts=max(1, KILLS // 50))
        chaos.calm()
        took = time.monotonic() - began
        producer.stop()
        try:
            until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0, 120)
        except AssertionError:
            print(f"members of the group: {lab.topics.members(connector.group)}; {fleet.stacks()}")
            raise
        for member in fleet.members:
            fleet.terminate(member)
    expected = truth(lab, topic)
    assert producer.acknowledged <= expected.good | expected.poison | expected.tombstones, "the broker lost records"
    counts = prove(lab, lake, topic, connector.group, expected, dead_letters)
    tally = fleet.tally()
    print(f"seed {seed}, {kind}, {protocol}: {took:.0f} s, {expected.count} records ({len(expected.poison)} poison, {len(expected.tombstones)} tombstones)")
    print(f"  done: {dict(sorted(chaos.counts.items()))}")
    print(f"  seen: {dict(sorted(tally.counts.items()))}")
    print(f"  dropped for: {dict(tally.reasons.most_common(8))}")
    print(f"  lake: {counts}, reader: {reader.turns} turns, {reader.files_read} files as they came, {reader.whole_reads} times the whole")
    if revived := lab.stack.toxiproxy.revived:
        print(f"  the proxy locked itself up and was replaced {revived} times")
    assert not tally.failures
    assert_sound(lake, contiguous=False)
    if isinstance(lake, LocalLake):
        assert_nothing_left(lake)
    if LONG:
        assert tally.counts["intents replayed"] > 0, "no kill met a flush between intent and settle"
