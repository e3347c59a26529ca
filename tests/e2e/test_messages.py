"""What a person is told: one clear message for each mistake, the right exit code, no panic, no endless silence."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from harness.lab import Lab
from harness.lake import Lake
from harness.sluice import REPOSITORY, Finished, Sluice
from services.process import free_port

WRONG = """\
version: 1
connectors:
  - name: orders
    kafka:
      topics: [orders]
      group_id: mistaken
      properties:
        bootstrap.servers: ${SLUICE_TEST_UNSET_BROKERS}
        enable.auto.commit: true
        sasl.password: never-shown-hunter2
    value: { format: avro }
    registry:
      url: http://localhost:8081
    rotate:
      bytez: 128MiB
      every: 5 minutes
    storage:
      url: file:///data/lake
"""


@pytest.fixture
def sluice(binary: Path, tmp_path: Path) -> Sluice:
    """The binary without any service."""
    return Sluice(tmp_path, {})


def line_of(text: str, words: str) -> int:
    return next(number for number, line in enumerate(text.splitlines(), 1) if words in line)


@pytest.mark.parametrize("command", [["check", "--offline"], ["check"], ["run"], ["run", "--until-end"]], ids=" ".join)
def test_fault_108_all_mistakes_are_told_at_once_each_with_its_place(sluice: Sluice, command: list[str]) -> None:
    config = sluice.write_text(WRONG)
    finished = sluice.run(*command, "--config", config, seconds=20)
    assert finished.code == 2, finished
    for words, hint in [
        ("group_id", "group"),
        ("bootstrap.servers", "SLUICE_TEST_UNSET_BROKERS"),
        ("enable.auto.commit", "enable.auto.commit"),
        ("bytez", "bytes"),
        ("5 minutes", "5 minutes"),
    ]:
        place = re.compile(rf"connectors\.yaml:{line_of(WRONG, words)}:\d+.*")
        told = "\n".join(place.findall(finished.text))
        assert told, f"nothing is said about line {line_of(WRONG, words)} ({words}): {finished}"
        assert hint in finished.text
    assert "never-shown-hunter2" not in finished.text


REFUSED = """\
version: 1
defaults:
  kafka:
    properties: { bootstrap.servers: localhost:9092, fetch.max.byte: 1, sasl.password: never-shown-hunter2 }
  value: { format: avro }
  registry: { url: "http://localhost:8081" }
  storage:
    url: s3://lake
    options: { regoin: eu, secret_access_key: never-shown-hunter2 }
connectors:
  - name: first
    kafka: { topics: [first], properties: { fetch.max.bytes: 10MiB } }
  - name: second
    kafka: { topics: [second], properties: { security.protocol: "${PROTOCOL:-sasl_tls}" } }
