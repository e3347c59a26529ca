"""While services fail under load, metrics, API, page and log tell within ten seconds what is going on; afterwards they agree with
the audit."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.sluice import drain
from harness.waiting import until

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
TOLD_WITHIN_S = 10
"""The product's own promise, and not a wait of the test: what is not told by then is told too late."""


class Load:
    """Produces to two partitions until it is told to stop; a broker that is away is waited for."""

    def __init__(self, lab: Lab, topic: str):
        self.lab, self.topic = lab, topic
        self.produced: dict[tuple[int, int], Any] = {}
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            turn = 0
            while not self._stop.wait(0.1):
                turn += 1
                records = [{"n": turn, "text": f"record {turn} {number}"} for number in range(20)]
                self.produced |= self.lab.produce(self.topic, turn % 2, EVENT, records, enable_idempotence=True, message_timeout_ms=120000)
        except BaseException as error:  # noqa: BLE001
            self.error = error

    @contextmanager
    def running(self) -> Iterator[Load]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(150)
        assert self.error is None, self.error


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
