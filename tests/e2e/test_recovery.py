"""Where reading begins when the group has forgotten, and what people are told when somebody set it back."""

from __future__ import annotations

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.waiting import until

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "kind", "type": "string"}]}


def events(start: int, count: int) -> list[dict[str, object]]:
    return [{"n": number, "kind": "abc"[number % 3]} for number in range(start, start + count)]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_a_half_published_flush_is_made_whole_when_the_group_is_gone(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("half"), lab.lake(kind)
    produced = lab.produce(topic, 0, EVENT, events(0, 300))
    connector = lab.connector(lake, [topic], partition_by=[{"field": "kind"}], rotate={"rows": 100})
    config = lab.sluice.write([connector.settings])
    lab.sluice.until_end(config)
    last = [file for file in lake.files() if file.end == 300]
    assert len(last) == 3
    # As a crash between the second and the third file would have left it.
    lake.remove(last[1].name)
    audit = lab.sluice.run("audit", lake.url, *lake.options_of_commands())
    assert audit.code == 1 and "incomplete: flush [200, 300) has 2 of its 3 files" in audit.text, audit
    lab.topics.admin.delete_consumer_groups([connector.group])[connector.group].result(30)
    produced |= lab.produce(topic, 0, EVENT, events(300, 50))
    lab.sluice.until_end(config)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)
    assert lab.topics.committed(connector.group, topic) == {0: 350}


def test_a_group_that_was_set_back_is_served_and_told_of(lab: Lab) -> None:
    topic, lake = lab.topic("setback"), lab.local()
    lab.produce(topic, 0, EVENT, events(0, 100))
    connector = lab.connector(lake, [topic])
    config = lab.sluice.write([connector.settings])
    lab.sluice.until_end(config)
    back = ConsumerGroupTopicPartitions(connector.group, [TopicPartition(topic, 0, 40)])
    lab.topics.admin.alter_consumer_group_offsets([back])[connector.group].result(30)
    finished = lab.sluice.until_end(config)
    assert "it was set back" in finished.text
    assert lab.topics.committed(connector.group, topic) == {0: 100}


def test_a_group_at_the_end_that_is_gone_before_any_file_leaves_out_nothing_that_came_since(lab: Lab) -> None:
    topic, lake = lab.topic("forgotten", 2), lab.local()
    for partition in (0, 1):
        lab.produce(topic, partition, EVENT, events(0, 10))
    connector = lab.connector(lake, [topic], kafka={"start": "latest"})
    config = lab.sluice.write([connector.settings])
    lab.sluice.until_end(config)
    assert lab.topics.committed(connector.group, topic) == {0: 10, 1: 10} and not lake.files()
    lab.topics.admin.delete_consumer_groups([connector.group])[connector.group].result(30)
    produced = {}
    for partition in (0, 1):
        produced |= lab.produce(topic, partition, EVENT, events(10, 20))
    finished = lab.sluice.until_end(config)
    assert finished.text.count('offset=10 found="noted"') == 2, finished
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_4_retention_that_passes_a_group_before_its_first_file_is_told_of(lab: Lab) -> None:
    topic, lake = lab.topic("passed"), lab.local()
    lab.produce(topic, 0, EVENT, events(0, 100))
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, rotate={"rows": 1_000_000, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    daemon = lab.sluice.daemon(config)
    until("the beginning is committed", lambda: lab.topics.committed(connector.group, topic) == {0: 0})
    daemon.kill()
    lab.topics.admin.delete_records([TopicPartition(topic, 0, 40)])[TopicPartition(topic, 0, 40)].result(30)
    until("the group is empty", lambda: lab.topics.members(connector.group) == 0)
    for committed in ({0: 0}, {}):
        # Nor does it begin anew without its offsets.
        if not committed:
            lab.topics.admin.delete_consumer_groups([connector.group])[connector.group].result(30)
        assert lab.topics.committed(connector.group, topic) == committed
        finished = lab.sluice.run("run", "--config", config, "--until-end")
        assert finished.code == 1 and "records [0, 40) are gone (retention)" in finished.text, finished
        assert not lake.files()


def test_fault_5_a_group_beyond_the_end_stops_the_connector_with_what_to_do(lab: Lab) -> None:
    topic, lake = lab.topic("beyond"), lab.local()
    produced = lab.produce(topic, 0, EVENT, events(0, 100))
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP})
    config = lab.sluice.write([connector.settings])
    lab.sluice.until_end(config)
    until("the group is empty", lambda: lab.topics.members(connector.group) == 0)
    lab.topics.commit(connector.group, topic, {0: 5_000})
    daemon = lab.sluice.daemon(config)
    until("it says what is wrong", lambda: "truncated" in daemon.log_tail(200))
    [line] = [line for line in daemon.log_tail(200).splitlines() if "ERROR" in line and "truncated" in line][:1]
    assert "5000" in line and topic in line, line
    daemon.kill()
    assert lab.topics.committed(connector.group, topic) == {0: 5_000}
    assert_delivered(lake, topic, produced)
