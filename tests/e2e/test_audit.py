"""`sluice audit` beside records that become no row, and files that were changed."""

from __future__ import annotations

import json
import re
from typing import Any

from harness.lab import Lab
from harness.lake import LocalLake
from harness.registry import encoded, framed

SCHEMA: dict[str, Any] = {"type": "record", "name": "Thing", "fields": [{"name": "n", "type": "long"}]}
NO_ROW = {"tombstone": None, "skip": b"poison", "letter": b"poison"}


def test_files_are_contiguous_whatever_became_no_row(lab: Lab) -> None:
    """What makes no row comes first, in the middle and last, each in a flush of its own, with a restart between any two."""
    letters = lab.topic("dead")
    errors = {"tombstone": {}, "skip": {"on_poison": "skip"}, "letter": {"on_poison": "dead_letter", "dead_letter_topic": letters}}
    topics = {kind: lab.topic(kind) for kind in NO_ROW}
    lakes = {kind: lab.local() for kind in NO_ROW}
    connectors = {kind: lab.connector(lakes[kind], [topics[kind]], errors=errors[kind]) for kind in NO_ROW}
    good = {kind: framed(lab.register(topics[kind], SCHEMA), encoded(SCHEMA, {"n": 1})) for kind in NO_ROW}
    config = lab.sluice.write([connector.settings for connector in connectors.values()])
    for step in ("none", "rows", "none", "none", "rows", "none"):
        for kind in NO_ROW:
            lab.topics.produce(topics[kind], 0, [NO_ROW[kind] if step == "none" else good[kind]] * 3)
        lab.sluice.until_end(config)
        for kind in NO_ROW:
            assert lab.topics.lag(connectors[kind].group, [topics[kind]]) == 0
            report = audit(lab, lakes[kind], topics[kind], connectors[kind].group)
            assert report["ok"] and all(not partition["gaps"] for partition in report["partitions"]), (kind, step, report)
    for kind in NO_ROW:
        assert ranges(lakes[kind]) == [(0, 6), (6, 15)], kind
        last = max(lakes[kind].visible())
        lakes[kind].remove(last)
        report = audit(lab, lakes[kind], topics[kind], connectors[kind].group, code=1)
        spans = [(gap["start"], gap["end"]) for gap in report["partitions"][0]["gaps"]]
        assert spans == [(6, 15)], f"{kind}: a lost file in front of what became no row is found: {report}"


def test_a_topic_that_is_empty_needs_no_file(lab: Lab) -> None:
    topic, lake = lab.topic("empty"), lab.local()
    connector = lab.connector(lake, [topic])
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert audit(lab, lake, topic, connector.group)["none_due"]
    lab.produce(topic, 0, SCHEMA, [{"n": 1}])
    assert not audit(lab, lake, topic, connector.group, code=1)["ok"], "a record that nobody has read is there"


def test_a_changed_byte_is_found(lab: Lab) -> None:
    topic, lake = lab.topic("changed"), lab.local()
    lab.produce(topic, 0, SCHEMA, [{"n": n} for n in range(1000)])
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic]).settings]))
    sound = lab.sluice.run("audit", lake.url)
    assert sound.code == 0 and "every byte is as it was written" in sound.text, sound
    (path,) = lake.visible().values()
    whole = path.read_bytes()
    for at in range(7, len(whole), len(whole) // 10):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        found = lab.sluice.run("audit", lake.url)
        assert found.code == 1, f"byte {at} of {len(whole)}: {found}"


def audit(lab: Lab, lake: LocalLake, topic: str, group: str, code: int = 0) -> Any:
    """The report of `sluice audit`, held against the broker and the group."""
    broker = ["--property", f"bootstrap.servers={lab.stack.kafka.brokers}"]
    finished = lab.sluice.run("audit", lake.url, "--json", "--topic", topic, "--group", group, *broker)
    assert finished.code == code, finished
    return json.loads(finished.out)


def ranges(lake: LocalLake) -> list[tuple[int, int]]:
    """The offset ranges of the files' names."""
    found = (re.search(r"\+(\d{12})\+(\d{12})\.parquet$", name) for name in lake.visible())
    return sorted((int(match[1]), int(match[2])) for match in found if match)
