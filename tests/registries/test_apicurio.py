"""A real Apicurio 3: what its two APIs answer to a daemon that looks for schemas."""

from __future__ import annotations

from typing import Any

import pytest
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry import Reference, RegistryClient, encoded, framed
from harness.wires import Apicurio3Client
from harness.wires import apicurio as framed_by_apicurio
from services.apicurio import Apicurio

V1: dict[str, Any] = {"type": "record", "name": "Note", "namespace": "n", "fields": [{"name": "n", "type": "long"}]}
V2: dict[str, Any] = {**V1, "fields": [*V1["fields"], {"name": "text", "type": ["null", "string"], "default": None}]}
PAGE: dict[str, Any] = {"type": "record", "name": "Page", "fields": [{"name": "note", "type": "n.Note"}]}
WHOLE: dict[str, Any] = {**PAGE, "fields": [{"name": "note", "type": V1}]}
UNKNOWN = 987_654


def notes(count: int) -> list[tuple[int, dict[str, Any]]]:
    """Notes of two versions in turn."""
    return [(n % 2, {"n": n, "text": f"text {n}"} if n % 2 else {"n": n}) for n in range(count)]


def delivered(lab: Lab, topic: str, values: list[bytes], **settings: Any) -> Any:
    """The lake with these values."""
    lake = lab.local()
    positions = lab.topics.produce(topic, 0, values)
    lab.sluice.until_end(lab.sluice.write([lab.connector(lake, [topic], **settings).settings]))
    assert_delivered(lake, topic, positions)
    return lake


@pytest.mark.parametrize("ids", ["global", "content"])
@pytest.mark.parametrize("wire", ["apicurio", "confluent"])
def test_both_ids_by_version_3(lab: Lab, apicurio: Apicurio, ids: str, wire: str) -> None:
    client = Apicurio3Client(apicurio.url)
    # Their texts are known already by other artifacts, so that global and content ids go apart.
    for schema in (V1, V2):
        client.register(lab.name("same"), schema)
    known = [client.register(lab.name("note"), schema) for schema in (V1, V2)]
    assert all(of_version != of_text for of_version, of_text in known), known
    numbers = [each[ids == "content"] for each in known]
    frame = framed_by_apicurio if wire == "apicurio" else framed
    values = [frame(numbers[which], encoded((V1, V2)[which], note)) for which, note in notes(20)]
    registry = {"url": client.api, "api": "apicurio", "ids": ids}
    lake = delivered(lab, lab.topic("apicurio"), values, value={"wire": wire}, registry=registry)
    found = lake.duckdb().execute("select n, text from lake order by n").fetchall()
    assert found == [(n, f"text {n}" if n % 2 else None) for n in range(20)]


@pytest.mark.parametrize("group", ["default", "a group/of ours"])
def test_fault_38_references_by_version_3(lab: Lab, apicurio: Apicurio, group: str) -> None:
    client, artifact = Apicurio3Client(apicurio.url), lab.name("note")
    if group != "default":
        group = f"{group} {artifact}"
    quoted = group.replace(" ", "%20").replace("/", "%2F")
    client.register(artifact, V1, group=quoted)
    reference = {"groupId": group, "artifactId": artifact, "version": "1", "name": "n.Note"}
    number, _ = client.register(lab.name("page"), PAGE, [reference])
    values = [framed_by_apicurio(number, encoded(WHOLE, {"note": {"n": n}})) for n in range(5)]
    lake = delivered(lab, lab.topic("references"), values, value={"wire": "apicurio"}, registry={"url": client.api})
    assert [row["note"] for row in lake.rows()] == [{"n": n} for n in range(5)]


@pytest.mark.parametrize("version", ["v7", "v8"])
def test_confluents_api_with_references(lab: Lab, apicurio: Apicurio, version: str) -> None:
    url, subject = f"{apicurio.url}/apis/ccompat/{version}", lab.name("note")
    client = RegistryClient(url)
    numbers = [client.register(subject, V1), client.register(lab.name("page"), PAGE, [Reference("n.Note", subject, 1)])]
    values = [framed(numbers[1], encoded(WHOLE, {"note": {"n": n}})) for n in range(5)]
    lake = delivered(lab, lab.topic("ccompat"), values, registry={"url": url})
    assert [row["note"] for row in lake.rows()] == [{"n": n} for n in range(5)]


@pytest.mark.parametrize("path", ["registry/v3", "ccompat/v7"])
def test_fault_33_an_id_that_nobody_knows_is_poison(lab: Lab, apicurio: Apicurio, path: str) -> None:
    lake, topic = lab.local(), lab.topic("unknown")
    own = path.startswith("registry")
    number = Apicurio3Client(apicurio.url).register(lab.name("note"), V1)[1]
    good = framed(number, encoded(V1, {"n": 1}))
    lab.topics.produce(topic, 0, [good, framed(UNKNOWN, b"\x02"), good])
    registry = {"url": f"{apicurio.url}/apis/{path}", **({"api": "apicurio"} if own else {})}
    connector = lab.connector(lake, [topic], registry=registry, errors={"on_poison": "skip"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert [row["n"] for row in lake.rows()] == [1, 1]
