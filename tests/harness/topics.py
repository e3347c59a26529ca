"""Owns topics and consumer groups of a test: made, filled, measured. Uses confluent-kafka, a client we did not write."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic, OffsetSpec

from harness.waiting import until

Position = tuple[int, int]
"""Partition and offset."""


COORDINATOR_SETTLING = (KafkaError.COORDINATOR_LOAD_IN_PROGRESS, KafkaError.COORDINATOR_NOT_AVAILABLE, KafkaError.NOT_COORDINATOR)


@dataclass
class Topics:
    """Topics and groups of one broker."""

    brokers: str
    admin: AdminClient = field(init=False)

    def __post_init__(self) -> None:
        self.admin = AdminClient({"bootstrap.servers": self.brokers, "log_level": 1})

    def create(self, name: str, partitions: int = 1, **config: str) -> str:
        """Creates a topic; returns its name when every partition has a leader."""
        self.admin.create_topics([NewTopic(name, partitions, 1, config=config)])[name].result(30)
        until(f"{name} has leaders", lambda: self._answers(name), 30)
        return name

    def grow(self, name: str, partitions: int) -> None:
        """Adds partitions, until there are so many; returns when every one has a leader."""
        self.admin.create_partitions([NewPartitions(name, partitions)])[name].result(30)
        until(f"{name} has {partitions} leaders", lambda: self._answers(name, partitions), 30)

    def delete(self, name: str) -> None:
        """Deletes a topic."""
        self.admin.delete_topics([name])[name].result(30)

    def producer(self, **config: Any) -> Producer:
        """A producer with large batches; keywords are librdkafka's properties with `_` for `.`."""
        properties = {key.replace("_", "."): value for key, value in config.items()}
        return Producer({"bootstrap.servers": self.brokers, "linger.ms": 20, "compression.type": "lz4", "log_level": 1, **properties})

    def produce(self, topic: str, partition: int, values: Iterable[bytes | None], **config: Any) -> list[Position]:
        """Produces values to one partition, in order; returns where each of them is."""
        return self.produce_messages(topic, ({"value": value, "partition": partition} for value in values), **config)

    def produce_messages(self, topic: str, messages: Iterable[Mapping[str, Any]], **config: Any) -> list[Position]:
        """Produces messages (arguments of `Producer.produce`), each acknowledged; returns where each of them is."""
        producer = self.producer(**config)
        positions: dict[int, Position] = {}
        errors: list[KafkaError] = []

        def delivered(number: int, error: KafkaError | None, message: Message) -> None:
            if error is None:
                positions[number] = (message.partition(), message.offset())
            else:
                errors.append(error)

        count = 0
        for number, message in enumerate(messages):
            while True:
                try:
                    producer.produce(topic, **message, on_delivery=lambda error, got, number=number: delivered(number, error, got))
                    break
                except BufferError:
                    producer.poll(0.1)
            producer.poll(0)
            count += 1
        left = producer.flush(60)
        assert left == 0 and not errors, f"{left} records not acknowledged, {errors[:3]}"
        return [positions[number] for number in range(count)]

    def end_offsets(self, topic: str, isolation_level: str = "read_uncommitted") -> dict[int, int]:
        """The high watermark of each partition, or the last stable offset with `read_committed`."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "unused", "isolation.level": isolation_level})
        try:
            metadata = consumer.list_topics(topic, 30).topics[topic]
            if metadata.error is not None:
                raise KafkaException(metadata.error)
            return {number: consumer.get_watermark_offsets(TopicPartition(topic, number), 30)[1] for number in metadata.partitions}
        finally:
            consumer.close()

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The group's committed offset of each partition; a partition without one is left out."""
        entries = self._group_offsets(group)
        return {entry.partition: entry.offset for entry in entries if entry.topic == topic and entry.offset >= 0}

    def members(self, group: str) -> int:
        """How many members the group has."""
        return len(self.admin.describe_consumer_groups([group])[group].result(30).members)

    def state(self, group: str) -> str:
        """The state of the group, as the coordinator names it: `STABLE`, `PREPARING_REBALANCING`, `EMPTY`…"""
        return str(self.admin.describe_consumer_groups([group])[group].result(30).state.name)

    def commit(self, group: str, topic: str, offsets: Mapping[int, int]) -> None:
        """Commits offsets for a group without members, as an operator does."""
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": group, "enable.auto.commit": False})
        try:
            consumer.commit(offsets=[TopicPartition(topic, partition, offset) for partition, offset in offsets.items()], asynchronous=False)
        finally:
            consumer.close()

    def committed_metadata(self, group: str, topic: str) -> dict[int, str]:
        """The metadata beside each committed offset."""
        return {entry.partition: entry.metadata or "" for entry in self._group_offsets(group) if entry.topic == topic}

    def lag(self, group: str, topics: Sequence[str]) -> int:
        """Records that the group has not committed yet, over all partitions of the topics."""
        total = 0
        for topic in topics:
            committed = self.committed(group, topic)
            starts = {entry.partition: result.result(30).offset for entry, result in self._earliest(topic).items()}
            total += sum(end - committed.get(partition, starts[partition]) for partition, end in self.end_offsets(topic).items())
        return total

    def records(self, topic: str) -> list[Message]:
        """Every record of a topic, up to its present end, in the order of its partitions."""
        ends = self.end_offsets(topic)
        consumer = Consumer({"bootstrap.servers": self.brokers, "group.id": "unused", "enable.auto.commit": False, "enable.partition.eof": True})
        try:
            consumer.assign([TopicPartition(topic, partition, 0) for partition in ends])
            open_partitions, found = set(ends), []
            deadline = time.monotonic() + 60
            while open_partitions:
                assert time.monotonic() < deadline, f"partitions {open_partitions} of {topic} did not end"
                for message in consumer.consume(10_000, 0.2):
                    error = message.error()
                    if error is None:
                        found.append(message)
                    elif error.code() == KafkaError._PARTITION_EOF:
                        open_partitions.discard(message.partition())
                    else:
                        raise AssertionError(error)
            return sorted(found, key=lambda message: (message.partition(), message.offset()))
        finally:
            consumer.close()

    def _group_offsets(self, group: str) -> list[TopicPartition]:
        """What the coordinator says; it is asked again while a broker that has just started reads its groups."""
        deadline = time.monotonic() + 30
        while True:
            try:
                request = [ConsumerGroupTopicPartitions(group)]
                return self.admin.list_consumer_group_offsets(request)[group].result(30).topic_partitions
            except KafkaException as error:
                if error.args[0].code() not in COORDINATOR_SETTLING or time.monotonic() > deadline:
                    raise
                time.sleep(0.1)

    def _answers(self, topic: str, partitions: int = 1) -> bool:
        try:
            return len(self.end_offsets(topic)) >= partitions
        except KafkaException:
            return False

    def _earliest(self, topic: str) -> Any:
        partitions = [TopicPartition(topic, number) for number in self.end_offsets(topic)]
        return self.admin.list_offsets({partition: OffsetSpec.earliest() for partition in partitions})
