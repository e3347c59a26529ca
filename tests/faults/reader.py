"""Owns the reader that must never meet a partial file: it reads whatever a plain reader would see, all the time.

A plain reader takes every name of which no part begins with a dot or an underscore, and reads the file to its end.
"""

from __future__ import annotations

import io
import threading
import time

import duckdb
import pyarrow.fs
import pyarrow.parquet
from harness.delivery import assert_names_hide_the_unfinished
from harness.lake import FILE_NAME, Lake, LocalLake, S3Lake

WHOLE_EVERY_SECONDS = 5.0


class PartialReader:
    """Reads each visible file as soon as it is there, and now and then the whole output at once, until stopped."""

    def __init__(self, lake: Lake):
        self.lake = lake
        self.turns = 0
        self.files_read = 0
        self.whole_reads = 0
        self._sizes: dict[str, int] = {}
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> PartialReader:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stop.set()
        self._thread.join(120)
        if kind is None:
            assert self._error is None, f"the reader failed after {self.turns} turns: {self._error!r}"
            assert self.turns > 0 and self.files_read > 0, "the reader read nothing"

    def _run(self) -> None:
        try:
            whole_at = time.monotonic()
            while not self._stop.is_set():
                self._read_what_is_new()
                self.turns += 1
                if time.monotonic() - whole_at > WHOLE_EVERY_SECONDS:
                    self._read_whole()
                    whole_at = time.monotonic()
                self._stop.wait(0.05)
            self._read_what_is_new()
            self._read_whole()
        except BaseException as error:  # noqa: BLE001
            self._error = error

    def _listed(self) -> dict[str, int]:
        if isinstance(self.lake, LocalLake):
            return {name: path.stat().st_size for name, path in self.lake.visible().items()}
        assert isinstance(self.lake, S3Lake)
        root = f"{self.lake.bucket}/{self.lake.prefix}"
        infos = self.lake.filesystem.get_file_info(pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True))
        files = {info.path.removeprefix(f"{root}/"): info.size for info in infos if info.type == pyarrow.fs.FileType.File}
        return {name: size for name, size in files.items() if not any(part[0] in "._" for part in name.split("/"))}

    def _read_what_is_new(self) -> None:
        listed = self._listed()
        gone = self._sizes.keys() - listed.keys()
        assert not gone, f"a file that was visible is gone: {sorted(gone)[:3]}"
        for name, size in listed.items():
            assert self._sizes.get(name, size) == size, f"{name} had {self._sizes[name]} bytes, now {size}"
            if name not in self._sizes:
                match = FILE_NAME.fullmatch(name.split("/")[-1])
                assert match, f"{name} is visible and not the name of a data file"
                table = pyarrow.parquet.read_table(self._opened(name), partitioning=None)
                assert table.num_rows > 0, f"{name} is empty"
                self._sizes[name] = size
                self.files_read += 1
        if isinstance(self.lake, LocalLake):
            try:
                assert_names_hide_the_unfinished(self.lake.folder)
            except FileNotFoundError:
                pass  # A hidden file went away while its folder was walked.

    def _opened(self, name: str) -> io.BytesIO | str:
        if isinstance(self.lake, LocalLake):
            return str(self.lake.folder / name)
        assert isinstance(self.lake, S3Lake)
        with self.lake.filesystem.open_input_stream(f"{self.lake.bucket}/{self.lake.prefix}/{name}") as source:
            return io.BytesIO(source.read())

    def _read_whole(self) -> None:
        # On S3 DuckDB reads the copies; the objects themselves were read above, each as it came.
        if isinstance(self.lake, LocalLake) and self._sizes:
            query = f"select count(*), max(_offset) from read_parquet('{self.lake.folder}/*/**/*.parquet', hive_partitioning = false)"
            row = duckdb.connect().execute(query).fetchone()
            assert row is not None and row[0] > 0
            self.whole_reads += 1
