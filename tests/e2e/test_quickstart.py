"""docs/quickstart.md as a new operator follows it, on a broker with SASL_SSL and access rules and a bucket of S3."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.kafka_tools import kafka_tool
from harness.lab import Lab
from harness.orders import SCHEMA, encoded
from harness.registry import framed
from harness.secured import Secured
from harness.sluice import BINARY, REPOSITORY, drain
from harness.waiting import until
from services.process import free_port

PAGE = REPOSITORY / "docs/quickstart.md"
TOPIC, GROUP, USER = "orders", "sluice-orders", "sluice"


class Operator:
    """Types what the page says, with the addresses of this machine in the place of those on the page."""

    def __init__(self, lab: Lab, secured: Secured, password: str):
        self.folder, self.lake = lab.folder, lab.s3()
        self.listen = f"127.0.0.1:{free_port()}"
        options = {**self.lake.options, "allow_http": "true"}
        self.own = {
            "kafka.example.com:9093": secured.kafka.sasl_brokers,
            "http://registry.example.com:8081": lab.registry.url,
            "ssl.ca.location: kafka-ca.pem": f"ssl.ca.location: {secured.authority.file}",
            "ssl.ca.location=kafka-ca.pem": f"ssl.ca.location={secured.authority.file}",
            "s3://lake/raw": self.lake.url,
            "options: { region: us-east-1 }": f"options: {{ region: us-east-1, endpoint: '{options['endpoint']}', allow_http: true }}",
            "--option region=us-east-1": " ".join(f"--option {key}={value}" for key, value in options.items()),
            "127.0.0.1:9464": self.listen,
            "daemon:\n": f'daemon:\n  listen: "{self.listen}"\n  log: {{ format: text }}\n',
            "every: 1m": "every: 2s",
        }
        programs = lab.folder / "programs"
        programs.mkdir()
        (programs / "sluice").symlink_to(BINARY)
        self.environment = {**os.environ, **lab.sluice.environment, "KAFKA_PASSWORD": password, "PATH": f"{programs}:{os.environ['PATH']}"}
        text = PAGE.read_text(encoding="utf-8")
        self.blocks: list[tuple[str, str]] = re.findall(r"^```(sh|yaml)\n(.*?)^```", text, re.S | re.M)

    def here(self, text: str) -> str:
        """A text of the page for this machine."""
        for theirs, ours in self.own.items():
            text = text.replace(theirs, ours)
        return text

    def block(self, words: str) -> str:
        """The one block that has these words."""
        found = [text for _, text in self.blocks if words in text]
        assert len(found) == 1, f"{len(found)} blocks of {PAGE.name} have `{words}`"
        return self.here(found[0])

    def types(self, words: str, code: int = 0) -> str:
        """Runs the block that has these words; what it printed."""
        script = f'TOKEN=$(cat secrets/http-token 2>/dev/null || true)\n{self.block(words)}'
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", script], cwd=self.folder, env=self.environment, capture_output=True, text=True, timeout=120, check=False)
        print(f"$ {self.block(words)}{done.stdout}{done.stderr}")
        assert done.returncode == code, f"{words}: {done}"
        return done.stdout + done.stderr


def test_the_page_leads_from_nothing_to_a_proven_lake(lab: Lab, secured: Secured) -> None:
    secured.topics.create(TOPIC, 2)
    schema_id = lab.register(TOPIC, SCHEMA)

    def feed(count: int) -> list[tuple[int, int]]:
        values = [framed(schema_id, encoded(number)) for number in range(count)]
        return [position for partition in range(2) for position in secured.topics.produce(TOPIC, partition, values)]

    produced = feed(500)
    password = str(secured.user(USER)["sasl.password"])
    operator = Operator(lab, secured, password)
    for line in operator.block("kafka-acls.sh").splitlines():
        words = shlex.split(line)
        kafka_tool(words[0], secured.kafka.brokers, *words[words.index("--add") :])
    operator.types("install -d")
    secrets = lab.folder / "secrets"
    assert (secrets / "kafka-password").stat().st_mode & 0o777 == 0o600
    config = lab.sluice.write_text(operator.block("scrape_configs") and operator.block("version: 1"))
    operator.types("sluice check")

    # A stumble on purpose: what the page says of a wrong password.
    (secrets / "kafka-password").write_text("wrong")
    assert "check sasl.username, sasl.password" in operator.types("sluice check", code=2)
    (secrets / "kafka-password").write_text(password)

    assert "sluice run --config connectors.yaml" in operator.block("sluice run")
    daemon = lab.sluice.daemon(config)
    until("files are there", lambda: secured.topics.lag(GROUP, [TOPIC]) == 0)
    # What the endpoints show is up to a second old.
    admin = Admin(f"http://{operator.listen}", (secrets / "http-token").read_text().strip())
    until("they show it", lambda: admin.metrics().sum("sluice_rows_total") == 1000 and admin.connector("orders")["partitions"][1]["lag_records"] == 0 == admin.connector("orders")["partitions"][0]["lag_records"])
    shown = operator.types("/readyz")
    assert '{"ready":true}' in shown and '"state":"running"' in shown and '"lag_records":0' in shown, shown
    assert re.search(r'sluice_rows_total\{connector="orders"\} 1000$', operator.types("grep -E '^sluice_"), re.M)

    # Pause, flush, resume; then a reload.
    operator.types("/pause")
    assert '"unchanged":["orders"]' in operator.types("/api/reload")
    config.write_text(config.read_text().replace("every: 2s", "every: 1s"))
    assert '"changed":["orders"]' in operator.types("/api/reload")
    produced += feed(100)
    until("all is delivered", lambda: secured.topics.lag(GROUP, [TOPIC]) == 0)
    drain(daemon)
    assert password not in daemon.log.read_text()
    for words in ("--topic orders --option region=us-east-1\n", "--group sluice-orders \\\n"):
        audit = operator.types(words)
        assert "1,200" in audit and "proved:" in audit, audit
    first = operator.lake.files()[0].name
    inspect = next(text for _, text in operator.blocks if "sluice inspect" in text)
    operator.own[re.findall(r"s3://lake/raw/(\S+)", inspect)[0]] = first
    assert "delivered by sluice" in operator.types("sluice inspect")
    assert_delivered(operator.lake, TOPIC, produced)
    assert_sound(operator.lake)


def test_the_page_shows_every_block_to_the_test() -> None:
    commands = [line for kind, text in re.findall(r"^```(sh|yaml)\n(.*?)^```", Path(PAGE).read_text(encoding="utf-8"), re.S | re.M) if kind == "sh" for line in text.splitlines()]
    known = ("  --property ", "kafka-acls.sh", "install ", "sluice check", "sluice run", "TOKEN=", "curl ", "sluice audit", "sluice inspect")
    assert [line for line in commands if line and not line.startswith(known)] == []
