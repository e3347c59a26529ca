"""Every kind of trouble at every kind of request to the object store, against the real daemon and a real store."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet
import pytest
from harness.issuer import Issuer
from harness.lab import Connector
from harness.lake import S3Lake
from harness.s3_requests import Credentials, begin_upload, open_uploads
from services.minio import ACCESS_KEY, SECRET_KEY

from faults.bench import Bench
from faults.process_case import Run
from faults.s3_gate import FAULTS, Plan, Reply, Request, S3Gate, error_body, refused
from faults.side_by_side import Case, run_side_by_side

SIGTERM = 15
Fault = Callable[[Request, Callable[[Request], Reply]], Reply | None]
SLOW = {"time-out": 2, "reply lost": 2}
"""How often these come; others come six times: more than the client library tries by itself."""


@pytest.fixture(scope="module")
def gate(bench: Bench) -> Iterator[S3Gate]:
    """The door in front of the store."""
    with S3Gate(bench.lab.stack.minio.port) as gate:
        yield gate


def through(bench: Bench, gate: S3Gate, kind: str) -> tuple[Connector, S3Lake, str, Path]:
    """A case whose daemon reaches the store through the gate."""
    connector, lake, topic, config = bench.case(kind)
    assert isinstance(lake, S3Lake)
    options = {**lake.options, "endpoint": gate.url, "timeout": "3s"}
    connector.settings["storage"]["options"] = options
    config = bench.lab.sluice.write([connector.settings], config.name)
    return connector, lake, topic, config


def troubled(bench: Bench, gate: S3Gate, kind: str, fault: Fault, times: int, large: bool) -> Case:
    """A bounded run that meets the fault delivers everything all the same, and leaves nothing but its files."""
    connector, lake, topic, config = through(bench, gate, "s3-large" if large else "s3")
    plan = gate.plans[lake.prefix] = Plan(kind, fault, times)
    run = Run(bench.lab, config)
    yield run.ended(150)
    run.assert_code(0)
    assert plan.met == times, f"{kind} was met {plan.met} times only"
    bench.prove(connector, lake, topic)
    assert set(lake.visible()) == {file.name for file in lake.files()}


@pytest.mark.parametrize("kind", ["create", "part", "complete", "put"])
def test_fault_82_fault_83_fault_84_any_trouble_at_any_request_ends_with_every_record_once(bench: Bench, gate: S3Gate, kind: str) -> None:
    cases = ((f"{kind}, {name}", troubled(bench, gate, kind, fault, SLOW.get(name, 6), kind != "put")) for name, fault in FAULTS.items())
    assert run_side_by_side(cases, width=4) == 7


PASSING: dict[str, Fault] = {
    "expired credentials": refused(400, "ExpiredToken"),
    "clock skew": refused(403, "RequestTimeTooSkewed"),
    "conflict of requests": refused(409, "ConditionalRequestConflict"),
}


def test_fault_87_fault_89_fault_90_refusals_that_pass_hold_the_offset_and_go_on(bench: Bench, gate: S3Gate) -> None:
    run_side_by_side((name, troubled(bench, gate, "put", fault, 6, False)) for name, fault in PASSING.items())


REFRESHED_BEFORE_S = 300
"""How long before their end the client asks for new credentials."""


@dataclass
class Expiry:
    """A fault: the keys that signed the first `parts` parts of an upload are refused from then on, whatever they ask for."""

    parts: int
    seen: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: Request, forward: Callable[[Request], Reply]) -> Reply | None:
        signed = re.search("Credential=([^/]+)/", dict(request.headers).get("authorization", ""))
        assert signed, "the request is not signed"
        key = signed[1]
        # Only the first keys end.
        if key == next(iter(self.seen), key) and self.seen[key] >= self.parts:
            self.refused[request.kind] += 1
            return 400, [("Content-Type", "application/xml")], error_body("ExpiredToken")
        self.seen[key] += request.kind == "part"
        return forward(request)


@contextmanager
def without_keys(bench: Bench) -> Iterator[None]:
    """Runs that begin inside have no keys of their own."""
    environment = bench.lab.sluice.environment
    bench.lab.sluice.environment = {name: value for name, value in environment.items() if not name.endswith(("_KEY_ID", "_ACCESS_KEY"))}
    try:
        yield
    finally:
        bench.lab.sluice.environment = environment


def expiring(bench: Bench, gate: S3Gate, down: bool) -> Case:
    """The keys of the usual chain end in the middle of an upload; while new ones are not to be had no offset moves."""
    connector, lake, topic, config = through(bench, gate, "s3-large")
    issuer = Issuer(bench.lab.stack.minio.url, Credentials(ACCESS_KEY, SECRET_KEY))
    issuer.lasting_s = REFRESHED_BEFORE_S + 4
    fault = Expiry(parts=1)
    gate.plans[lake.prefix] = Plan("any", fault, 1_000_000)
    try:
        with without_keys(bench):
            run = Run(bench.lab, config, AWS_METADATA_ENDPOINT=issuer.plain.url)
        yield "the keys to end in the middle of an upload", lambda: fault.refused.total() > 0, 90
        if down:
            issuer.down = True
            yield "new keys to be asked for in vain", lambda: issuer.refused > 3, 90
            assert not lake.files() and bench.lab.topics.committed(connector.group, topic).get(0, 0) == 0
            assert run.service.running(), run.text[-2000:]
            issuer.down = False
        yield run.ended(150)
        run.assert_code(0)
    finally:
        issuer.close()
        gate.plans.pop(lake.prefix)
    assert len(fault.seen) >= 2, "no other keys were used"
    assert fault.refused["part"] + fault.refused["complete"] > 0, f"no upload was under way: {fault.refused}"
    assert "ExpiredToken" in run.text, run.text[-2000:]
    assert not [one for one in issuer.given if one.secret_key in run.text or one.token in run.text]
    bench.prove(connector, lake, topic)


def test_fault_89_credentials_end_in_the_middle_of_an_upload_and_are_renewed(bench: Bench, gate: S3Gate) -> None:
    run_side_by_side([(name, expiring(bench, gate, down)) for name, down in (("renewed", False), ("the metadata service is down", True))])


def bit_flipped(request: Request, forward: Callable[[Request], Reply]) -> Reply:
    """A byte in the middle of the body is another one when it arrives."""
    body = bytearray(request.body)
    body[len(body) // 2] ^= 0x10
    return forward(replace(request, body=bytes(body)))


def upload_dropped(_request: Request, _forward: Callable[[Request], Reply]) -> Reply:
    """A lifecycle rule aborts the upload just before it would be completed."""
    return 404, [("Content-Type", "application/xml")], error_body("NoSuchUpload")


def test_fault_86_fault_93_dropped_uploads_and_flipped_bits_are_mended(bench: Bench, gate: S3Gate) -> None:
    cases = [
        ("a bit flips in a whole file", troubled(bench, gate, "put", bit_flipped, 2, False)),
        ("a bit flips in a part", troubled(bench, gate, "part", bit_flipped, 2, True)),
        ("the upload is gone", troubled(bench, gate, "complete", upload_dropped, 1, True)),
    ]
    run_side_by_side(cases)


def listing_empty(_request: Request, _forward: Callable[[Request], Reply]) -> Reply:
    """A listing that does not know of anything yet."""
    body = b'<?xml version="1.0" encoding="UTF-8"?><ListBucketResult><IsTruncated>false</IsTruncated><KeyCount>0</KeyCount></ListBucketResult>'
    return 200, [("Content-Type", "application/xml")], body


def stale_listing(bench: Bench, gate: S3Gate) -> Case:
    """A process that died between publish and settle leaves files that its heir's listing does not show."""
    connector, lake, topic, config = through(bench, gate, "s3")
    first = Run(bench.lab, config, "settle.before=kill")
    yield first.ended()
    first.assert_code(-9)
    assert lake.files(), "nothing was published"
    gate.plans[lake.prefix] = Plan("list", listing_empty, 1000)
    second = Run(bench.lab, config)
    yield second.ended()
    second.assert_code(0)
    del gate.plans[lake.prefix]
    bench.prove(connector, lake, topic)


