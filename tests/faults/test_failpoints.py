"""The process dies, stops or meets an error on either side of every step of the protocol, also while it recovers."""

from __future__ import annotations

import re

import pytest
from harness.sluice import REPOSITORY

from faults.bench import Bench
from faults.extent import only_long
from faults.process_case import Run
from faults.side_by_side import Case, run_side_by_side

SIGCONT, SIGKILL = 18, 9
BEGINNING = ["sweep.before", "sweep.after", "recover.read.before", "recover.read.after", "claim.before", "claim.after", "recover.start.before", "recover.start.after"]
LISTING = ["recover.list.before", "recover.list.after", "note.before", "note.after", "confirm.before", "confirm.after"]
MAKING = ["task.input", "append.before", "append.after", "seal.before", "seal.after"]
COMMITTING = ["intend.before", "intend.after"]
PUBLISHING = ["publish.before", "publish.file.before", "publish.file.after", "publish.after"]
SETTLING = ["settle.before", "settle.after"]
DISK = ["write.after", "sync.after", "rename.before", "rename.after"]
PUT = ["put.before", "put.after"]
UPLOAD = ["write.after", "upload.create.before", "upload.create.after", "upload.part.before", "upload.part.after", "complete.before", "complete.after"]
PROTOCOL = [*BEGINNING, *MAKING, *PUBLISHING, *SETTLING]
POINTS = {
    "local": [*PROTOCOL, *LISTING, *COMMITTING, *DISK],
    "s3": [*PROTOCOL, *LISTING, *COMMITTING, *PUT],
    "s3-large": [*UPLOAD, "seal.after", "intend.after", "publish.after"],
}
KINDS = ["local", "s3", "s3-large"]


def killed_at(bench: Bench, kind: str, points: list[str]) -> Case:
    """Dies at each of the points, one life after the other; the life after them delivers what is left."""
    connector, lake, topic, config = bench.case(kind)
    for point in points:
        life = Run(bench.lab, config, f"{point}=kill")
        yield life.ended()
        life.assert_code(-SIGKILL)
        assert f"failpoint {point.split('@')[0]}: Kill" in life.text, life.text[-1500:]
    last = Run(bench.lab, config)
    yield last.ended()
    last.assert_code(0)
    bench.prove(connector, lake, topic)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_94_killed_at_every_step_every_record_is_there_once(bench: Bench, kind: str) -> None:
    count = run_side_by_side((f"{kind} {point}", killed_at(bench, kind, [point])) for point in POINTS[kind])
    print(f"{kind}: killed at {count} points")


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["local", "s3", only_long("s3-large")])
def test_fault_95_killed_at_every_step_of_a_recovery_every_record_is_there_once(bench: Bench, kind: str) -> None:
    """The first life leaves an intent with one of its files published, the second dies while it finishes that flush."""
    first = "publish.file.after" if kind != "s3-large" else "publish.before"
    # A pending intent is neither looked for in file names nor noted or committed again.
    points = [point for point in POINTS[kind] if point not in (*LISTING, *COMMITTING)]
    count = run_side_by_side((f"{kind} {point}", killed_at(bench, kind, [first, point])) for point in points)
    print(f"{kind}: killed at {count} points of a recovery")


def stopped_at(bench: Bench, kind: str, point: str) -> Case:
    """A zombie: stops at the point until another process has delivered everything, then goes on from there."""
    connector, lake, topic, config = bench.case(kind)
    zombie = Run(bench.lab, config, f"{point}=stop")
    yield zombie.stopped()
    heir = Run(bench.lab, config)
    yield heir.ended()
    heir.assert_code(0)
    bench.prove(connector, lake, topic)
    before = set(lake.paths())
    zombie.service.signal(SIGCONT)
    yield zombie.ended()
    zombie.assert_code(0)
    assert set(lake.visible()) == {name for name in before if "/." not in f"/{name}"}, "a zombie changed what is visible"
    bench.prove(connector, lake, topic)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", ["local", only_long("s3"), only_long("s3-large")])
def test_fault_20_fault_24_fault_25_fault_97_a_zombie_from_any_step_changes_nothing(bench: Bench, kind: str) -> None:
    count = run_side_by_side((f"{kind} {point}", stopped_at(bench, kind, point)) for point in POINTS[kind] if not point.startswith("sweep"))
    print(f"{kind}: zombies from {count} points")


def failing_at(bench: Bench, kind: str, point: str) -> Case:
    """One step fails once, or its answer is lost; the same process goes on."""
    connector, lake, topic, config = bench.case(kind)
    run = Run(bench.lab, config, f"{point}=error")
    yield run.ended()
    run.assert_code(0)
    assert f"failpoint {point}: Error" in run.text, run.text[-1500:]
    bench.prove(connector, lake, topic)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("kind", KINDS)
def test_fault_3_fault_25_fault_84_a_step_that_fails_or_whose_answer_is_lost_is_mended(bench: Bench, kind: str) -> None:
    with_error = points_with_an_error()
    count = run_side_by_side((f"{kind} {point}", failing_at(bench, kind, point)) for point in POINTS[kind] if point in with_error)
    print(f"{kind}: {count} points failed once")


def test_fault_94_every_point_of_the_source_is_tested() -> None:
    listed = set(re.findall(r'^        "([a-z.]+)",$', (REPOSITORY / "src/failpoint.rs").read_text(), re.M))
    used = set(points_in_the_source())
    assert listed == used, f"only in the list: {listed - used}; only in the source: {used - listed}"
    tested = {point for points in POINTS.values() for point in points}
    # Of daemons only: test_broker.py, test_group.py, test_s3_faults.py.
    assert listed - tested == {"recover.describe.before", "release.before", "sweep.uploads"}, listed ^ tested


def points_in_the_source() -> dict[str, bool]:
    """Every point that the source reaches, and whether an error can be had there."""
    found = {}
    for path in (REPOSITORY / "src").rglob("*.rs"):
        if path.name != "failpoint.rs":
            text = path.read_text()
            found |= {name: bool(comma) for name, comma in re.findall(r'failpoint!\(\s*"([a-z.]+)"(,?)', text)}
            found |= {name: True for name in re.findall(r'"((?:intend|confirm|settle)\.(?:before|after))"', text)}
    return found


def points_with_an_error() -> set[str]:
    """Points where the step can be made to fail."""
    return {name for name, error in points_in_the_source().items() if error}
