"""What an operator sees while a service or the disk is away: cause and advice, soon, and nothing any more when it is over."""

from __future__ import annotations

import re
from typing import Any

from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.lake import LocalLake
from harness.registry_gate import RegistryGate
from harness.sluice import drain
from harness.small_disk import small_disk
from harness.waiting import until
from services.process import free_port

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}


def events(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"event {number}"} for number in range(count)]


def troubles(admin: Admin, name: str) -> dict[str, str]:
    """What fails now, by stage, which metrics and the page must show as well."""
    shown = {one["stage"]: one["message"] for one in admin.connector(name)["troubles"]}
    if shown:
        metrics = admin.metrics()
        page = re.sub(r"&#39;|&quot;", "'", admin.ask("/").body)
        if {one["stage"] for one in admin.connector(name)["troubles"]} == set(shown):
            assert {stage for stage in shown if metrics.sum("sluice_in_trouble", connector=name, stage=stage) == 1} == set(shown)
            assert all(message.replace('"', "'") in page for message in shown.values()), page
    return shown


def test_fault_74_an_output_that_is_gone_or_full_is_seen_before_the_flush_ends(lab: Lab) -> None:
    topic = lab.topic("away")
    with small_disk(lab.folder / "disk", 8) as disk:
        root = disk.folder / "lake"
        root.mkdir()
        lake = LocalLake(root)
        connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, rotate={"rows": 10, "every": "1h"})
        config = lab.sluice.write([connector.settings])
        daemon, admin = lab.sluice.daemon(config), Admin.of(config)
        produced = lab.produce(topic, 0, EVENT, events(4))
        until("the flush is open", lambda: admin.metrics().sum("sluice_open_rows") == 4)
        assert troubles(admin, "orders") == {}
        root.rename(disk.folder / "elsewhere")
        gone = until("it is seen", lambda: troubles(admin, "orders"), 20)
        assert str(root) in gone["seal"] and "volume mounted" in gone["seal"], gone
        assert admin.ready(), "it has its partitions, and goes on by itself"
        (disk.folder / "elsewhere").rename(root)
        until("it is over", lambda: not troubles(admin, "orders"), 20)
        disk.fill()
        full = until("it is seen", lambda: troubles(admin, "orders"), 20)
        assert "room again" in full["seal"], full
        disk.make_room()
        until("it is over", lambda: not troubles(admin, "orders"), 20)
        produced |= lab.produce(topic, 0, EVENT, events(6))
        until("it is delivered", lambda: lab.topics.lag(connector.group, [topic]) == 0)
        drain(daemon)
        assert_delivered(lake, topic, produced)
        assert_sound(lake)


def test_a_registry_that_is_away_is_seen_and_passes(lab: Lab) -> None:
    topic, lake = lab.topic("unknown"), lab.local()
    produced = lab.produce(topic, 0, EVENT, events(10))
    away = True
    busy = (503, "application/json", b"{}")
    with RegistryGate(lab.stack.registry.url, answer=lambda _number, path: busy if away and "/schemas/" in path else None) as gate:
        connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, registry={"url": gate.url}, rotate={"rows": 10})
        config = lab.sluice.write([connector.settings])
        daemon, admin = lab.sluice.daemon(config), Admin.of(config)
        shown = until("it is seen", lambda: admin.connector("orders").get("troubles") and troubles(admin, "orders"), 30)
        assert gate.url in shown["schema"] and "503" in shown["schema"], shown
        away = False
        until("it is delivered", lambda: lab.topics.lag(connector.group, [topic]) == 0)
        until("it is over", lambda: not troubles(admin, "orders"), 20)
        drain(daemon)
    assert_delivered(lake, topic, produced)


def test_a_store_that_is_away_is_named_by_readiness_while_a_connector_starts(lab: Lab) -> None:
    store = lab.s3()
    options = {**store.options, "endpoint": f"http://127.0.0.1:{free_port()}"}
    connector = lab.connector(store, [lab.topic("early")], name="orders", kafka={"group": lab.name("orders")})
    config = lab.sluice.write([{**connector.settings, "storage": {"url": store.url, "options": options}}])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    shown = until("it is seen", lambda: admin.connector("orders").get("troubles") and troubles(admin, "orders"), 30)
    reason = admin.not_ready()["orders"]
    assert admin.state("orders") == "starting" and reason == f"starting: {shown['seal']}"
    assert options["endpoint"].removeprefix("http://") in reason, reason
    drain(daemon)
