"""What is read: several connectors, topics and patterns, both group protocols, transactions, compressed batches."""

from __future__ import annotations

from typing import Any

import pytest
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.registry import encoded, framed
from harness.registry_gate import RegistryGate
from harness.sluice import as_yaml, drain
from harness.waiting import until
from services.kafka import PASSWORD, USER

SCHEMA = {"type": "record", "name": "Tick", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}


def ticks(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"tick {number}"} for number in range(start, start + count)]


def test_several_connectors_of_one_file_deliver_side_by_side(lab: Lab) -> None:
    first, second = lab.topic("first", 2), lab.topic("second")
    produced_first = lab.produce(first, 0, SCHEMA, ticks(300)) | lab.produce(first, 1, SCHEMA, ticks(200))
    produced_second = lab.produce(second, 0, SCHEMA, ticks(100))
    lakes = [lab.local(), lab.s3(), lab.local()]
    connectors = [lab.connector(lakes[0], [first]), lab.connector(lakes[1], [second]), lab.connector(lakes[2], [first, second])]
    lab.sluice.until_end(lab.sluice.write([connector.settings for connector in connectors]))

    assert_delivered(lakes[0], first, produced_first)
    assert_delivered(lakes[1], second, produced_second)
    assert_delivered(lakes[2], first, produced_first)
    assert_delivered(lakes[2], second, produced_second)
    for lake, connector in zip(lakes, connectors, strict=True):
        assert_sound(lake)
        assert {file.footer()["connector"] for file in lake.files()} == {connector.settings["name"]}
        assert lab.topics.lag(connector.group, connector.settings["kafka"]["topics"]) == 0


def test_a_directory_of_files_is_one_configuration(lab: Lab) -> None:
    topic = lab.topic("shared")
    produced = lab.produce(topic, 0, SCHEMA, ticks(50))
    lakes = [lab.local(), lab.local()]
    for number, lake in enumerate(lakes):
        text = as_yaml({"version": 1, "connectors": [lab.connector(lake, [topic]).settings]})
        lab.sluice.write_text(text, f"conf.d/{number}.yaml")
    lab.sluice.write_text("not for us", "conf.d/notes.txt")
    lab.sluice.until_end(lab.folder / "conf.d")
    for lake in lakes:
        assert_delivered(lake, topic, produced)


def test_defaults_are_merged_under_every_connector(lab: Lab) -> None:
    topic, lake = lab.topic("defaults"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, ticks(50))
    settings = lab.connector(lake, [topic]).settings
    own = {"name": settings["name"], "kafka": {"topics": settings["kafka"].pop("topics")}}
    defaults = {key: value for key, value in settings.items() if key != "name"}
    lab.sluice.until_end(lab.sluice.write([own], defaults=defaults))
    assert_delivered(lake, topic, produced)


def test_a_pattern_takes_every_topic_that_matches(lab: Lab) -> None:
    prefix = lab.name("shop")
    topics = [lab.topics.create(f"{prefix}.{what}", 2) for what in ("orders", "returns")]
    stranger = lab.topics.create(f"not-{prefix}.orders", 2)
    produced = {topic: lab.produce(topic, 1, SCHEMA, ticks(100)) for topic in [*topics, stranger]}
    lake = lab.local()
    connector = lab.connector(lake, kafka={"topics_regex": rf"^{prefix}\..*"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))

    assert {file.name.split("/")[0] for file in lake.files()} == set(topics)
    for topic in topics:
        assert_delivered(lake, topic, produced[topic])
    assert lab.topics.lag(connector.group, topics) == 0


def test_the_consumer_group_protocol_of_kafka_4_is_spoken_when_asked(lab: Lab) -> None:
    topic, lake = lab.topic("new-protocol", 4), lab.local()
    produced = {}
    for partition in range(4):
        produced |= lab.produce(topic, partition, SCHEMA, ticks(250))
    connector = lab.connector(lake, [topic], kafka={"properties": {"group.protocol": "consumer"}})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, produced)
    assert lab.topics.lag(connector.group, [topic]) == 0


