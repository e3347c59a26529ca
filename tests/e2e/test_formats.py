"""Wire formats: each is written by code of its own, read by the daemon, and found again in Parquet."""

from __future__ import annotations

import json
import struct
import uuid
from typing import Any

import pytest
from harness.delivery import assert_delivered
from harness.lab import Lab
from harness.registry import encoded, framed
from harness.registry_gate import RegistryGate, Reply
from harness.wires import ApicurioClient, Glue, apicurio, glue, single_object

V1: dict[str, Any] = {"type": "record", "name": "Note", "namespace": "n", "fields": [{"name": "n", "type": "long"}]}
V2: dict[str, Any] = {**V1, "fields": [*V1["fields"], {"name": "text", "type": ["null", "string"], "default": None}]}


def notes(count: int) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """Notes of two versions in turn, each with its schema."""
    return [(V2, {"n": n, "text": f"text {n}"}) if n % 2 else (V1, {"n": n}) for n in range(count)]


def expected(count: int) -> list[tuple[int, str | None]]:
    return [(n, f"text {n}" if n % 2 else None) for n in range(count)]


def assert_notes(lake: Any, count: int) -> None:
    assert lake.duckdb().execute("select n, text from lake order by n").fetchall() == expected(count)


def apicurio_client(lab: Lab) -> ApicurioClient:
    return ApicurioClient(lab.stack.registry.url.removesuffix("/apis/ccompat/v6"))


@pytest.mark.parametrize("ids", ["global", "content"])
def test_apicurios_ids_of_eight_bytes(lab: Lab, ids: str) -> None:
    topic, lake, client = lab.topic("apicurio"), lab.local(), apicurio_client(lab)
    known = {id(schema): client.register(lab.name("note"), schema) for schema in (V1, V2)}
    values = [apicurio(known[id(schema)][ids == "content"], encoded(schema, note)) for schema, note in notes(40)]
    positions = lab.topics.produce(topic, 0, values)
    registry = {"url": client.api, **({"ids": ids} if ids == "content" else {})}
    connector = lab.connector(lake, [topic], value={"wire": "apicurio"}, registry=registry)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions)
    assert_notes(lake, 40)


def test_apicurios_ids_of_four_bytes_look_like_confluents(lab: Lab) -> None:
    topic, lake, client = lab.topic("apicurio-4"), lab.local(), apicurio_client(lab)
    known = {id(schema): client.register(lab.name("note"), schema) for schema in (V1, V2)}
    lab.topics.produce(topic, 0, [framed(known[id(schema)][1], encoded(schema, note)) for schema, note in notes(40)])
    connector = lab.connector(lake, [topic], registry={"url": client.api, "api": "apicurio"})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_notes(lake, 40)


def test_fault_38_apicurios_references_are_resolved(lab: Lab) -> None:
    topic, lake, client = lab.topic("references"), lab.local(), apicurio_client(lab)
    artifact = lab.name("note")
    client.register(artifact, V1)
    page = {"type": "record", "name": "Page", "fields": [{"name": "note", "type": "n.Note"}]}
    reference = {"groupId": None, "artifactId": artifact, "version": "1", "name": "n.Note"}
    number, _ = client.register(lab.name("page"), page, [reference])
    whole = {**page, "fields": [{"name": "note", "type": V1}]}
    lab.topics.produce(topic, 0, [apicurio(number, encoded(whole, {"note": {"n": n}})) for n in range(5)])
    connector = lab.connector(lake, [topic], value={"wire": "apicurio"}, registry={"url": client.api})
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert [row["note"] for row in lake.rows()] == [{"n": n} for n in range(5)]


def test_single_objects_find_their_schema_by_fingerprint(lab: Lab) -> None:
    topic, lake = lab.topic("single"), lab.local()
    (lab.sluice.folder / "schemas").mkdir()
    for name, schema in [("v1", V1), ("v2", V2)]:
        (lab.sluice.folder / f"schemas/{name}.avsc").write_text(json.dumps({**schema, "doc": "not in the fingerprint"}))
    foreign = {**V1, "name": "Foreign"}
    values = [single_object(schema, encoded(schema, note)) for schema, note in notes(40)]
    positions = lab.topics.produce(topic, 0, [*values, single_object(foreign, b"\x02"), b"\xc3\x02", framed(1, b"")])
    letters = lab.topic("dead")
    errors = {"on_poison": "dead_letter", "dead_letter_topic": letters}
    connector = lab.connector(
        lake, [topic], registry=None, value={"wire": "single_object", "schema_files": ["schemas"]}, errors=errors
    )
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions[:40])
    assert_notes(lake, 40)
    reasons = [dict(message.headers())["sluice.reason"].decode() for message in lab.topics.records(letters)]
    assert "no schema file has the fingerprint crc64:" in reasons[0]
    assert "0x02" in reasons[1] and "0x00 instead of 0xc3" in reasons[2]


