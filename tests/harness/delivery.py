"""Owns what holds for every output, whatever the test: each offset once, honest names and footers, nothing half done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import pyarrow.parquet

from harness.lake import DataFile, Lake, LocalLake
from harness.topics import Position

FOOTER_KEYS = {
    "connector",
    "topic",
    "topic_id",
    "partition",
    "start",
    "end",
    "rows",
    "schema_ids",
    "avro_schema",
    "checksum",
    "version",
}


def assert_delivered(lake: Lake, topic: str, produced: Iterable[Position]) -> None:
    """Every produced position is in the lake exactly once, and nothing else of that topic is."""
    expected = set(produced)
    counts = Counter((partition, offset) for name, partition, offset in lake.positions() if name == topic)
    missing = sorted(expected - counts.keys())
    strange = sorted(counts.keys() - expected)
    doubled = sorted(position for position, count in counts.items() if count > 1)
    assert not (missing or strange or doubled), (
        f"{topic}: {len(missing)} missing {missing[:5]}, {len(doubled)} doubled {doubled[:5]}, {len(strange)} not produced {strange[:5]}"
    )


def assert_sound(lake: Lake, contiguous: bool = True) -> None:
    """Names, ranges and footers agree with each other and with the rows; ranges are disjoint and leave no gap.

    `contiguous=False` where whole flushes may hold nothing to write (skipped records, control markers).
    """
    files = lake.files()
    assert files, f"no data file below {lake.url}"
    for file in files:
        _assert_file(file, FOOTER_KEYS)
    ranges: dict[tuple[str, int], set[tuple[int, int]]] = {}
    for file in files:
        ranges.setdefault((file.topic, file.partition), set()).add((file.start, file.end))
    for where, found in ranges.items():
        ordered = sorted(found)
        for (start, end), (next_start, next_end) in zip(ordered, ordered[1:], strict=False):
            assert end <= next_start, f"{where}: [{start}, {end}) overlaps [{next_start}, {next_end})"
            assert not contiguous or end == next_start, f"{where}: nothing between {end} and {next_start}"


def assert_nothing_left(lake: Lake) -> None:
    """No leftover of an unfinished write is below the prefix, whatever its name."""
    left = [name for name in lake.paths() if not name.endswith(".parquet") and not name.startswith(".sluice/claims/")]
    assert not left, f"leftovers: {left}"


def assert_names_hide_the_unfinished(folder: Path) -> None:
    """No name that a reader would take for data is hidden, and no other name is visible."""
    # Staging directories come and go while this looks.
    for path in LocalLake(folder).paths().values():
        hidden = any(part.startswith((".", "_")) for part in path.relative_to(folder).parts)
        assert hidden != path.name.endswith(".parquet"), f"{path} is neither a finished file nor hidden"


def _assert_file(file: DataFile, keys: set[str]) -> None:
    parquet = pyarrow.parquet.ParquetFile(file.path)
    footer = file.footer()
    assert file.name.startswith(f"{file.topic}/"), file.name
    assert footer.keys() >= keys, f"{file.name}: no {sorted(keys - footer.keys())} in the footer, only {sorted(footer)}"
    assert footer["topic"] == file.topic and int(footer["partition"]) == file.partition, file.name
    assert (int(footer["start"]), int(footer["end"])) == (file.start, file.end), file.name
    assert int(footer["rows"]) == parquet.metadata.num_rows > 0, file.name
    if "_offset" in parquet.schema_arrow.names:
        table = parquet.read(columns=["_topic", "_partition", "_offset"])
        offsets = table.column("_offset").to_pylist()
        assert offsets == sorted(set(offsets)), f"{file.name}: offsets do not ascend"
        assert file.start <= offsets[0] and offsets[-1] < file.end, f"{file.name} has the offsets {offsets[0]} to {offsets[-1]}"
        assert table.column("_topic").unique().to_pylist() == [file.topic], file.name
        assert table.column("_partition").unique().to_pylist() == [file.partition], file.name
