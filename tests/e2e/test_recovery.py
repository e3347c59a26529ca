"""Where reading begins when the group has forgotten, and what people are told when somebody set it back."""

from __future__ import annotations

import pytest
from confluent_kafka import ConsumerGroupTopicPartitions, TopicPartition
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab

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