def test_fault_91_a_stale_listing_changes_nothing(bench: Bench, gate: S3Gate) -> None:
    run_side_by_side([("stale listing", stale_listing(bench, gate))])


def stopped_with(bench: Bench, gate: S3Gate, fault: Fault, words: str) -> Case:
    """The connector stops, says why and what to do, commits no end; when the trouble is mended a restart delivers all."""
    connector, lake, topic, config = through(bench, gate, "s3")
    gate.plans[lake.prefix] = Plan("put", fault, 1000)
    run = Run(bench.lab, config)
    yield run.ended()
    run.assert_code(1)
    assert words in run.text, run.text[-2000:]
    assert not lake.files() and set(bench.lab.topics.committed(connector.group, topic).values()) <= {0}
    del gate.plans[lake.prefix]
    again = Run(bench.lab, config)
    yield again.ended()
    again.assert_code(0)
    bench.prove(connector, lake, topic)


def test_fault_92_missing_rights_and_buckets_stop_with_the_offset_held(bench: Bench, gate: S3Gate) -> None:
    cases = [
        ("rights", stopped_with(bench, gate, refused(403, "AccessDenied"), "check the credentials")),
        ("bucket", stopped_with(bench, gate, refused(404, "NoSuchBucket"), "make the bucket or correct storage.url")),
    ]
    run_side_by_side(cases)


