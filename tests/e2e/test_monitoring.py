"""Rules and dashboard name metrics that exist, in queries that Prometheus understands."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from harness.admin import Admin
from harness.lab import Lab
from harness.sluice import REPOSITORY
from harness.waiting import until
from services.tools import output, promtool

MONITORING = REPOSITORY / "deploy/monitoring"
ALERTS = MONITORING / "alerts.yaml"
DASHBOARD = MONITORING / "grafana-dashboard.json"
EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}]}


def alert_rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def dashboard_queries() -> list[str]:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", [])]


def test_prometheus_understands_the_rules_and_they_fire_when_they_should() -> None:
    output([promtool(), "check", "rules", "--lint=all", "--lint-fatal", ALERTS])
    output([promtool(), "test", "rules", MONITORING / "alerts_test.yaml"])


def test_prometheus_understands_every_query_of_the_dashboard(tmp_path: Path) -> None:
    queries = dashboard_queries()
    assert len(queries) > 25
    rules = [
        {"record": f"panel:{number}", "expr": query.replace("$__rate_interval", "5m").replace("$job", ".*").replace("$connector", ".*")}
        for number, query in enumerate(queries)
    ]
    path = tmp_path / "queries.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": rules}]}))
    output([promtool(), "check", "rules", path])


def test_every_metric_in_rules_and_dashboard_exists_and_the_page_is_what_prometheus_reads(lab: Lab) -> None:
    topic, lake = lab.topic("metrics", 2), lab.s3()
    connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, rotate={"rows": 5, "every": "1h"})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    for partition in range(2):
        lab.produce(topic, partition, EVENT, [{"n": n} for n in range(7)])
    until("both are committed", lambda: sum(lab.topics.committed(connector.group, topic).values()) == 10)
    until("all is counted", lambda: admin.metrics().sum("sluice_commits_total", outcome="ok") >= 4 and admin.metrics().sum("sluice_lag_records") == 4)
    page = admin.metrics()
    (lab.folder / "metrics.txt").write_text(page.text)
    checked = output(["sh", "-c", f"'{promtool()}' check metrics < '{lab.folder}/metrics.txt'"])
    assert checked.strip() == "", checked
    known = page.names()
    known |= {f"{name}_{suffix}" for name in known for suffix in ("bucket", "sum", "count")}
    text = [rule["expr"] for rule in alert_rules()] + dashboard_queries()
    text += re.findall(r"`((?:sluice|process)_\w+)", (REPOSITORY / "docs/operations.md").read_text())
    named = {name for query in text for name in re.findall(r"\b(?:sluice|process)_\w+", query)}
    assert named <= known, f"no such metric: {sorted(named - known)}"
    # And they tell the truth about what was done.
    assert page.sum("sluice_records_total", connector="orders") == 14
    assert page.sum("sluice_rows_total") == 10 and page.sum("sluice_files_total") == 2
    assert page.sum("sluice_rotations_total", reason="rows") == 2
    assert page.sum("sluice_file_size_bytes_count") == 2
    assert page.sum("sluice_file_size_bytes_sum") == page.sum("sluice_file_bytes_total") == sum(file.path.stat().st_size for file in lake.files())
    assert page.sum("sluice_commit_seconds_count") == page.sum("sluice_commits_total")
    assert page.sum("sluice_seal_seconds_count") == page.sum("sluice_publish_step_seconds_count") == 2
    assert page.sum("sluice_store_requests_total", operation="put", outcome="ok") >= 2
    assert page.sum("sluice_lag_records") == 4 and page.largest("sluice_lag_seconds") > 0
    assert page.sum("sluice_open_rows") == 4 and page.largest("sluice_oldest_unflushed_age_seconds") > 0
    admin.post("/api/connectors/orders/pause")
    until("both are paused", lambda: admin.metrics().sum("sluice_paused_partitions") == 2)
    admin.post("/api/connectors/orders/flush")
    until("a flush empties it, also while it is paused", lambda: admin.metrics().sum("sluice_lag_records") == 0)
    admin.post("/api/connectors/orders/resume")
    until("it runs again", lambda: admin.metrics().sum("sluice_paused_partitions") == 0)
    daemon.signal(15)
    assert daemon.wait_end(60) == 0


def test_every_alert_has_a_word_in_the_manual() -> None:
    manual = (REPOSITORY / "docs/operations.md").read_text()
    missing = [rule["alert"] for rule in alert_rules() if f"`{rule['alert']}`" not in manual]
    assert not missing, missing