def test_glues_header_plain_and_compressed(lab: Lab) -> None:
    topic, lake, letters = lab.topic("glue"), lab.local(), lab.topic("dead")
    versions = {uuid.uuid4(): V1, uuid.uuid4(): V2}
    by_schema = {id(schema): version for version, schema in versions.items()}
    values = [glue(by_schema[id(schema)], encoded(schema, note), note["n"] % 3 == 0) for schema, note in notes(40)]
    bomb = glue(next(iter(versions)), bytes(100 << 20), True)
    positions = lab.topics.produce(topic, 0, [*values, glue(uuid.uuid4(), b"\x02"), bomb, b"\x03\x04" + bytes(16)])
    with Glue(versions) as service:
        connector = lab.connector(
            lake,
            [topic],
            value={"wire": "glue"},
            registry={"url": service.url, "region": "eu-central-1"},
            errors={"on_poison": "dead_letter", "dead_letter_topic": letters},
        )
        config = lab.sluice.write([connector.settings])
        credentials = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "never-shown-secret"}
        finished = lab.sluice.run("run", "--config", config, "--until-end", environment=credentials)
    assert finished.code == 0, finished
    assert "never-shown" not in finished.text
    assert_delivered(lake, topic, positions[:40])
    assert_notes(lake, 40)
    reasons = [dict(message.headers())["sluice.reason"].decode() for message in lab.topics.records(letters)]
    assert "no schema with id uuid:" in reasons[0] and "inflated" in reasons[1] and "0x04" in reasons[2]
    assert all(request["authorization"].startswith("AWS4-HMAC-SHA256 Credential=AKID/") for request in service.requests)


def test_ids_in_headers_of_confluent_and_apicurio(lab: Lab) -> None:
    topic, lake, client = lab.topic("headers"), lab.local(), apicurio_client(lab)
    global_id, content_id = client.register(lab.name("note"), V1)
    by_header = [("apicurio.value.globalId", struct.pack(">q", global_id)), ("apicurio.value.contentId", struct.pack(">q", content_id))]
    messages = [{"value": encoded(V1, {"n": n}), "partition": 0, "headers": [by_header[n % 2]]} for n in range(10)]
    positions = lab.topics.produce_messages(topic, messages)
    registry = {"url": client.api, "api": "apicurio"}
    connector = lab.connector(lake, [topic], value={"wire": "header"}, registry=registry)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions)
    assert [row["n"] for row in lake.rows()] == list(range(10))


def test_numbers_and_guids_in_confluents_header_beside_ids_in_front(lab: Lab) -> None:
    topic, lake = lab.topic("confluent-header"), lab.local()
    number, guid = lab.register(topic, V1), uuid.uuid4()

    def by_guid(_number: int, path: str) -> Reply | None:
        body = json.dumps({"schema": json.dumps(V1), "schemaType": "AVRO", "guid": str(guid)}).encode()
        return (200, "application/json", body) if path == f"/schemas/guids/{guid}" else None

    datums = [encoded(V1, {"n": n}) for n in range(4)]
    messages = [
        {"value": datums[0], "headers": [("__value_schema_id", struct.pack(">bI", 0, number))]},
        {"value": datums[1], "headers": [("__value_schema_id", b"\x01" + guid.bytes)]},
        {"value": framed(number, datums[2])},
        {"value": datums[3], "headers": [("__value_schema_id", b"\x07")]},
    ]
    positions = lab.topics.produce_messages(topic, [{**message, "partition": 0} for message in messages])
    with RegistryGate(lab.stack.registry.url, answer=by_guid) as gate:
        connector = lab.connector(
            lake, [topic], value={"wire": "header"}, registry={"url": gate.url}, errors={"on_poison": "skip"}
        )
        finished = lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert_delivered(lake, topic, positions[:3])
    assert "__value_schema_id" in finished.text and "0x07" in finished.text


def test_a_topic_without_ids_is_read_with_a_schema_file(lab: Lab) -> None:
    topic, lake = lab.topic("bare"), lab.local()
    (lab.sluice.folder / "note.avsc").write_text(json.dumps(V1))
    lab.topics.produce(topic, 0, [encoded(V1, {"n": n}) for n in range(10)])
    value = {"wire": "none", "schema_file": "note.avsc"}
    connector = lab.connector(lake, [topic], registry=None, value=value)
    lab.sluice.until_end(lab.sluice.write([connector.settings]))
    assert [row["n"] for row in lake.rows()] == list(range(10))