def taken_name(bench: Bench) -> Case:
    """A file that is not ours has the first name: never overwritten, both are named."""
    connector, lake, topic, config = bench.case("s3", partition_by=[])
    assert isinstance(lake, S3Lake)
    key = f"{lake.bucket}/{lake.prefix}/{topic}/{topic}+0+{0:012}+{100:012}.parquet"
    stranger = pa.BufferOutputStream()
    pyarrow.parquet.write_table(pa.table({"a": [1]}), stranger)
    with lake.filesystem.open_output_stream(key) as target:
        target.write(stranger.getvalue())
    bench.lab.topics.commit(connector.group, topic, {0: 0, 1: 0})
    run = Run(bench.lab, config)
    yield run.ended()
    run.assert_code(1)
    assert re.search("exists with other content", run.text), run.text[-2000:]
    with lake.filesystem.open_input_stream(key) as source:
        assert source.read() == stranger.getvalue().to_pybytes()
    assert bench.lab.topics.committed(connector.group, topic).get(0, 0) == 0


def test_fault_87_a_name_that_is_taken_is_never_overwritten(bench: Bench) -> None:
    run_side_by_side([("taken", taken_name(bench))])


def unconditional(bench: Bench, gate: S3Gate) -> Case:
    connector, lake, topic, config = through(bench, gate, "s3")
    gate.unconditional.add(lake.prefix)
    run = Run(bench.lab, config)
    yield run.ended()
    run.assert_code(1)
    assert "exactly-once delivery is not possible" in run.text, run.text[-2000:]
    assert not lake.files() and not bench.lab.topics.committed(connector.group, topic)


def test_fault_88_a_store_without_conditional_writes_is_refused(bench: Bench, gate: S3Gate) -> None:
    run_side_by_side([("unconditional", unconditional(bench, gate))])


def left_uploads(bench: Bench) -> Case:
    """A process that dies with an open upload leaves an invisible one; the next makes its own and completes that."""
    connector, lake, topic, config = bench.case("s3-large")
    first = Run(bench.lab, config, "upload.part.after=kill")
    yield first.ended()
    first.assert_code(-9)
    assert not lake.visible(), "an unfinished upload is visible"
    second = Run(bench.lab, config)
    yield second.ended()
    second.assert_code(0)
    bench.prove(connector, lake, topic)


def test_fault_85_an_upload_left_open_is_invisible_and_in_nobodys_way(bench: Bench) -> None:
    run_side_by_side([("left upload", left_uploads(bench))])


def swept_uploads(bench: Bench) -> Case:
    """What a killed process left is aborted, what somebody else has under way is not. MinIO lists uploads of a whole bucket only."""
    lake = S3Lake(bench.lab.stack.minio.url, ACCESS_KEY, SECRET_KEY, bench.lab.name("swept"), bench.lab.folder / bench.lab.name("mirror"), prefix="")
    connector = bench.lab.connector(lake, [bench.large], rotate={"rows": 1000, "bytes": "1GiB", "every": "1h"}, tasks=1)
    config = bench.lab.sluice.write([connector.settings], f"{connector.settings['name']}.yaml")
    root = Credentials(ACCESS_KEY, SECRET_KEY)

    def left() -> list[str]:
        return open_uploads(bench.lab.stack.minio.url, root, lake.bucket)

    foreign = f"{bench.large}/somebody-else.bin"
    begin_upload(bench.lab.stack.minio.url, root, f"{lake.bucket}/{foreign}")
    first = Run(bench.lab, config, "upload.part.after=kill")
    yield first.ended()
    first.assert_code(-9)
    ours = [key for key in left() if key != foreign]
    assert len(ours) == 1 and ours[0].endswith(".parquet"), ours
    second = Run(bench.lab, config)
    yield second.ended()
    second.assert_code(0)
    assert sorted(left()) == sorted([foreign, *ours]), "a young upload may still be somebody's"
    third = Run(bench.lab, config, "sweep.uploads=error", until_end=False)
    yield third.says("unfinished uploads of ended processes aborted")
    third.service.signal(SIGTERM)
    yield third.ended()
    third.assert_code(0)
    assert left() == [foreign]
    bench.prove(connector, lake, bench.large)


def test_fault_85_uploads_of_killed_processes_are_swept_and_no_others(bench: Bench) -> None:
    run_side_by_side([("swept uploads", swept_uploads(bench))])
