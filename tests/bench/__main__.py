"""`python -m bench run|linear|idle|instructions|peer`: see docs/performance.md for what the numbers mean."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from statistics import median

from harness.sluice import BINARY
from services.process import Service

from bench import instructions
from bench.peers import PEERS
from bench.runs import FLOOR, Floor, Run, floor_of, whole_run, write_config
from bench.shapes import SHAPES
from bench.stage import Stage


def main() -> int:
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="whole runs beside their floor")
    run.add_argument("--shapes", default="orders", help=f"comma-separated, or `all`: {', '.join(SHAPES)}")
    run.add_argument("--records", type=int, help="instead of the shape's own count")
    run.add_argument("--runs", type=int, default=3, help="the least of so many is shown")
    linear = commands.add_parser("linear", help="cost a record against the number of records, partitions and tasks")
    linear.add_argument("--counts", default="200000,2000000,10000000")
    linear.add_argument("--runs", type=int, default=2)
    idle = commands.add_parser("idle", help="CPU of a daemon with nothing to do")
    idle.add_argument("--seconds", type=float, default=60)
    counts = commands.add_parser("instructions", help="instructions a record, against the committed counts")
    counts.add_argument("--accept", action="store_true", help="commit to the new counts")
    peer = commands.add_parser("peer", help="another program on the same orders, beside a whole run")
    peer.add_argument("name", choices=PEERS)
    peer.add_argument("--records", type=int, default=2_000_000)
    arguments = parser.parse_args()
    if arguments.command == "instructions":
        return instructions.check(arguments.accept)
    needed = [BINARY, FLOOR] if arguments.command == "run" else [BINARY]
    missing = [str(path) for path in needed if not path.is_file()]
    if missing:
        print(f"not there: {', '.join(missing)}; run `make bench`, or `cargo build --release --examples`", file=sys.stderr)
        return 1
    with Stage() as stage:
        if arguments.command == "run":
            names = list(SHAPES) if arguments.shapes == "all" else arguments.shapes.split(",")
            for name in names:
                show_run(stage, name, arguments.records, arguments.runs)
        elif arguments.command == "linear":
            show_linear(stage, [int(count) for count in arguments.counts.split(",")], arguments.runs)
        elif arguments.command == "idle":
            show_idle(stage, arguments.seconds)
        else:
            show_peer(stage, arguments.name, arguments.records)
    return 0


def show_run(stage: Stage, name: str, records: int | None, runs: int) -> None:
    """One shape: the least CPU of several runs beside the least floor of as many."""
    shape = SHAPES[name]
    count = records or shape.records
    pairs = [(whole_run(stage, shape, count), floor_of(stage, shape, count)) for _ in range(runs)]
    run = least([run for run, _ in pairs])
    floor = min((floor for _, floor in pairs), key=lambda floor: floor.cpu_s)
    # The machine is seldom quiet: a ratio of two figures taken one after the other is worth more than the figures.
    ratio = median(run.taken.cpu_s / floor.cpu_s for run, floor in pairs)
    taken, megabytes = run.taken, floor.avro_bytes / 1e6
    print(f"\n{name}: {count:,} records, {megabytes:,.0f} MB of Avro, {shape.partitions} partitions; least CPU of {runs} runs")
    print(f"  wall        {taken.wall_s:8.2f} s      {count / taken.wall_s:12,.0f} records/s")
    print(f"  CPU         {taken.cpu_s:8.2f} s      {count / taken.cpu_s:12,.0f} records/CPU-s   {megabytes / taken.cpu_s:8,.0f} MB/CPU-s   {micros(taken.cpu_s, count)}")
    print(f"  peak RSS    {taken.peak_rss_mib:8.0f} MiB    least of the runs {min(run.taken.peak_rss_mib for run, _ in pairs):.0f} MiB")
    print(f"  out         {run.out_bytes / 1e6:8.1f} MB     in {run.files} files")
    print(f"  floor       {floor.cpu_s:8.2f} s      {floor_text(floor, count)}")
    print(f"  run / floor {ratio:8.2f}        median of the pairs")
    library_ratio = median(run.taken.cpu_s / floor.library_cpu_s for run, floor in pairs)
    library = min((floor for _, floor in pairs), key=lambda floor: floor.library_cpu_s)
    print(f"  floor with the Parquet library's writer {library.library_cpu_s:.2f} s, encode {library.library_encode_cpu_s / count * 1e6:.2f} µs/record")
    print(f"  run / that  {library_ratio:8.2f}        median of the pairs", flush=True)


def show_linear(stage: Stage, counts: Sequence[int], runs: int) -> None:
    """The same orders in other numbers, over other partitions, by other tasks."""
    cases = [("orders", count, {}) for count in counts]
    cases += [("orders-200-partitions", 2_000_000, {}), ("orders", 2_000_000, {"tasks": 1}), ("orders", 2_000_000, {"tasks": 2})]
    for name, count, sections in cases:
        run = least([whole_run(stage, SHAPES[name], count, sections) for _ in range(runs)])
        told = f"{name} {sections or ''}"
        print(f"{told:34} {count:>12,} records  {micros(run.taken.cpu_s, count)}  {run.taken.wall_s:7.2f} s wall  {run.taken.peak_rss_mib:5.0f} MiB", flush=True)


def show_idle(stage: Stage, seconds: float) -> None:
    """A daemon on an empty topic: the CPU it takes after the first five seconds."""
    shape, folder = SHAPES["narrow"], stage.folder / "idle"
    folder.mkdir()
    config = write_config(stage, shape, 4, folder, {})
    daemon = Service("sluice", [str(BINARY), "run", "--config", str(config)], folder / "log.txt", {})
    daemon.start()
    try:
        time.sleep(5)
        before = cpu_seconds(daemon.process.pid)
        time.sleep(seconds)
        used = cpu_seconds(daemon.process.pid) - before
    finally:
        daemon.signal(signal.SIGTERM)
        daemon.wait_end(60)
    print(f"idle: {used:.2f} s of CPU in {seconds:.0f} s, {used / seconds:.2%} of a core")


def show_peer(stage: Stage, name: str, count: int) -> None:
    """The peer and we on the same topic, one after the other."""
    shape = SHAPES["orders"]
    taken = PEERS[name](stage, shape, count)
    ours = whole_run(stage, shape, count).taken
    for told, one in ((name, taken), ("sluice", ours)):
        print(f"{told:8} {one.wall_s:8.2f} s wall  {one.cpu_s:8.2f} s CPU  {micros(one.cpu_s, count)}  {one.peak_rss_mib:6.0f} MiB")
    print(f"ratio    {taken.wall_s / ours.wall_s:8.1f}         {taken.cpu_s / ours.cpu_s:8.1f}", flush=True)


def least(runs: Sequence[Run]) -> Run:
    """The run with the least CPU."""
    return min(runs, key=lambda run: run.taken.cpu_s)


def micros(cpu_s: float, count: int) -> str:
    """CPU a record."""
    return f"{cpu_s / count * 1e6:6.2f} µs/record"


def floor_text(floor: Floor, count: int) -> str:
    """The parts of a floor, a record."""
    parts = {"consume": floor.consume_cpu_s, "encode": floor.encode_cpu_s, "(decode": floor.decode_cpu_s}
    return ", ".join(f"{name} {seconds / count * 1e6:.2f}" for name, seconds in parts.items()) + ") µs/record"


def cpu_seconds(process: int) -> float:
    """User and system time of a process so far."""
    with open(f"/proc/{process}/stat", encoding="ascii") as stat:
        fields = stat.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / 100


if __name__ == "__main__":
    sys.exit(main())
