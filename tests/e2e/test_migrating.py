"""Taking over from another sink as docs/migrating.md says: its commands, run by Kafka's own tools, lose and double nothing."""

from __future__ import annotations

import re
import shlex

from harness.delivery import assert_delivered, assert_sound
from harness.kafka_tools import kafka_tool
from harness.lab import Lab
from harness.sluice import REPOSITORY

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}]}
TOOL = "kafka-consumer-groups.sh"
DONE = {0: 30, 1: 60}
"""Up to where the other sink has written; it has not seen the third partition yet."""


def documented_commands() -> list[list[str]]:
    """The arguments of each command on the group in the manual, without the broker."""
    text = (REPOSITORY / "docs/migrating.md").read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line.strip() for line in text.splitlines() if line.strip().startswith(TOOL)]
    return [shlex.split(re.sub(r"--bootstrap-server \S+|> \S+|--command-config \S+", "", line))[1:] for line in lines]


def test_the_documented_commands_hand_the_offsets_over(lab: Lab) -> None:
    topic, lake = lab.topic("handed", 3), lab.local()
    produced = {position: record for partition in range(3) for position, record in lab.produce(topic, partition, EVENT, [{"n": n} for n in range(60)]).items()}
    old, new = lab.name("connect-orders"), lab.name("sluice-orders")
    lab.topics.commit(old, topic, DONE)
    own = {"connect-orders": old, "sluice-orders": new, "orders": topic, "offsets.csv": str(lab.folder / "offsets.csv")}
    describe, export, take = documented_commands()
    # The commands name a configuration of the client, which a broker without credentials does without.
    shown = kafka_tool(TOOL, lab.stack.kafka.brokers, *(own.get(word, word) for word in describe))
    assert re.search(rf"{topic}\s+0\s+30\s+60\s+30", shown), shown
    exported = kafka_tool(TOOL, lab.stack.kafka.brokers, *(own.get(word, word) for word in export))
    lines = [line for line in exported.splitlines() if line.strip()]
    assert sorted(lines) == [f'"{topic}",{partition},{offset}' for partition, offset in DONE.items()] or sorted(lines) == [f"{topic},{partition},{offset}" for partition, offset in DONE.items()], exported
    (lab.folder / "offsets.csv").write_text(exported)
    kafka_tool(TOOL, lab.stack.kafka.brokers, *(own.get(word, word) for word in take))
    assert lab.topics.committed(new, topic) == DONE
    assert lab.topics.committed(old, topic) == DONE, "the way back stays open"
    produced |= lab.produce(topic, 1, EVENT, [{"n": 60}])
    connector = lab.connector(lake, [topic], kafka={"group": new})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, [(partition, offset) for partition, offset in produced if offset >= DONE.get(partition, 0)])
    assert_sound(lake)
    assert {(file.partition, file.start) for file in lake.files()} == {(0, 30), (1, 60), (2, 0)}


def test_the_group_of_the_other_sink_can_be_kept(lab: Lab) -> None:
    topic, lake = lab.topic("kept", 3), lab.local()
    produced = {position: record for partition in range(3) for position, record in lab.produce(topic, partition, EVENT, [{"n": n} for n in range(60)]).items()}
    group = lab.name("connect-orders")
    lab.topics.commit(group, topic, DONE)
    connector = lab.connector(lake, [topic], kafka={"group": group})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, [(partition, offset) for partition, offset in produced if offset >= DONE.get(partition, 0)])
    assert lab.topics.committed(group, topic) == dict.fromkeys(range(3), 60)
