"""A real Prometheus scrapes sluice through a day of its life: the shipped alerts are silent while all is well and while an operator
pauses, flushes and reloads; each fires for its own trouble and goes out after it; every query of the shipped dashboard has data."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import QUICK_GROUP, Lab
from harness.load import EVENT, Load
from harness.prometheus import Prometheus, faster_rules
from harness.sluice import REPOSITORY, drain
from harness.waiting import until

MONITORING = REPOSITORY / "deploy/monitoring"
QUIET = 20
"""Seconds, that are minutes to the rules, without an alert."""


def dashboard_queries() -> dict[str, str]:
    """Title and place of each query of the dashboard, as Grafana would ask it with everything selected."""
    panels = json.loads((MONITORING / "grafana-dashboard.json").read_text())["panels"]
    filled = {}
    for panel in panels:
        for place, target in enumerate(panel.get("targets", [])):
            query = target["expr"].replace("$__rate_interval", "5s").replace("$job", ".*").replace("$connector", ".*")
            filled[f"{panel['title']} {place} ({target['expr']})"] = query
    return filled


@pytest.mark.timeout(600)
def test_alerts_and_dashboard_tell_the_story_of_a_day(lab: Lab, tmp_path: Path) -> None:
    topic, dead, lake, strict_lake = lab.topic("day", 2), lab.topic("dead"), lab.s3(), lab.s3()
    strict_topic = lab.topic("strict", 1)
    proxy = lab.name("s3")
    endpoint = {"endpoint": f"http://127.0.0.1:{lab.stack.toxiproxy.proxy(proxy, lab.stack.minio.port)}"}
    rotate = {"rows": 200, "every": "2s"}
    orders = lab.connector(
        lake,
        [topic],
        name="orders",
        kafka={"group": lab.name("orders"), "properties": QUICK_GROUP},
        storage={"options": {**lake.options, **endpoint}},
        rotate=rotate,
        errors={"on_poison": "dead_letter", "dead_letter_topic": dead},
    )
    strict = lab.connector(strict_lake, [strict_topic], name="strict", kafka={"group": lab.name("strict"), "properties": QUICK_GROUP}, rotate=rotate)
    settings = [orders.settings, strict.settings]
    config = lab.sluice.write(settings)
    listen = {"daemon": {"listen": Admin.of(config).base.removeprefix("http://")}}
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    rules = (MONITORING / "alerts.yaml").read_text()
    prometheus = Prometheus(tmp_path / "prometheus", listen["daemon"]["listen"], faster_rules(rules))
    try:
        strict_records = lab.produce(strict_topic, 0, EVENT, [{"n": n, "text": "strict"} for n in range(100)])
        with Load(lab, topic).running() as load:
            all_is_well(prometheus, admin)
            an_operator_at_work(prometheus, admin, lambda: lab.sluice.write([{**orders.settings, "rotate": {"rows": 150, "every": "2s"}}, strict.settings], **listen))
            silence = prometheus.over_time("ALERTS", 600)
            assert not silence, f"an alert while all was well: {prometheus.ask('query', query='ALERTS')}"

            # A record that nobody can read: one connector sets it aside, the other stops.
            lab.topics.produce(topic, 0, [b"\0\0\0\0\1"])
            lab.topics.produce(strict_topic, 0, [b"nonsense"])
            fires(prometheus, "SluicePoison", "orders")
            fires(prometheus, "SluiceConnectorFailed", "strict")
            assert "orders" not in prometheus.alerts().get("SluiceConnectorFailed", set()), "the other one runs on"

            # The configuration on disk is broken.
            good = config.read_text()
            config.write_text(good + "nonsense: 1\n")
            assert admin.post("/api/reload").status >= 400
            fires(prometheus, "SluiceConfigurationRefused", "")

            # The store is away, and much comes in.
            lab.stack.toxiproxy.enable(proxy, False)
            bulk = lab.produce(topic, 1, EVENT, [{"n": n, "text": "bulk"} for n in range(12_000)])
            fires(prometheus, "SluiceServiceInTrouble", "orders")
            fires(prometheus, "SluiceDataLate", "orders")
            fires(prometheus, "SluiceFallingBehind", "orders")

            # All is mended.
            lab.stack.toxiproxy.enable(proxy, True)
            skipping = {**strict.settings, "errors": {"on_poison": "skip"}}
            lab.sluice.write([orders.settings, skipping], **listen)
            until("the reload is taken", lambda: admin.post("/api/reload").status == 200)
            until("no alert is left", lambda: not prometheus.alerts() and not prometheus.alerts("pending"), 180)
        fired = {series["alertname"] for series, _ in prometheus.values("count by (alertname) (max_over_time(ALERTS{alertstate='firing'}[30m]))")}
        assert fired == {"SluicePoison", "SluiceConnectorFailed", "SluiceConfigurationRefused", "SluiceServiceInTrouble", "SluiceDataLate", "SluiceFallingBehind"}
        empty = [title for title, query in dashboard_queries().items() if not prometheus.over_time(query, 600)]
        assert not empty, f"no data in: {empty}"
        until("lag is 0", lambda: lab.topics.lag(orders.group, [topic]) == 0 and lab.topics.lag(strict.group, [strict_topic]) == 0, 90)
        drain(daemon)
        until("Prometheus sees that it is gone", lambda: prometheus.values("up")[0][1] == 0)
    finally:
        prometheus.close()
    assert_delivered(lake, topic, load.produced | bulk)
    assert_delivered(strict_lake, strict_topic, strict_records)
    assert_sound(lake)


def all_is_well(prometheus: Prometheus, admin: Admin) -> None:
    """Data flows for a while, and Prometheus and the status API agree."""
    until("it is scraped", lambda: prometheus.values("up") and prometheus.values("up")[0][1] == 1)
    until("files come", lambda: sum(value for _, value in prometheus.values("sluice_files_total")) >= 4)
    until("it was looked at for long enough", lambda: len(prometheus.over_time("up == 1", 600)) > QUIET, 120)
    assert {series["connector"]: series["state"] for series, value in prometheus.values("sluice_connector_state == 1")} == {"orders": "running", "strict": "running"}
    assert admin.ready()


def an_operator_at_work(prometheus: Prometheus, admin: Admin, change: Callable[[], Any]) -> None:
    """Pause, flush, resume and a reload with a change; each is to be seen in Prometheus."""

    def seen(query: str) -> float:
        return sum(value for _, value in prometheus.values(query))

    admin.post("/api/connectors/orders/pause")
    until("it is seen to be paused", lambda: seen('sluice_paused_partitions{connector="orders"}') == 2)
    admin.post("/api/connectors/orders/flush")
    until("the flush is seen", lambda: seen('sluice_open_rows{connector="orders"}') == 0)
    admin.post("/api/connectors/orders/resume")
    until("it is seen to go on", lambda: seen('sluice_paused_partitions{connector="orders"}') == 0)
    change()
    assert admin.post("/api/reload").status == 200
    files = seen("sluice_files_total")
    until("it is seen to write with its new settings", lambda: admin.ready() and seen("sluice_files_total") > files)
    assert seen("sluice_config_last_reload_successful") == 1


def fires(prometheus: Prometheus, alert: str, connector: str) -> None:
    """Waits for an alert of a connector."""
    until(f"{alert} fires for {connector!r}", lambda: connector in prometheus.alerts().get(alert, set()), 120)
