"""Owns a real Prometheus that scrapes one daemon, and asking it. Does not own what the answers should be.

Time runs faster for it: it scrapes and judges every second instead of every minute, and the shipped rules have seconds for minutes and
minutes for hours, so that what takes a quarter of an hour in production takes a quarter of a minute here.
"""

from __future__ import annotations

import json
import math
import re
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any

import yaml
from services.process import Service, free_port
from services.tools import prometheus

FASTER = {"m": "s", "h": "m"}


def faster(text: str) -> str:
    """Durations of PromQL and of rules, a sixtieth of what they were."""
    return re.sub(r"\b(\d+)([mh])\b", lambda found: found[1] + FASTER[found[2]], text)


def faster_rules(text: str) -> str:
    """The rules with shorter durations; the one age that is compared with seconds is shortened alike."""
    groups = yaml.safe_load(text)
    for rule in (rule for group in groups["groups"] for rule in group["rules"]):
        rule["expr"] = faster(rule["expr"]).replace("_age_seconds) > 1800", "_age_seconds) > 30")
        rule["for"] = faster(rule.get("for", "0s"))
    return yaml.safe_dump(groups)


class Prometheus:
    """A running Prometheus."""

    def __init__(self, folder: Path, target: str, rules: str):
        folder.mkdir()
        (folder / "rules.yaml").write_text(rules, encoding="utf-8")
        configuration = {
            "global": {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"},
            "rule_files": ["rules.yaml"],
            "scrape_configs": [{"job_name": "sluice", "static_configs": [{"targets": [target]}]}],
        }
        (folder / "prometheus.yaml").write_text(yaml.safe_dump(configuration), encoding="utf-8")
        self.port = free_port()
        options = [f"--config.file={folder}/prometheus.yaml", f"--storage.tsdb.path={folder}/data", f"--web.listen-address=127.0.0.1:{self.port}"]
        self.service = Service("prometheus", [str(prometheus()), *options], folder / "prometheus.log")
        self.service.start()
        self.service.wait_until(self._ready, 60)

    def _ready(self) -> bool:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=5) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def ask(self, path: str, **parameters: Any) -> Any:
        """The `data` of an answer of its API."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}", timeout=20) as answer:
            reply = json.load(answer)
        assert reply["status"] == "success", reply
        return reply["data"]

    def values(self, query: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series at this moment."""
        return [(series["metric"], float(series["value"][1])) for series in self.ask("query", query=query)["result"]]

    def over_time(self, query: str, seconds: int) -> list[float]:
        """Every number that a query gave within the last seconds."""
        now = float(self.ask("query", query="time()")["result"][1])
        result = self.ask("query_range", query=query, start=now - seconds, end=now, step="1s")["result"]
        return [value for series in result for _, text in series["values"] if not math.isnan(value := float(text))]

    def alerts(self, state: str = "firing") -> dict[str, set[str]]:
        """The alerts in a state: for each name its connectors."""
        made: dict[str, set[str]] = {}
        for alert in self.ask("alerts")["alerts"]:
            if alert["state"] == state:
                made.setdefault(alert["labels"]["alertname"], set()).add(alert["labels"].get("connector", ""))
        return made

    def close(self) -> None:
        """Ends it."""
        self.service.stop()
