"""What the broker does to a daemon: gone, restarted, topics deleted, grown, compacted, damaged, rights taken away."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ResourcePatternType,
    ResourceType,
)
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.registry import encoded, framed
from harness.sluice import drain
from harness.waiting import until
from services.kafka import PASSWORD, USER

from faults.bench import NOISE
from faults.process_case import Run
from faults.steady import SCHEMA, orders

SIGCONT = 18
EVERY_SECOND = {"every": "1s"}
PATIENT = {"session.timeout.ms": 45_000, "heartbeat.interval.ms": 1000, "reconnect.backoff.max.ms": 500}


def delivered(lab: Lab, group: str, topic: str) -> Callable[[], bool]:
    """Whether the group has committed everything."""
    return lambda: lab.topics.lag(group, [topic]) == 0


def test_fault_2_a_broker_that_is_away_is_waited_for(lab: Lab) -> None:
    topic, lake = lab.topic("away", 2), lab.local()
    proxy = lab.stack.toxiproxy
    proxy.proxy("away", lab.stack.kafka.proxied_port, lab.stack.kafka.proxy_port)
    try:
        properties = {**QUICK_GROUP, "bootstrap.servers": lab.stack.kafka.proxied_brokers, "reconnect.backoff.max.ms": 500}
        connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate=EVERY_SECOND)
        daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
        produced = lab.produce(topic, 0, SCHEMA, orders(500))
        until("the first part is committed", delivered(lab, connector.group, topic))
        produced |= lab.produce(topic, 1, SCHEMA, orders(500, 1))
        proxy.enable("away", False)
        produced |= lab.produce(topic, 0, SCHEMA, orders(500, 2))
        # Long enough for the group to give the partitions away.
        until("the session is over", lambda: lab.topics.members(connector.group) == 0)
        assert daemon.running()
        proxy.enable("away", True)
        until("all is committed", delivered(lab, connector.group, topic))
        drain(daemon)
    finally:
        proxy.remove("away")
    log = daemon.log.read_text()
    # Which of the two it is depends on whether the cut met an open connection or a new one.
    assert re.search(r"WARN sluice::kafka\S* .*(Connection refused|BrokerTransportFailure)", log), log
    assert "the brokers answer again" in log
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_1_fault_3_a_broker_restart_while_committing_costs_no_second_upload(lab: Lab) -> None:
    topic, lake = lab.topic("restarted", 2), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, orders(500)) | lab.produce(topic, 1, SCHEMA, orders(500, 1))
    connector = lab.connector(lake, [topic], kafka={"properties": PATIENT}, rotate={"rows": 500, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    run = Run(lab, config, "settle.before=pause:1500", until_end=False)
    try:
        until("it is about to settle", lambda: "failpoint settle.before" in run.text)
        lab.stack.kafka.kill()
        lab.stack.kafka.start()
        lab.stack.kafka.wait_ready()
        until("all is committed", delivered(lab, connector.group, topic), 90)
        drain(run.service)
    finally:
        run.service.kill()
    assert "unsettled records dropped" not in run.text, run.text[-3000:]
    assert "replayed=true" not in run.text and run.text.count("flush published") == 2
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_6_a_deleted_topic_stops_nobody_else(lab: Lab) -> None:
    gone, stays = lab.topic("gone"), lab.topic("stays")
    lakes = [lab.local(), lab.local()]
    properties = {**QUICK_GROUP, "topic.metadata.refresh.interval.ms": 1000}
    sections: dict[str, Any] = {"kafka": {"properties": properties}, "rotate": EVERY_SECOND}
    connectors = [lab.connector(lakes[0], [gone], **sections), lab.connector(lakes[1], [stays], **sections)]
    produced_gone, produced = lab.produce(gone, 0, SCHEMA, orders(50)), lab.produce(stays, 0, SCHEMA, orders(50))
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings for connector in connectors]))
    for connector, topic in zip(connectors, (gone, stays), strict=True):
        until(f"{topic} is committed", delivered(lab, connector.group, topic))
    lab.topics.delete(gone)
    until("the deletion is told", lambda: "UnknownTopicOrPartition" in daemon.log.read_text() or "Unknown topic" in daemon.log.read_text())
    produced |= lab.produce(stays, 0, SCHEMA, orders(50, 1))
    until("the other topic goes on", delivered(lab, connectors[1].group, stays))
    daemon.stop(40)
    assert_delivered(lakes[0], gone, produced_gone)
    assert_delivered(lakes[1], stays, produced)


@pytest.mark.parametrize(("properties", "records"), [(QUICK_GROUP, 80), ({"group.protocol": "consumer"}, 80), (QUICK_GROUP, 20)], ids=["classic", "consumer", "shorter"])
def test_fault_7_a_topic_made_again_under_a_running_daemon_stops_it(lab: Lab, properties: dict[str, Any], records: int) -> None:
    """The client goes on at its offset, where the new topic may well have other records."""
    topic, lake = lab.topic("remade"), lab.local()
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate={"every": "500ms"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    produced = lab.produce(topic, 0, SCHEMA, orders(50))
    until("the old topic is committed", delivered(lab, connector.group, topic))
    lab.topics.delete(topic)
    lab.topics.create(topic)
    lab.produce(topic, 0, SCHEMA, orders(records, 1))
    until("it stops", lambda: re.search("connector failed.*deleted and made again", daemon.log.read_text()), 90)
    daemon.stop(40)
    assert lab.topics.committed(connector.group, topic) == {}, "the offsets of the old topic would pass over records of the new one"
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_7_a_topic_id_that_is_not_told_in_time_is_asked_for_again(lab: Lab) -> None:
    topic, lake = lab.topic("described", 2), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, orders(200)) | lab.produce(topic, 1, SCHEMA, orders(200, 1))
    proxy = lab.stack.toxiproxy
    proxy.proxy("described", lab.stack.kafka.proxied_port, lab.stack.kafka.proxy_port)
    properties = {**PATIENT, "bootstrap.servers": lab.stack.kafka.proxied_brokers}
    connector = lab.connector(lake, [topic], kafka={"properties": properties}, rotate=EVERY_SECOND)
    run = Run(lab, lab.sluice.write([connector.settings]), "recover.describe.before=stop", until_end=False)
    try:
        _, stopped, seconds = run.stopped()
        until("it is about to ask for the id", stopped, seconds)
        proxy.enable("described", False)
        run.service.signal(SIGCONT)
        until("that the question failed is told", lambda: f"cannot describe topic {topic}" in run.text)
        proxy.enable("described", True)
        until("all is committed", delivered(lab, connector.group, topic))
        drain(run.service)
    finally:
        run.service.kill()
        proxy.remove("described")
    assert_delivered(lake, topic, produced)
    # Each footer has the id.
    assert_sound(lake)


@pytest.mark.parametrize("start", ["earliest", "latest"])
def test_fault_8_new_partitions_are_taken_up_from_their_beginning(lab: Lab, start: str) -> None:
    topic, lake = lab.topic("growing"), lab.local()
    connector = lab.connector(lake, [topic], kafka={"start": start, "properties": {**QUICK_GROUP, "topic.metadata.refresh.interval.ms": 2000}}, rotate=EVERY_SECOND)
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("the first partition is started", lambda: "partition started" in daemon.log.read_text())
    produced = lab.produce(topic, 0, SCHEMA, orders(50))
    until("the first partition is committed", delivered(lab, connector.group, topic))
    lab.topics.grow(topic, 3)
    # Most likely before the daemon sees the partitions; either way it may not pass anything over.
    produced |= lab.produce(topic, 1, SCHEMA, orders(50, 1)) | lab.produce(topic, 2, SCHEMA, orders(50, 2))
    until("all is committed", lambda: lab.topics.committed(connector.group, topic) == {0: 50, 1: 50, 2: 50})
    drain(daemon)
    assert daemon.log.read_text().count('offset=0 found="earliest"') == (3 if start == "earliest" else 2)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_9_offsets_that_compaction_took_away_leave_no_gap(lab: Lab) -> None:
    own = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.01", "segment.ms": "100", "max.compaction.lag.ms": "100"}
    entry = ConfigEntry("log.cleaner.backoff.ms", "200", incremental_operation=AlterConfigOpType.SET)
    resource = ConfigResource(ConfigResource.Type.BROKER, "1", incremental_configs=[entry])
    lab.topics.admin.incremental_alter_configs([resource])[resource].result(30)
    topic, lake = lab.topic("compacted", **own), lab.local()
    schema_id = lab.register(topic, SCHEMA)
    values = [framed(schema_id, encoded(SCHEMA, order)) for order in orders(300)]

    def compacted() -> bool:
        # A new record rolls the segment; the cleaner takes whole segments only.
        lab.topics.produce_messages(topic, [{"value": values[0], "key": b"roll", "partition": 0}])
        return len(lab.topics.records(topic)) < 200

    for start in range(0, 300, 50):
        lab.topics.produce_messages(topic, [{"value": value, "key": f"{number % 20}".encode(), "partition": 0} for number, value in enumerate(values[start : start + 50])])
        time.sleep(0.15)  # Each batch in a segment of its own.
    until("the cleaner was there", compacted, 90)
    connector = lab.connector(lake, [topic], rotate={"rows": 15, "every": "1h"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    # The cleaner may have gone on since; what is there now must be there, and nothing twice.
    left = {(0, message.offset()) for message in lab.topics.records(topic)}
    rows = [(partition, offset) for _, partition, offset in lake.positions()]
    assert left <= set(rows) and len(rows) == len(set(rows)) < 300
    assert_sound(lake)
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_fault_13_a_message_beyond_the_fetch_size_is_fetched(lab: Lab) -> None:
    topic, lake = lab.topic("huge", **{"max.message.bytes": "20000000"}), lab.local()
    produced = lab.produce(topic, 0, NOISE, [{"noise": bytes(9_000_000)}, {"noise": b"small"}], message_max_bytes=20_000_000)
    properties = {"fetch.message.max.bytes": 10_000, "fetch.max.bytes": 1_000_000, "message.max.bytes": 1_000_000}
    connector = lab.connector(lake, [topic], kafka={"properties": properties})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)


@pytest.mark.long
def test_fault_14_a_damaged_batch_is_not_passed_over(lab: Lab) -> None:
    topic, lake = lab.topic("damaged"), lab.local()
    lab.produce(topic, 0, SCHEMA, orders(20), compression_type="none")
    second = lab.produce(topic, 0, SCHEMA, orders(20, 1), compression_type="none")
    lab.stack.kafka.stop()
    (log,) = (lab.stack.kafka.folder / "data").glob(f"{topic}-0/*.log")
    content = bytearray(log.read_bytes())
    place = content.rfind(f"order {19}".encode())
    assert place > 0 and min(second)[1] == 20
    content[place] ^= 0xFF
    log.write_bytes(content)
    lab.stack.kafka.start()
    lab.stack.kafka.wait_ready()
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, rotate=EVERY_SECOND)
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    until("the damage is told", lambda: "CRC" in daemon.log.read_text() or "BadMessage" in daemon.log.read_text(), 40)
    daemon.stop(40)
    assert lab.topics.committed(connector.group, topic).get(0, 0) <= 20, "records were passed over"
    assert {offset for _, _, offset in lake.positions()} <= set(range(20))


def test_fault_16_a_commit_that_is_denied_stops_loudly_with_the_offset_held(lab: Lab) -> None:
    topic, lake = lab.topic("denied"), lab.local()
    kafka = lab.stack.kafka
    secure = {"bootstrap.servers": kafka.secure_brokers, "security.protocol": "SASL_SSL", "ssl.ca.location": str(kafka.ca_file)}
    login = {"sasl.mechanism": "PLAIN", "sasl.username": USER, "sasl.password": PASSWORD}
    connector = lab.connector(lake, [topic], kafka={"properties": {**QUICK_GROUP, **secure, **login}}, rotate=EVERY_SECOND)
    config = lab.sluice.write([connector.settings])
    produced = lab.produce(topic, 0, SCHEMA, orders(50))
    daemon = lab.sluice.daemon(config)
    until("the first part is committed", delivered(lab, connector.group, topic))
    denial = AclBinding(ResourceType.GROUP, connector.group, ResourcePatternType.LITERAL, f"User:{USER}", "*", AclOperation.READ, AclPermissionType.DENY)
    lab.topics.admin.create_acls([denial])[denial].result(30)
    produced |= lab.produce(topic, 0, SCHEMA, orders(50, 1))
    until("it says so", lambda: "GroupAuthorizationFailed" in daemon.log.read_text() and "connector failed" in daemon.log.read_text())
    daemon.stop(40)
    assert lab.topics.committed(connector.group, topic) == {0: 50}
    (deleted,) = lab.topics.admin.delete_acls([_as_filter(denial)]).values()
    deleted.result(30)
    lab.sluice.until_end(config)
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def _as_filter(binding: AclBinding) -> Any:
    return AclBindingFilter(binding.restype, binding.name, binding.resource_pattern_type, binding.principal, binding.host, binding.operation, binding.permission_type)
