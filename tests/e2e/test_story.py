"""While services fail under load, metrics, API, page and log tell within ten seconds what is going on; afterwards they agree with
the audit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from faults.s3_gate import Plan, S3Gate, refused
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.lake import Lake, LocalLake
from harness.load import Load
from harness.sluice import drain
from harness.small_disk import small_disk
from harness.waiting import until
from services.process import free_port

TOLD_WITHIN_S = 10
"""The product's own promise, and not a wait of the test: what is not told by then is told too late. It counts from when there are records to
tell of, since how fast they are produced is up to the test."""


@pytest.mark.timeout(300)
def test_metrics_page_and_log_tell_the_same_story_as_the_audit(lab: Lab) -> None:
    topic, lake = lab.topic("story", 2), lab.s3()
    proxy = lab.name("s3")
    port = lab.stack.toxiproxy.proxy(proxy, lab.stack.minio.port)
    storage = {"options": {**lake.options, "endpoint": f"http://127.0.0.1:{port}"}}
    connector = lab.connector(lake, [topic], name="story", kafka={"group": lab.name("story"), "properties": QUICK_GROUP}, storage=storage, rotate={"rows": 50, "every": "1s"})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    with Load(lab, topic).running() as load:
        until("files come", lambda: len(lake.files()) >= 4)

        # The store is away.
        lab.stack.toxiproxy.enable(proxy, False)
        load.more(200)
        told("retries are counted at the store's stages", lambda: retries(admin, "seal") + retries(admin, "publish") > 0)
        told("requests without an answer are counted", lambda: admin.metrics().sum("sluice_store_requests_total", outcome="no_answer") > 0)
        told("the API names the stage", lambda: last_error(admin)["stage"] in ("seal", "publish") and last_error(admin)["kind"] == "retriable")
        told("the page says what to look at", lambda: "look at the store" in admin.ask("/").body)
        told("the log has a line", lambda: 'stage="seal"' in daemon.log.read_text() or 'stage="publish"' in daemon.log.read_text())
        told("the lag grows", lambda: admin.metrics().sum("sluice_lag_records") > 100)
        assert admin.state("story") == "running", "it waits, it does not fail"
        files = len(lake.files())
        lab.stack.toxiproxy.enable(proxy, True)
        until("files come again", lambda: len(lake.files()) > files, 60)

        # The broker is away.
        answered = admin.metrics().sum("sluice_records_total")
        lab.stack.kafka.stop()
        try:
            told("the log names the broker's absence", lambda: "kafka: " in daemon.log.read_text())
            told("nothing comes in", lambda: still(lambda: admin.metrics().sum("sluice_records_total")))
        finally:
            lab.stack.kafka.start()
            lab.stack.kafka.wait_ready()
        until("records come again", lambda: admin.metrics().sum("sluice_records_total") > answered, 90)
    until("lag is 0", lambda: lab.topics.lag(connector.group, [topic]) == 0, 90)
    told("the metrics say so", lambda: admin.metrics().sum("sluice_lag_records") == 0 and admin.metrics().largest("sluice_lag_seconds") == 0)
    told("nothing is open", lambda: admin.metrics().sum("sluice_open_rows") == 0)
    page = admin.metrics()
    shown = admin.connector("story")
    drain(daemon)
    audit = lab.sluice.run("audit", lake.url, "--json", *(word for key, value in lake.options.items() for word in ("--option", f"{key}={json.dumps(value).strip(chr(34))}")))
    assert audit.code == 0, audit
    report = json.loads(audit.out)
    assert report["rows"] == len(load.produced) == page.sum("sluice_rows_total"), (report["rows"], len(load.produced))
    assert report["files"] == page.sum("sluice_files_total") == page.sum("sluice_file_size_bytes_count")
    assert report["bytes"] == page.sum("sluice_file_bytes_total")
    committed = {(one["topic"], one["partition"]): one["committed"] for one in shown["partitions"]}
    assert committed == {(one["topic"], one["partition"]): one["offsets"]["end"] for one in report["partitions"]}
    assert {file["path"] for file in shown["last_files"]} <= {file.name for file in lake.files()}
    assert_delivered(lake, topic, load.produced)
    assert_sound(lake)


@pytest.mark.timeout(300)
def test_errors_of_the_store_and_a_full_disk_are_told_as_they_are(lab: Lab, tmp_path: Path) -> None:
    topic, bucket = lab.topic("story", 2), lab.s3()
    with small_disk(tmp_path / "disk", 8) as disk, S3Gate(lab.stack.minio.port) as gate:
        lakes: dict[str, Lake] = {"disk": LocalLake(disk.folder), "bucket": bucket}
        storage: dict[str, dict[str, Any]] = {"disk": {}, "bucket": {"options": {**bucket.options, "endpoint": gate.url}}}
        connectors = {
            name: lab.connector(lake, [topic], name=name, kafka={"group": lab.name(name), "properties": QUICK_GROUP}, storage=storage[name], rotate={"rows": 50, "every": "1s"})
            for name, lake in lakes.items()
        }
        config = lab.sluice.write([one.settings for one in connectors.values()], daemon={"listen": f"127.0.0.1:{free_port()}"})
        daemon, admin = lab.sluice.daemon(config), Admin.of(config)
        with Load(lab, topic).running() as load:
            until("files come", lambda: all(len(lake.files()) >= 4 for lake in lakes.values()))
            disk.fill()
            gate.plans[bucket.prefix.split("/")[0]] = Plan("put", refused(503, "SlowDown"), 1_000_000)
            load.more(200)
            for name, word in TROUBLE.items():
                assert_trouble_is_told(admin, daemon.log, name, word)
            told("requests that the store refused are counted", lambda: admin.metrics().sum("sluice_store_requests_total", connector="bucket", outcome="busy") > 0)
            page = admin.ask("/").body
            assert all(word in page for word in TROUBLE.values()), "the page says what is the matter"
            seen = {name: len(lake.files()) for name, lake in lakes.items()}
            assert seen == {name: admin.metrics().sum("sluice_files_total", connector=name) for name in lakes}, "what is counted is what is there"
            assert admin.ready() and {admin.state(name) for name in lakes} == {"running"}, "they wait, they do not fail"
            disk.make_room()
            gate.plans.clear()
            until("files come again", lambda: all(len(lake.files()) > seen[name] for name, lake in lakes.items()), 90)
        until("lag is 0", lambda: all(lab.topics.lag(one.group, [topic]) == 0 for one in connectors.values()), 90)
        told("the metrics say so", lambda: admin.metrics().sum("sluice_lag_records") == 0 and admin.metrics().sum("sluice_open_rows") == 0)
        page_of_metrics = admin.metrics()
        drain(daemon)
        for name, lake in lakes.items():
            audit = lab.sluice.run("audit", lake.url, "--json", *lake.options_of_commands())
            assert audit.code == 0, audit
            report = json.loads(audit.out)
            assert report["rows"] == len(load.produced) == page_of_metrics.sum("sluice_rows_total", connector=name)
            assert report["files"] == page_of_metrics.sum("sluice_files_total", connector=name)
            assert report["bytes"] == page_of_metrics.sum("sluice_file_bytes_total", connector=name)
            assert_delivered(lake, topic, load.produced)
            assert_sound(lake)


TROUBLE = {"disk": "room", "bucket": "SlowDown"}
"""A word of what each connector must say."""


def assert_trouble_is_told(admin: Admin, log: Path, name: str, word: str) -> None:
    """Metrics, API and log say within the promised time that a connector waits, and why."""
    told(f"{name}: retries are counted", lambda: admin.metrics().sum("sluice_retries_total", connector=name) > 0)
    told(f"{name}: errors are counted", lambda: admin.metrics().sum("sluice_errors_total", connector=name, kind="retriable") > 0)
    told(f"{name}: the API says why", lambda: word in ((admin.connector(name).get("last_error") or {}).get("message", "")))
    told(f"{name}: the log says why", lambda: any(word in line["message"] and "stage" in line for line in warnings(log, name)))
    told(f"{name}: the lag grows", lambda: admin.metrics().sum("sluice_lag_records", connector=name) > 100)


def warnings(log: Path, name: str) -> list[dict[str, Any]]:
    """The warnings of a connector in a log of JSON."""
    lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
    return [line for line in lines if line.get("connector") == name and line["level"] == "WARN"]


def told(what: str, condition: Any) -> None:
    until(what, condition, TOLD_WITHIN_S)


def still(value: Any) -> bool:
    """Whether a value is the same at three looks in a row."""
    first = value()
    return all(value() == first for _ in range(3))


def retries(admin: Admin, stage: str) -> float:
    return admin.metrics().sum("sluice_retries_total", stage=stage)


def last_error(admin: Admin) -> dict[str, Any]:
    return admin.connector("story").get("last_error") or {"stage": "", "kind": ""}
