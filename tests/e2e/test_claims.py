"""Whose a topic's directory is: two groups, or two topics of one name, never write into one another's files."""

from __future__ import annotations

import pytest
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.waiting import until

NUMBER = {"type": "record", "name": "Number", "fields": [{"name": "n", "type": "long"}]}


def numbers(count: int) -> list[dict[str, int]]:
    return [{"n": number} for number in range(count)]


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_fault_103_a_second_group_under_one_prefix_is_refused(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("claimed"), lab.lake(kind)
    produced = lab.produce(topic, 0, NUMBER, numbers(50))
    first, second = lab.connector(lake, [topic]), lab.connector(lake, [topic])
    lab.sluice.until_end(lab.sluice.write([first.settings]))
    refused = lab.sluice.run("run", "--config", lab.sluice.write([second.settings]), "--until-end")
    assert refused.code == 1, refused
    assert f"belongs to group {first.group} (connector {first.settings['name']})" in refused.text
    assert lab.topics.committed(second.group, topic) == {}
    # The owner is not disturbed.
    produced |= lab.produce(topic, 0, NUMBER, numbers(7))
    lab.sluice.until_end(lab.sluice.write([first.settings]))
    assert_delivered(lake, topic, produced)


@pytest.mark.parametrize("kind", ["local", "s3"])
def test_fault_7_a_topic_deleted_and_made_again_is_refused(lab: Lab, kind: str) -> None:
    topic, lake = lab.topic("again"), lab.lake(kind)
    produced = lab.produce(topic, 0, NUMBER, numbers(50))
    connector = lab.connector(lake, [topic])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    lab.topics.delete(topic)
    until("the topic is gone", lambda: topic not in lab.topics.admin.list_topics(timeout=10).topics)
    lab.topics.create(topic)
    # More records than before: no offset looks wrong.
    lab.produce(topic, 0, NUMBER, numbers(80))
    before = lab.topics.committed(connector.group, topic)
    refused = lab.sluice.run("run", "--config", lab.sluice.write([connector.settings]), "--until-end")
    assert refused.code == 1, refused
    assert "it was deleted and made again" in refused.text
    assert lab.topics.committed(connector.group, topic) == before
    assert_delivered(lake, topic, produced)