"""


@pytest.mark.parametrize("command", [["check", "--offline"], ["check"], ["run"]], ids=" ".join)
def test_fault_108_what_client_and_store_do_not_take_has_its_own_place(sluice: Sluice, command: list[str]) -> None:
    finished = sluice.run(*command, "--config", sluice.write_text(REFUSED), seconds=20)
    assert finished.code == 2, finished
    places = [line.split(": ")[0].rpartition("/")[2] for line in finished.err.strip().splitlines()]
    assert places == [f"connectors.yaml:{place}" for place in ("4:54", "9:16", "12:45", "14:46")], finished
    for words in ("did you mean `fetch.max.bytes`", "did you mean `region`", "write 10485760", "`sasl_ssl`"):
        assert words in finished.text, finished
    assert "never-shown-hunter2" not in finished.text and "sasl_tls" not in finished.text


def test_a_variable_of_the_store_that_is_of_no_use_is_named(sluice: Sluice) -> None:
    text = REFUSED.replace("fetch.max.byte: 1, ", "").replace("regoin", "region").replace("10MiB", "1000000")
    config = sluice.write_text(text.replace("${PROTOCOL:-sasl_tls}", "ssl"))
    environment = {"AWS_ENDPOINT_URL": "never-shown-hunter2:9000", "AWS_ACCESS_KEY_ID": "x"}
    finished = sluice.run("check", "--offline", "--config", config, seconds=20, environment=environment)
    assert finished.code == 2, finished
    assert "connectors.yaml:8:10: first: storage: AWS_ENDPOINT_URL in the environment is no URL; write it with its scheme" in finished.err
    finished = sluice.run("check", "--offline", "--config", config, seconds=20, environment=environment | {"AWS_ENDPOINT_URL": "http://x"})
    assert finished.code == 2 and "AWS_ENDPOINT_URL in the environment is http, without TLS" in finished.err, finished
    finished = sluice.run("check", "--offline", "--config", config, seconds=20, environment=environment | {"AWS_ENDPOINT_URL": "https://x"})
    assert finished.code == 0, finished
    assert "never-shown-hunter2" not in finished.text
    finished = sluice.run("check", "--offline", "--config", config, seconds=20, environment={"AWS_ENDPOINT_URL": "https://x"})
    assert finished.code == 2, finished
    assert ":9:28: first: storage: there is storage.options.secret_access_key, here or in the environment, and no access_key_id" in finished.err


@pytest.mark.parametrize("command", [["audit", "s3://lake/raw"], ["inspect", "s3://lake/raw/file.parquet"]], ids=lambda command: str(command[0]))
def test_an_option_that_no_store_has_is_wrong_usage(sluice: Sluice, command: list[str]) -> None:
    options = ["--option", "bogus=never-shown-hunter2", "--option", "acess_key_id=never-shown-hunter2"]
    finished = sluice.run(*command, *options, seconds=20)
    assert finished.code == 2, finished
    assert "--option bogus is no option of s3://; known ones are access_key_id" in finished.err
    assert "--option acess_key_id is no option of s3://; did you mean `access_key_id`?" in finished.err
    assert "never-shown-hunter2" not in finished.text
    finished = sluice.run(*command, "--option", "region=eu", seconds=20, environment={"AWS_ENDPOINT_URL": "minio:9000"})
    assert finished.code == 2 and "AWS_ENDPOINT_URL in the environment is no URL" in finished.err, finished
    (sluice.folder / "local").mkdir()
    assert sluice.run(command[0], "local", "--option", "region=eu", seconds=20).code == 2, "a local path has no options"


def test_a_property_that_no_client_has_is_wrong_usage_of_audit(sluice: Sluice) -> None:
    (sluice.folder / "local").mkdir()
    properties = ["--property", "bootstrap.servers=localhost:1", "--property", "sasl.pasword=never-shown-hunter2"]
    finished = sluice.run("audit", "local", *properties, seconds=20)
    assert finished.code == 2, finished
    assert "--property sasl.pasword is no property of librdkafka; did you mean `sasl.password`?" in finished.err
    assert "never-shown-hunter2" not in finished.text


def test_more_memory_than_the_machine_has_is_a_warning(sluice: Sluice) -> None:
    text = (REPOSITORY / "connectors.yaml").read_text().replace("\ndaemon:\n", "\ndaemon:\n  memory: 1000TB\n")
    assert "1000TB" in text
    finished = sluice.run("check", "--offline", "--config", sluice.write_text(text), seconds=20)
    assert finished.code == 0, finished
    assert re.search(r"warning +\S*connectors\.yaml:\d+:\d+: `daemon\.memory` is 909\.5TiB, and this process may use \d", finished.out), finished


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("version: 1\nconnectors: [\n", r":\d+:\d+"),
        ("version: 2\nconnectors: []\n", r":1:\d+"),
        ("version: 1\nconnectors: []\n", r":2:\d+"),
        ("", ""),
    ],
    ids=["not YAML", "another version", "no connector", "empty"],
)
def test_a_file_that_is_no_configuration_is_refused(sluice: Sluice, text: str, place: str) -> None:
    finished = sluice.run("check", "--offline", "--config", sluice.write_text(text), seconds=20)
    assert finished.code == 2, finished
    assert re.search(rf"connectors\.yaml{place}", finished.text), finished


def test_a_missing_file_is_named(sluice: Sluice) -> None:
    finished = sluice.run("run", "--config", "nowhere.yaml", seconds=20)
    assert finished.code == 2, finished
    assert "nowhere.yaml" in finished.text


def test_wrong_usage_is_exit_code_2(sluice: Sluice) -> None:
    assert sluice.run("run", "--no-such-flag", seconds=20).code == 2
    assert sluice.run("no-such-command", seconds=20).code == 2


def test_the_shipped_configuration_is_right(sluice: Sluice) -> None:
    finished = sluice.run("check", "--offline", "--config", REPOSITORY / "connectors.yaml", seconds=20)
    assert finished.code == 0, finished


def test_check_passes_where_all_is_well_and_leaves_nothing_behind(lab: Lab) -> None:
    topic = lab.topic("fine")
    lakes = [lab.local(), lab.s3()]
    config = lab.sluice.write([lab.connector(lake, [topic]).settings for lake in lakes])
    finished = lab.sluice.run("check", "--config", config, seconds=60)
    assert finished.code == 0, finished
    assert not any(lake.paths() for lake in lakes)


def test_check_tells_of_every_service_that_cannot_be_reached_in_one_go(lab: Lab) -> None:
    broker, registry, store = free_port(), free_port(), free_port()
    lake = lab.s3()
    lake.options["endpoint"] = f"http://127.0.0.1:{store}"
    connector = lab.connector(
        lake,
        ["orders"],
        kafka={"properties": {"bootstrap.servers": f"127.0.0.1:{broker}"}},
        registry={"url": f"http://127.0.0.1:{registry}"},
    )
    started = time.monotonic()
    finished = lab.sluice.run("check", "--config", lab.sluice.write([connector.settings]), seconds=60)
    assert finished.code == 2, finished
    for port in (broker, registry, store):
        assert str(port) in finished.text, f"nothing is said about port {port}: {finished}"
    assert "connectors.yaml:" in finished.text
    print(f"told after {time.monotonic() - started:.1f} s")


def test_check_tells_of_a_topic_that_is_not_there(lab: Lab) -> None:
    missing = lab.name("missing")
    finished = lab.sluice.run("check", "--config", lab.sluice.write([lab.connector(lab.local(), [missing]).settings]), seconds=60)
    assert finished.code == 2, finished
    assert missing in finished.text


def test_check_tells_of_schemas_that_have_no_columns_and_of_topics_it_did_not_look_at(lab: Lab) -> None:
    topics = [lab.topic("many", 1) for _ in range(22)]
    node = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}
    lab.registry.register(f"{topics[0]}-value", node)
    lab.registry.register(f"{topics[1]}-value", {"type": "record", "name": "R", "fields": [{"name": "n", "type": "int"}]})
    finished = lab.sluice.run("check", "--config", lab.sluice.write([lab.connector(lab.local(), topics).settings]), seconds=60)
    assert finished.code == 0, finished
    [useless] = [line for line in finished.text.splitlines() if f"{topics[0]}-value" in line]
    assert "contains itself" in useless, finished
    [seen] = [line for line in finished.text.splitlines() if "2 topics more were not looked at" in line]
    assert f"{topics[1]}-value" in seen, finished


def test_check_tells_of_a_bucket_that_is_not_there(lab: Lab) -> None:
    lake = lab.s3()
    lake.bucket = lab.name("nowhere")
    connector = lab.connector(lake, [lab.topic("fine")])
    finished = lab.sluice.run("check", "--config", lab.sluice.write([connector.settings]), seconds=60)
    assert finished.code == 2, finished
    assert lake.bucket in finished.text


def test_fault_115_check_tells_of_credentials_that_the_store_refuses_and_does_not_show_them(lab: Lab) -> None:
    connector = lab.connector(lab.s3(), [lab.topic("fine")])
    config = lab.sluice.write([connector.settings])
    finished = lab.sluice.run("check", "--config", config, seconds=60, environment={"AWS_SECRET_ACCESS_KEY": "never-shown-hunter2"})
    assert finished.code == 2, finished
    assert "never-shown-hunter2" not in finished.text


def test_fault_115_check_tells_of_an_output_that_cannot_be_written(lab: Lab) -> None:
    blocked = lab.local()
    (lab.folder / "file").write_text("a file where a folder should be")
    blocked.folder = lab.folder / "file" / "lake"
    finished = lab.sluice.run("check", "--config", lab.sluice.write([lab.connector(blocked, [lab.topic("fine")]).settings]), seconds=60)
    assert finished.code == 2, finished
    assert "file/lake" in finished.text


SCHEMA = {"type": "record", "name": "Note", "fields": [{"name": "n", "type": "long"}]}


@pytest.fixture(params=["closed", "silent"])
def dead_port(request: pytest.FixtureRequest) -> Iterator[int]:
    """A port where nothing listens, or where whoever listens never says a word."""
    if request.param == "closed":
        yield free_port()
        return
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        yield listener.getsockname()[1]


def bounded_run_fails(lab: Lab, lake: Lake, topic: str, **sections: Any) -> tuple[Finished, str]:
    """A bounded run with these sections, which must fail soon, say why in one line of its own, and move nothing."""
    connector = lab.connector(lake, [topic], **sections)
    name = str(connector.settings["name"])
    config = lab.sluice.write([connector.settings], f"{name}.yaml")
    finished = lab.sluice.run("run", "--config", config, "--until-end", seconds=90)
    assert finished.code == 1, finished
    last = [line for line in finished.err.splitlines() if line.startswith("sluice: ")]
    assert len(last) == 1 and name in last[0], f"one line says why it failed: {finished}"
    # Where it began may be committed, and nothing beyond.
    assert not any(lab.topics.committed(connector.group, topic).values())
    return finished, last[0]


def test_a_bounded_run_says_what_cannot_be_reached(lab: Lab, dead_port: int) -> None:
    address, topic = f"127.0.0.1:{dead_port}", lab.topic("unreachable")
    lab.produce(topic, 0, SCHEMA, [{"n": 1}])
    lakes = {"broker": lab.local(), "registry": lab.local(), "store": lab.s3()}
    lakes["store"].options["endpoint"] = f"http://{address}"
    sections: dict[str, dict[str, Any]] = {
        "broker": {"kafka": {"properties": {"bootstrap.servers": address}}},
        "registry": {"registry": {"url": f"http://{address}", "timeout": "3s"}},
        "store": {},
    }
    with ThreadPoolExecutor(len(lakes)) as pool:  # Each waits for half a minute.
        runs = {what: pool.submit(bounded_run_fails, lab, lake, topic, **sections[what]) for what, lake in lakes.items()}
        said = {what: run.result()[1] for what, run in runs.items()}
    for what, words in {"broker": "bootstrap.servers", "registry": "registry", "store": lakes["store"].url}.items():
        assert address in said[what] and words in said[what], said[what]
        assert not lakes[what].paths()


def test_fault_92_a_bounded_run_says_that_the_bucket_is_not_there(lab: Lab) -> None:
    lake, topic = lab.s3(), lab.topic("unreachable")
    lab.produce(topic, 0, SCHEMA, [{"n": 1}])
    lake.bucket = lab.name("nowhere")
    finished, last = bounded_run_fails(lab, lake, topic)
    assert lake.bucket in last and "NoSuchBucket" in last, last
    assert finished.seconds < 20, "a bucket that is not there is not worth a wait"
