"""The status page in a real browser: tables without scripts, buttons that work, a phone, the dark.

`SLUICE_SCREENSHOTS=FOLDER` keeps pictures of it.
"""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from harness.admin import Admin
from harness.lab import Lab
from harness.sluice import drain
from harness.waiting import until
from playwright.sync_api import Browser, Page, sync_playwright
from services.tools import chromium

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1200, "height": 900}


@contextmanager
def browser() -> Iterator[Browser]:
    """A headless Chromium."""
    folder = chromium()
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder / "lib"), "FONTCONFIG_PATH": str(folder / "fonts")}
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=str(folder / "chromium"), args=["--no-sandbox", "--disable-gpu", "--headless=old"], env=environment
        )
        try:
            yield started
        finally:
            started.close()


def picture(page: Page, name: str) -> None:
    if folder := os.environ.get("SLUICE_SCREENSHOTS"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


def test_an_operator_sees_and_steers_with_a_browser_without_scripts(lab: Lab) -> None:
    topic, bad, lake = lab.topic("orders", 3), lab.topic("returns"), lab.local()
    orders = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, rotate={"rows": 2000, "every": "1h"})
    returns = lab.connector(lab.local(), [bad], name="returns", kafka={"group": lab.name("returns")})
    config = lab.sluice.write([orders.settings, returns.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    for partition in range(3):
        lab.produce(topic, partition, EVENT, [{"n": n, "text": "x" * 50} for n in range(2500 + 700 * partition)])
    lab.topics.produce(bad, 0, [b"no avro"])
    until("one has failed", lambda: admin.state("returns") == "failed")
    until("files are there", lambda: len(lake.files()) == 3)
    until("all is read", lambda: admin.metrics().sum("sluice_records_total", connector="orders") == 9600)
    # Two points make a line.
    until("there is something to plot", lambda: re.search(r'points="[0-9.,]+ [0-9]', admin.ask("/").body))
    with browser() as chrome:
        context = chrome.new_context(viewport=DESK, java_script_enabled=False)
        page = context.new_page()
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url))
        page.goto(f"{admin.base}/?refresh=off")
        assert asked == [f"{admin.base}/?refresh=off"], "the page loads something else"
        section = page.locator("section", has=page.get_by_role("heading", name="orders", exact=True))
        rows = [[cell.inner_text() for cell in row.locator("td").all()] for row in section.locator("table").first.locator("tr").all()[1:]]
        assert [row[0] for row in rows] == [f"{topic}[{partition}]" for partition in range(3)]
        assert [row[3].replace("\u202f", "") for row in rows] == ["500", "1200", "1900"], "lag"
        assert section.locator("svg polyline").count() == 4
        assert page.get_by_text("1 of 2 not ready").is_visible()
        failed = page.locator("section", has=page.get_by_role("heading", name="returns", exact=True))
        assert "poison record" in failed.locator(".alarm").inner_text()
        assert "errors.on_poison" in failed.locator("table").last.inner_text()
        picture(page, "status-light")
        # A file's footer, and back.
        section.locator("a", has_text=".parquet").first.click()
        assert '"sluice.topic"' in page.locator("pre").inner_text() or topic in page.locator("pre").inner_text()
        page.get_by_text("Back").click()
        # Buttons.
        press(page, "orders", "Pause")
        until("it is paused", lambda: admin.state("orders") == "paused")
        press(page, "orders", "Flush")
        until("the open flushes are files", lambda: len(lake.files()) == 6)
        press(page, "orders", "Resume")
        until("it runs", lambda: admin.state("orders") == "running")
        press(page, "returns", "Restart")
        until("it was started again, and failed again", lambda: daemon.log.read_text().count("connector failed") == 2)
        page.get_by_role("button", name="Reload configuration").click()
        until("it was reloaded", lambda: admin.metrics().sum("sluice_config_reloads_total", result="ok") == 1)
        page.locator("select").select_option("debug")
        page.get_by_role("button", name="Set log level").click()
        assert admin.ask("/api/log").json() == {"level": "debug"}
        page.close()
        # A phone, in the dark.
        context = chrome.new_context(viewport=PHONE, color_scheme="dark", java_script_enabled=False, device_scale_factor=2)
        page = context.new_page()
        page.goto(f"{admin.base}/?refresh=off")
        width = page.locator("body").bounding_box()
        assert width is not None and width["width"] <= PHONE["width"], "the page is wider than the phone"
        for box in [button.bounding_box() for button in page.get_by_role("button").all()]:
            assert box is not None and box["height"] >= 32 and box["x"] + box["width"] <= PHONE["width"], "a button is too small, or outside"
        picture(page, "status-dark-phone")
        context = chrome.new_context()
        assert brightness(context.new_page(), admin) > 128
        context = chrome.new_context(color_scheme="dark")
        assert brightness(context.new_page(), admin) < 128
    drain_failed(daemon, admin)


def press(page: Page, connector: str, word: str) -> None:
    section = page.locator("section", has=page.get_by_role("heading", name=connector, exact=True))
    section.get_by_role("button", name=word, exact=True).click()
    assert page.get_by_role("heading", name="sluice").is_visible(), "the button does not lead back"


def brightness(page: Page, admin: Admin) -> float:
    """Of the colour that the page is painted on, 0 to 255."""
    page.goto(f"{admin.base}/?refresh=off")
    picture = page.screenshot(type="png", clip={"x": 2, "y": 2, "width": 1, "height": 1})
    at, data = 8, b""
    while at < len(picture):
        length = int.from_bytes(picture[at : at + 4])
        data += picture[at + 8 : at + 8 + length] if picture[at + 4 : at + 8] == b"IDAT" else b""
        at += length + 12
    # One row: its filter, then red, green and blue of one pixel.
    return sum(zlib.decompress(data)[1:4]) / 3


def drain_failed(daemon: Any, admin: Admin) -> None:
    """A connector has failed (again, after a restart); the rest is drained, which is what was asked for."""
    until("it has failed", lambda: admin.state("returns") == "failed")
    drain(daemon)
    assert 'was not running when the daemon was stopped' in daemon.log.read_text()
