"""The life of a daemon and its connectors: reload, failure and recovery, the service manager, a log that nobody reads."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from harness.admin import Admin
from harness.delivery import assert_delivered, assert_sound
from harness.lab import Lab
from harness.registry_gate import RegistryGate
from harness.sluice import BINARY, as_yaml, assert_no_panic, drain
from harness.waiting import until
from services.process import die_with_parent, free_port

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}


def events(count: int) -> list[dict[str, Any]]:
    return [{"n": number, "text": f"event {number}"} for number in range(count)]


def log_lines(text: str, *words: str) -> list[str]:
    return [line for line in text.splitlines() if all(word in line for word in words)]


def test_a_reload_adds_removes_and_changes_without_touching_the_others(lab: Lab) -> None:
    topics = {what: lab.topic(what) for what in ("stays", "changes", "goes", "comes")}
    lakes, groups = {what: lab.local() for what in topics}, {what: lab.name(what) for what in topics}
    produced = {what: lab.produce(topic, 0, EVENT, events(10)) for what, topic in topics.items()}

    def connector(what: str, **sections: Any) -> dict[str, Any]:
        sections = {"rotate": {"rows": 10, "every": "1h"}, **sections}
        return lab.connector(lakes[what], [topics[what]], name=what, kafka={"group": groups[what]}, **sections).settings

    config = lab.sluice.write([connector("stays"), connector("changes"), connector("goes")])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("three have published", lambda: all(len(lakes[what].files()) == 1 for what in ("stays", "changes", "goes")))
    produced["goes"] |= lab.produce(topics["goes"], 0, EVENT, events(3))
    until("the last records are read", lambda: admin.metrics().sum("sluice_records_total", connector="goes") == 13)

    daemon_section = {"listen": admin.base.removeprefix("http://"), "log": {"format": "text", "level": "info"}}
    lab.sluice.write([connector("comes"), connector("changes", rotate={"rows": 3}), connector("stays")], daemon=daemon_section)
    daemon.signal(signal.SIGHUP)
    names = ["comes", "changes", "stays"]
    until("the file is taken up", lambda: [one["name"] for one in admin.ask("/api/connectors").json()["connectors"]] == names)
    until("all are ready", admin.ready)
    # What left was drained first.
    assert_delivered(lakes["goes"], topics["goes"], produced["goes"])
    for what in ("stays", "changes", "comes"):
        produced[what] |= lab.produce(topics[what], 0, EVENT, events(9))
    until("the new rule cuts", lambda: len(lakes["changes"].files()) == 4)
    until("the new connector publishes", lambda: len(lakes["comes"].files()) == 1)

    log = daemon.log.read_text()
    assert len(log_lines(log, "partition started", topics["stays"])) == 1, "the unchanged connector was restarted"
    assert len(log_lines(log, "partition started", topics["changes"])) == 2
    assert log_lines(log, "configuration reloaded", 'added="comes"', 'removed="goes"', 'changed="changes"')
    assert "goes" not in {labels.get("connector") for _, labels, _ in admin.metrics().series}
    drain(daemon)
    for what in ("stays", "changes", "comes"):
        assert_delivered(lakes[what], topics[what], produced[what])
        assert_sound(lakes[what])


def test_a_directory_is_reloaded_with_what_its_files_have_in_common(lab: Lab) -> None:
    topics, lakes = {what: lab.topic(what) for what in ("first", "second")}, {what: lab.local() for what in ("first", "second")}
    produced = {what: lab.produce(topic, 0, EVENT, events(10)) for what, topic in topics.items()}
    settings = {what: lab.connector(lakes[what], [topics[what]], name=what, kafka={"group": lab.name(what)}).settings for what in topics}
    common = {key: settings["first"].pop(key) for key in ("value", "registry")}
    daemon_section = {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "text", "level": "info"}}

    def write_common(rows: int) -> Path:
        defaults = common | {"rotate": {"rows": rows}, "kafka": {"properties": settings["second"]["kafka"]["properties"]}}
        return lab.sluice.write_text(as_yaml({"version": 1, "daemon": daemon_section, "defaults": defaults}), "conf.d/00-common.yaml")

    def write(what: str) -> None:
        own = {key: value for key, value in settings[what].items() if key not in ("value", "registry", "rotate")}
        own = own | {"kafka": {key: value for key, value in own["kafka"].items() if key != "properties"}}
        lab.sluice.write_text(as_yaml({"version": 1, "connectors": [own]}), f"conf.d/{what}.yaml")

    admin = Admin.of(write_common(rows=10))
    write("first")
    folder = lab.sluice.folder / "conf.d"
    daemon = lab.sluice.daemon(folder)
    until("the first file publishes by the common rule", lambda: len(lakes["first"].files()) == 1)
    write("second")
    write_common(rows=5)
    daemon.signal(signal.SIGHUP)
    until("the second does too", lambda: len(lakes["second"].files()) == 2)
    assert log_lines(daemon.log.read_text(), "configuration reloaded", 'added="second"', 'changed="first"')
    second = lab.sluice.write_text("version: 1\ndaemon: {}\ndefaults: { tasks: 1 }\n", "conf.d/99-more.yaml")
    answer = admin.post("/api/reload")
    assert answer.status == 422, answer
    problems = answer.json()["problems"]
    assert len(problems) == 2 and all(f"{second}:" in problem and "00-common.yaml:" in problem for problem in problems), problems
    second.unlink()
    assert admin.post("/api/reload").json()["unchanged"] == ["first", "second"]
    drain(daemon)
    for what in topics:
        assert_delivered(lakes[what], topics[what], produced[what])


def test_a_bad_file_is_refused_whole_with_the_messages_of_check(lab: Lab) -> None:
    topic, lake = lab.topic("refused"), lab.local()
    connector = lab.connector(lake, [topic], rotate={"rows": 10})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is ready", admin.ready)
    good = config.read_text()
    config.write_text(good.replace('"rows": 10', "").replace("rotate:", "rotat:") + '  - name: "second"\n    storage: 5\n')
    answer = admin.post("/api/reload")
    assert answer.status == 422, answer
    checked = lab.sluice.run("check", "--offline", "--config", config)
    assert checked.code == 2
    assert answer.json()["problems"] == checked.err.strip().splitlines()[: len(answer.json()["problems"])]
    assert len(answer.json()["problems"]) >= 3
    assert admin.metrics().sum("sluice_config_last_reload_successful") == 0
    assert admin.ready()
    # A file that reads well and cannot work is refused too.
    (lab.folder / "no-schema.avsc").write_text("{}")
    fixed = 'schema:\n      evolution: "fixed"\n      reader_schema_file: "no-schema.avsc"\n    rotate:'
    config.write_text(good.replace("rotate:", fixed))
    assert admin.post("/api/reload").status == 422
    config.write_text(good)
    answer = admin.post("/api/reload")
    assert (answer.status, answer.json()["unchanged"]) == (200, [connector.settings["name"]])
    assert admin.metrics().sum("sluice_config_last_reload_successful") == 1
    drain(daemon)


def test_fault_105_a_failed_connector_leaves_the_others_alone_and_comes_back_with_a_reload(lab: Lab) -> None:
    bad, good = lab.topic("poisoned"), lab.topic("clean")
    bad_lake, good_lake = lab.local(), lab.local()
    before = lab.produce(bad, 0, EVENT, events(5))
    lab.topics.produce(bad, 0, [b"\x00\x00\x00\x00\x01"[:3]])
    after = lab.produce(bad, 0, EVENT, events(5))
    failing = lab.connector(bad_lake, [bad], name="failing", kafka={"group": lab.name("failing")}, rotate={"rows": 5, "every": "1s"})
    healthy = lab.connector(good_lake, [good], name="healthy", kafka={"group": lab.name("healthy")}, rotate={"rows": 5})
    config = lab.sluice.write([failing.settings, healthy.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it has failed", lambda: admin.state("failing") == "failed")
    answer = admin.ask("/readyz")
    assert answer.status == 503 and [one["connector"] for one in answer.json()["not_ready"]] == ["failing"]
    assert admin.metrics().sum("sluice_connector_state", connector="failing", state="failed") == 1
    assert admin.connector("failing")["restart_in_seconds"] is None, "poison does not pass by itself"
    (told,) = log_lines(daemon.log.read_text(), "ERROR", 'connector="failing"')
    assert f'topic="{bad}" partition=0' in told and "poison record" in told, "one line for one change of state, with its place"
    produced = lab.produce(good, 0, EVENT, events(5))
    until("the other goes on", lambda: len(good_lake.files()) == 1)
    text = config.read_text().replace('name: "failing"', 'name: "failing"\n    errors:\n      on_poison: "skip"')
    config.write_text(text)
    assert admin.post("/api/reload").json()["changed"] == ["failing"]
    until("it goes on", lambda: lab.topics.lag(failing.group, [bad]) == 0)
    drain(daemon)
    assert_delivered(bad_lake, bad, before | after)
    assert_delivered(good_lake, good, produced)


def test_a_stop_is_done_though_a_connector_had_failed_and_says_which_and_where(lab: Lab) -> None:
    bad, good = lab.topic("poisoned"), lab.topic("clean")
    lake = lab.local()
    before = lab.produce(bad, 0, EVENT, events(5))
    lab.topics.produce(bad, 0, [b"no avro"])
    failing = lab.connector(lab.local(), [bad], name="failing", kafka={"group": lab.name("failing")}, rotate={"rows": 5})
    healthy = lab.connector(lake, [good], name="healthy", kafka={"group": lab.name("healthy")}, rotate={"every": "1h"})
    config = lab.sluice.write([failing.settings, healthy.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    produced = lab.produce(good, 0, EVENT, events(7))
    until("one has failed", lambda: admin.state("failing") == "failed")
    until("the other has read", lambda: admin.metrics().sum("sluice_records_total", connector="healthy") == 7)
    drain(daemon)
    (told,) = log_lines(daemon.log.read_text(), "WARN", "was not running when the daemon was stopped")
    assert 'connector="failing"' in told and "poison record" in told
    assert f'offsets="{bad}[0]:{len(before)}"' in told
    assert_delivered(lake, good, produced)
    # A bounded run has not done what it was asked to.
    assert lab.sluice.run("run", "--config", config, "--until-end").code == 1


def test_commands_that_can_do_nothing_say_what_can_be_done_and_a_pause_lasts(lab: Lab) -> None:
    topic, lake = lab.topic("commanded"), lab.local()
    lab.topics.produce(topic, 0, [b"no avro"])
    connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it has failed", lambda: admin.state("orders") == "failed")
    refused = admin.post("/api/connectors/orders/flush")
    assert refused.status == 409 and "POST /api/connectors/orders/restart" in refused.json()["error"], refused
    assert admin.post("/api/connectors/orders/pause").status == 202
    assert (admin.connector("orders")["state"], admin.connector("orders")["paused"]) == ("failed", True)
    assert admin.post("/api/connectors/orders/restart").status == 202
    until("it is back, and reads nothing", lambda: admin.state("orders") == "paused" and admin.ready())
    assert admin.post("/api/connectors/orders/flush").status == 202
    assert admin.post("/api/connectors/orders/resume").status == 202
    until("it goes on, into the same poison", lambda: admin.state("orders") == "failed")
    assert admin.connector("orders")["paused"] is False
    drain(daemon)


def test_a_bounded_run_says_whom_it_waits_for_and_ends_when_others_have_delivered(lab: Lab) -> None:
    topic, lake = lab.topic("shared"), lab.local()
    produced = lab.produce(topic, 0, EVENT, events(20))
    connector = lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, rotate={"every": "1h"})
    config = lab.sluice.write([connector.settings])
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("the daemon has read", lambda: admin.metrics().sum("sluice_records_total") == 20)
    listen = {"listen": f"127.0.0.1:{free_port()}", "log": {"format": "text", "level": "info"}}
    run = lab.sluice.daemon(lab.sluice.write([connector.settings], "bounded.yaml", daemon=listen), None, "--until-end")
    until("it says whom it waits for", lambda: f"waiting for others: {topic}[0] is" in run.log.read_text(), 25)
    assert len(lake.files()) == 0
    assert admin.post("/api/connectors/orders/flush").status == 202
    assert run.wait_end(60) == 0, run.log_tail()
    (summary,) = log_lines(run.log.read_text(), "INFO", "run summary")
    assert 'outcome="done" records=0 rows=0 files=0' in summary
    drain(daemon)
    assert_delivered(lake, topic, produced)


def test_a_bounded_run_sums_up_what_it_did(lab: Lab) -> None:
    topic, lake = lab.topic("summed"), lab.local()
    lab.produce(topic, 0, EVENT, events(9))
    lab.topics.produce(topic, 0, [b"poison", None])
    config = lab.sluice.write([lab.connector(lake, [topic], name="orders", kafka={"group": lab.name("orders")}, errors={"on_poison": "skip"}).settings])
    master, terminal = pty.openpty()
    with os.fdopen(master, "rb", buffering=0) as shown:
        done = subprocess.run(
            [BINARY, "run", "--config", config, "--until-end"],
            env={**os.environ, **lab.sluice.environment},
            stdin=subprocess.DEVNULL,
            stdout=terminal,
            stderr=subprocess.PIPE,
            text=True,
            timeout=120,
            check=False,
        )
        os.close(terminal)
        table = shown.read(65536).decode().splitlines()
    assert done.returncode == 0, done.stderr
    (summary,) = log_lines(done.stderr, "INFO", "run summary")
    assert 'connector="orders" outcome="done" records=11 rows=9 files=1 bytes=' in summary
    assert "dead_letters=0 skipped=2 took_ms=" in summary
    (row,) = [line.split() for line in table if line.split()[:1] == ["orders"]]
    assert row[:5] == ["orders", "done", "11", "9", "1"] and row[-1] == "s", table


def test_the_service_manager_hears_of_every_turn(lab: Lab, tmp_path: Path) -> None:
    manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    manager.bind(str(tmp_path / "notify"))
    manager.settimeout(30)
    lab.sluice.environment = {**lab.sluice.environment, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "3000000"}
    config = lab.sluice.write([lab.connector(lab.local(), [lab.topic("notify")]).settings])
    daemon = lab.sluice.daemon(config)

    heard: list[str] = []

    def hear(wanted: str) -> str:
        while not any(message.startswith(wanted) for message in heard):
            heard.append(manager.recv(4096).decode())
        found = next(message for message in heard if message.startswith(wanted))
        heard.remove(found)
        return found

    hear("READY=1")
    hear("WATCHDOG=1")
    hear("WATCHDOG=1")
    hear("STATUS=1 running")
    daemon.signal(signal.SIGHUP)
    assert "\nMONOTONIC_USEC=" in hear("RELOADING=1")
    hear("READY=1")
    daemon.signal(signal.SIGTERM)
    hear("STOPPING=1")
    assert daemon.wait_end(60) == 0
    manager.close()


def test_fault_106_a_log_that_nobody_reads_does_not_hold_up_delivery(lab: Lab) -> None:
    topic, lake = lab.topic("unread", 2), lab.local()
    connector = lab.connector(lake, [topic], rotate={"rows": 50, "every": "1h"}, tasks=2)
    daemon_section = {"listen": "127.0.0.1:0", "log": {"level": "trace"}}
    config = lab.sluice.write([connector.settings], daemon=daemon_section)
    command = [BINARY, "run", "--config", config]
    # The first has a pipe that stays full, the second one that is closed.
    for closed in (False, True):
        produced = lab.produce(topic, 0, EVENT, events(20_000)) | lab.produce(topic, 1, EVENT, events(20_000))
        with subprocess.Popen(
            command,
            cwd=lab.folder,
            env={**os.environ, **lab.sluice.environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            preexec_fn=die_with_parent(os.getpid()),
        ) as child:
            assert child.stderr is not None
            try:
                if closed:
                    child.stderr.close()
                until("everything is committed", lambda: lab.topics.lag(connector.group, [topic]) == 0, 120)
                child.terminate()
                assert child.wait(60) == 0
            finally:
                child.kill()
        assert len(produced) == 40_000
    assert_sound(lake)
    assert sum(lab.topics.committed(connector.group, topic).values()) == 80_000


def test_the_log_level_changes_while_it_runs_and_lines_are_json(lab: Lab) -> None:
    topic, lake = lab.topic("levels"), lab.local()
    config = lab.sluice.write([lab.connector(lake, [topic], rotate={"rows": 5}).settings], daemon={"listen": f"127.0.0.1:{free_port()}"})
    daemon, admin = lab.sluice.daemon(config), Admin.of(config)
    until("it is ready", admin.ready)
    assert admin.ask("/api/log").json() == {"level": "info"}
    lab.produce(topic, 0, EVENT, events(5))
    until("a file is there", lambda: len(lake.files()) == 1)
    until("it is committed", lambda: admin.metrics().sum("sluice_commits_total", outcome="ok") >= 2)
    assert not log_lines(daemon.log.read_text(), "offset committed")
    assert admin.post("/api/log", {"level": "loud"}).status == 400
    assert admin.post("/api/log", {"level": "debug"}).json() == {"level": "debug"}
    lab.produce(topic, 0, EVENT, events(5))
    until("debug lines come", lambda: log_lines(daemon.log.read_text(), "offset committed"))
    drain(daemon)
    text = daemon.log.read_text()
    assert_no_panic(text)
    lines = [json.loads(line) for line in text.splitlines()]
    published = next(line for line in lines if line["message"] == "flush published")
    assert {"topic", "partition", "start", "end", "reason", "rows", "bytes", "file", "took_ms", "connector"} <= published.keys()
    assert (published["reason"], published["start"], published["end"]) == ("rows", 0, 5)


def test_a_bounded_run_that_is_stopped_before_its_end_does_not_say_done(lab: Lab) -> None:
    topic, lake = lab.topic("stopped"), lab.local()
    produced = lab.produce(topic, 0, EVENT, events(50))
    busy = (503, "application/json", b"{}")
    with RegistryGate(lab.stack.registry.url, answer=lambda _number, path: busy if "/schemas/" in path else None) as gate:
        connector = lab.connector(lake, [topic], registry={"url": gate.url})
        config = lab.sluice.write([connector.settings])
        run = lab.sluice.daemon(config, None, "--until-end")
        until("it waits for a schema", lambda: any("/schemas/" in path for path in gate.paths))
        run.signal(signal.SIGTERM)
        assert run.wait_end(60) == 1, run.log_tail()
    assert "stopped before the end was reached" in run.log.read_text()
    registry = {"url": lab.stack.registry.url}
    lab.sluice.until_end(lab.sluice.write([{**connector.settings, "registry": registry}]))
    assert_delivered(lake, topic, produced)