def test_fault_102_two_daemons_share_the_partitions_of_a_topic(lab: Lab) -> None:
    topic, lake = lab.topic("shared", 4), lab.local()
    connector = lab.connector(lake, [topic], kafka={"properties": QUICK_GROUP}, rotate={"every": "500ms"})
    daemons = [lab.sluice.daemon(lab.sluice.write([connector.settings], f"{number}.yaml")) for number in range(2)]
    produced = {}
    for turn in range(5):
        for partition in range(4):
            produced |= lab.produce(topic, partition, SCHEMA, ticks(100))
        until(f"turn {turn} is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemons[0])
    produced |= lab.produce(topic, 0, SCHEMA, ticks(100)) | lab.produce(topic, 3, SCHEMA, ticks(100))
    until("the other one has taken over", lambda: lab.topics.lag(connector.group, [topic]) == 0)
    drain(daemons[1])
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


def test_fault_10_fault_11_aborted_records_are_not_written_and_lag_is_zero_behind_markers(lab: Lab) -> None:
    topic, lake = lab.topic("transactions"), lab.local()
    schema_id = lab.register(topic, SCHEMA)
    producer = lab.topics.producer(transactional_id=lab.name("transaction"))
    producer.init_transactions(30)
    kept = []
    for turn, commits in enumerate([True, False, True, False, False]):
        producer.begin_transaction()
        for tick in ticks(40, 100 * turn):
            producer.produce(topic, framed(schema_id, encoded(SCHEMA, tick)), partition=0)
            kept += [tick["n"]] if commits else []
        producer.flush(30)
        (producer.commit_transaction if commits else producer.abort_transaction)(30)
    connector = lab.connector(lake, [topic])
    config = lab.sluice.write([connector.settings])
    lab.sluice.until_end(config)

    assert [row["n"] for row in lake.rows()] == kept
    assert lab.topics.lag(connector.group, [topic]) == 0
    assert lab.topics.committed(connector.group, topic) == {0: 5 * 40 + 5}
    before = set(lake.paths())
    lab.sluice.until_end(config)
    assert set(lake.paths()) == before
    assert_sound(lake, contiguous=False)


def test_fault_12_an_open_transaction_holds_back_what_comes_after_it(lab: Lab) -> None:
    topic, lake = lab.topic("hanging"), lab.local()
    before = lab.produce(topic, 0, SCHEMA, ticks(30))
    producer = lab.topics.producer(transactional_id=lab.name("transaction"))
    producer.init_transactions(30)
    producer.begin_transaction()
    producer.produce(topic, framed(1, b"never committed"), partition=0)
    producer.flush(30)
    after = lab.produce(topic, 0, SCHEMA, ticks(30, 30))
    connector = lab.connector(lake, [topic])
    config = lab.sluice.write([connector.settings])
    try:
        lab.sluice.until_end(config)
        assert_delivered(lake, topic, before)
    finally:
        producer.abort_transaction(30)
    lab.sluice.until_end(config)
    assert_delivered(lake, topic, before | after)
    assert lab.topics.lag(connector.group, [topic]) == 0


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_batches_of_every_codec_are_read(lab: Lab, codec: str) -> None:
    topic, lake = lab.topic(codec), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, ticks(2000), compression_type=codec)
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    assert_delivered(lake, topic, produced)


def test_start_latest_leaves_out_what_was_there_before(lab: Lab) -> None:
    topic, lake = lab.topic("latest"), lab.local()
    lab.produce(topic, 0, SCHEMA, ticks(10))
    connector = lab.connector(lake, [topic], kafka={"start": "latest", "properties": QUICK_GROUP}, rotate={"every": "500ms"})
    daemon = lab.sluice.daemon(lab.sluice.write([connector.settings]))
    produced = {}

    def something_arrived() -> bool:
        produced.update(lab.produce(topic, 0, SCHEMA, ticks(1)))
        return bool(lake.files())

    until("a record arrives", something_arrived)
    drain(daemon)
    positions = lake.positions()
    assert positions and min(offset for _, _, offset in positions) >= 10
    assert {(partition, offset) for _, partition, offset in positions} <= produced.keys()


def test_an_empty_topic_ends_at_once_and_writes_nothing(lab: Lab) -> None:
    topic, lake = lab.topic("empty", 3), lab.local()
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]), seconds=60)
    assert not lake.paths()


def test_a_second_bounded_run_goes_on_where_the_first_ended(lab: Lab) -> None:
    topic, lake = lab.topic("twice"), lab.local()
    config = lab.sluice.write([lab.connector(lake, [topic]).settings])
    produced = lab.produce(topic, 0, SCHEMA, ticks(100))
    lab.sluice.until_end(config)
    first = set(lake.paths())
    produced |= lab.produce(topic, 0, SCHEMA, ticks(100, 100))
    lab.sluice.until_end(config)
    assert first < set(lake.paths())
    assert_delivered(lake, topic, produced)
    assert_sound(lake)


@pytest.mark.parametrize("mechanism", ["PLAIN", "SCRAM-SHA-512"])
def test_a_broker_with_tls_and_sasl_is_read(lab: Lab, mechanism: str) -> None:
    topic, lake = lab.topic("secure"), lab.local()
    produced = lab.produce(topic, 0, SCHEMA, ticks(100))
    kafka = lab.stack.kafka
    properties = {
        "bootstrap.servers": kafka.secure_brokers,
        "security.protocol": "SASL_SSL",
        "ssl.ca.location": str(kafka.ca_file),
        "sasl.mechanism": mechanism,
        "sasl.username": USER,
        "sasl.password": "${KAFKA_PASSWORD}",
    }
    config = lab.sluice.write([lab.connector(lake, [topic], kafka={"properties": properties}).settings])
    finished = lab.sluice.run("run", "--config", config, "--until-end", environment={"KAFKA_PASSWORD": PASSWORD})
    assert finished.code == 0, finished
    assert PASSWORD not in finished.text
    assert_delivered(lake, topic, produced)


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_fault_6_a_bounded_run_ends_when_its_topic_is_deleted_meanwhile(lab: Lab, protocol: str) -> None:
    topic, lake = lab.topic("vanishing"), lab.local()
    lab.produce(topic, 0, SCHEMA, ticks(20))
    # Without its schema no record can be delivered: the run waits.
    no_schema = (503, "text/plain", b"not now")
    with RegistryGate(lab.stack.registry.url, answer=lambda _number, path: no_schema if "/schemas/ids/" in path else None) as gate:
        session = QUICK_GROUP if protocol == "classic" else {"group.protocol": "consumer"}
        properties = {**session, "topic.metadata.refresh.interval.ms": 1000}
        connector = lab.connector(lake, [topic], registry={"url": gate.url}, kafka={"properties": properties})
        run = lab.sluice.daemon(lab.sluice.write([connector.settings]), None, "--until-end")
        until("the schema is asked for", lambda: any("/schemas/ids/" in path for path in gate.paths))
        lab.topics.delete(topic)
        code = run.wait_end(90)
    assert code == 1, run.log_tail()
    assert f"{topic}[0] vanished before its end was reached" in run.log.read_text(), run.log_tail()
    assert lake.files() == []
