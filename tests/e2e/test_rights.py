"""The access rules of docs/security.md: given by Kafka's own tool as they stand there they suffice, and each one is needed."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass

from confluent_kafka.admin import AclBindingFilter, AclOperation, AclPermissionType, ResourcePatternType, ResourceType
from harness.admin import Admin
from harness.delivery import assert_delivered
from harness.kafka_tools import kafka_tool
from harness.lab import Lab
from harness.registry import encoded, framed
from harness.secured import Secured
from harness.sluice import REPOSITORY, drain
from harness.waiting import until

SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}


@dataclass(frozen=True)
class Names:
    """What stands in the place of the names in the manual."""

    user: str
    topic: str
    group: str
    dead: str

    def put_into(self, word: str) -> str:
        """A word of a documented command with these names."""
        own = {"orders": self.topic, "sluice-orders": self.group, "orders.dead": self.dead, "User:sluice": f"User:{self.user}"}
        return own.get(word, word)


def documented_rules() -> list[list[str]]:
    """The arguments of each `kafka-acls.sh` in the manual, from `--add` on."""
    text = (REPOSITORY / "docs/security.md").read_text(encoding="utf-8")
    lines = [shlex.split(line) for line in text.splitlines() if line.startswith("kafka-acls.sh ")]
    return [line[line.index("--add") :] for line in lines]


def rules_of(secured: Secured, user: str) -> list[tuple[str, str, str]]:
    """Kind, name and operation of everything that the user may do."""
    everything = AclBindingFilter(ResourceType.ANY, None, ResourcePatternType.ANY, f"User:{user}", None, AclOperation.ANY, AclPermissionType.ANY)
    found = secured.topics.admin.describe_acls(everything).result(30)
    return sorted((rule.restype.name, rule.name, rule.operation.name) for rule in found)


def test_the_documented_rules_suffice_and_each_is_needed(lab: Lab, secured: Secured) -> None:
    rules = documented_rules()
    assert len(rules) == 3, "topic, group, dead-letter topic"
    topic, dead = secured.topics.create(lab.name("rights")), secured.topics.create(lab.name("rights-dead"))
    schema_id = lab.register(topic, SCHEMA)
    values = [framed(schema_id, encoded(SCHEMA, {"n": number})) for number in range(20)]
    good = secured.topics.produce(topic, 0, values)
    secured.topics.produce(topic, 0, [b"no avro"])
    names = Names(lab.name("user"), topic, lab.name("group"), dead)
    lake = lab.local()
    kafka = {"group": names.group, "properties": secured.user(names.user)}
    connector = lab.connector(lake, [topic], name="orders", kafka=kafka, errors={"on_poison": "dead_letter", "dead_letter_topic": dead}, rotate={"every": "300ms"})
    config = lab.sluice.write([connector.settings])
    for rule in rules:
        kafka_tool("kafka-acls.sh", secured.kafka.brokers, *(names.put_into(word) for word in rule))
    assert rules_of(secured, names.user) == sorted([("GROUP", names.group, "READ"), ("TOPIC", topic, "READ"), ("TOPIC", dead, "WRITE")])
    checked = lab.sluice.run("check", "--config", config, seconds=60)
    assert checked.code == 0, checked
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it delivers", lambda: secured.topics.lag(connector.group, [topic]) == 0)
    assert [message.value() for message in secured.topics.records(dead)] == [b"no avro"]
    assert admin.not_ready() == {}

    # Each one in its turn is taken away: it is named, and no offset moves until it is back.
    needed = [("TOPIC", topic, "READ", "READ on the topic"), ("GROUP", names.group, "READ", "READ on the group"), ("TOPIC", dead, "WRITE", "WRITE")]
    for number, (kind, name, operation, word) in enumerate(needed):
        before = secured.topics.committed(connector.group, topic)
        secured.forbid(names.user, kind, name, operation)
        good += secured.topics.produce(topic, 0, values)
        secured.topics.produce(topic, 0, [b"no avro"])
        failed = until(f"{word} is missed", lambda: (said := admin.not_ready().get("orders", "")).startswith("failed") and said)
        assert f"allow {word}" in failed and name in failed, failed
        now = secured.topics.committed(connector.group, topic)
        # Without the last rule the records before the poison may still be delivered.
        assert now == before or word == "WRITE" and now[0] < secured.topics.end_offsets(topic)[0], (before, now)
        secured.allow(names.user, kind, name, operation)
        assert admin.post("/api/connectors/orders/restart").status < 300
        until("it goes on", lambda: secured.topics.lag(connector.group, [topic]) == 0)
        until("the dead letter is there", lambda number=number: len(secured.topics.records(dead)) >= number + 2)
    drain(daemon)
    assert_delivered(lake, topic, good)


def test_a_documented_rule_for_a_prefix_suffices_for_a_pattern_of_topics(lab: Lab, secured: Secured) -> None:
    found = re.search(r"`(--topic shop\.\S* --resource-pattern-type prefixed)`", (REPOSITORY / "docs/security.md").read_text(encoding="utf-8"))
    assert found, "docs/security.md says nothing of a prefix"
    prefix = f"{lab.name('shop')}."
    topics = [secured.topics.create(f"{prefix}{name}") for name in ("orders", "returns")]
    schema_id = lab.register(topics[0], SCHEMA)
    produced = {topic: secured.topics.produce(topic, 0, [framed(schema_id, encoded(SCHEMA, {"n": 1}))]) for topic in topics}
    user, lake = lab.name("user"), lab.local()
    kafka = {"topics_regex": "^" + re.escape(prefix) + ".*", "properties": secured.user(user)}
    connector = lab.connector(lake, kafka=kafka)
    rule = [prefix if word == "shop." else word for word in shlex.split(found[1])]
    kafka_tool("kafka-acls.sh", secured.kafka.brokers, "--add", "--allow-principal", f"User:{user}", "--operation", "Read", *rule)
    kafka_tool("kafka-acls.sh", secured.kafka.brokers, "--add", "--allow-principal", f"User:{user}", "--operation", "Read", "--group", connector.group)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    for topic in topics:
        assert_delivered(lake, topic, produced[topic])
