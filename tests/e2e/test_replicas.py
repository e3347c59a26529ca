"""Replicas of one configuration share the work of its group; when one is killed the others take over, each record once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.sluice import drain
from harness.waiting import until

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
PARTITIONS, REPLICAS = 6, 3
CONSUMER = {"group.protocol": "consumer"}


@pytest.mark.parametrize("protocol", [QUICK_GROUP, CONSUMER], ids=["classic", "consumer"])
def test_three_replicas_share_the_work_and_two_go_on_when_one_is_killed(lab: Lab, protocol: dict[str, Any]) -> None:
    topic, lake = lab.topic("shared", PARTITIONS), lab.s3()
    connector = lab.connector(lake, [topic], name="shared", kafka={"group": lab.name("shared"), "properties": protocol}, rotate={"rows": 100, "every": "500ms"})
    configs = [lab.sluice.write([connector.settings], f"replica-{number}.yaml") for number in range(REPLICAS)]
    daemons = [lab.sluice.daemon(config) for config in configs]
    replicas = [Admin.of(config) for config in configs]
    produced: dict[tuple[int, int], Any] = {}

    def feed(count: int) -> None:
        for partition in range(PARTITIONS):
            nonlocal produced
            produced |= lab.produce(topic, partition, EVENT, [{"n": n, "text": "x" * 40} for n in range(count)])

    def shares(of: list[Admin]) -> list[set[int]]:
        return [{one["partition"] for one in replica.connector("shared").get("partitions", [])} for replica in of]

    def shared_evenly(of: list[Admin]) -> bool:
        found = shares(of)
        return sorted(partition for share in found for partition in share) == list(range(PARTITIONS)) and {len(share) for share in found} == {PARTITIONS // len(of)}

    until("each has its share and no partition has two owners", lambda: shared_evenly(replicas))
    feed(500)
    until("all is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    until("each counts its rows", lambda: sum(replica.metrics().sum("sluice_rows_total") for replica in replicas) == len(produced))
    assert [replica.metrics().sum("sluice_rows_total") for replica in replicas] == [1000] * REPLICAS, "the work is shared evenly"

    # The killed one leaves a flush that it had begun, for whoever comes next.
    feed(550)
    daemons[0].kill()
    feed(200)
    until("two share what three had", lambda: shared_evenly(replicas[1:]))
    until("all is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    assert all(replica.metrics().sum("sluice_rows_total") > 1000 for replica in replicas[1:]), "both go on"
    # A new one in its place gets a share again.
    daemons.append(lab.sluice.daemon(configs[0]))
    until("three share again", lambda: shared_evenly(replicas))
    feed(100)
    until("all is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    for daemon in daemons[1:]:
        drain(daemon)
    group = ["--group", connector.group, "--property", f"bootstrap.servers={lab.stack.kafka.brokers}"]
    audit = lab.sluice.run("audit", lake.url, "--topic", topic, "--json", *group, *lake.options_of_commands())
    assert audit.code == 0, audit
    report = json.loads(audit.out)
    assert report["ok"] and report["rows"] == len(produced) == PARTITIONS * 1350
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
