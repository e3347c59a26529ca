"""Owns reading what was written: file names, footers, rows, on local disk and in a bucket.

Does not own any expectation of a single test; `delivery.py` has the ones that always hold.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb
import pyarrow.fs
import pyarrow.parquet

FILE_NAME = re.compile(r"(?P<topic>.+)\+(?P<partition>\d+)\+(?P<start>\d{12})\+(?P<end>\d{12})(\+(?P<number>\d+))?\.parquet")


@dataclass(frozen=True)
class DataFile:
    """A data file: where its bytes are on this machine, and what its name below the prefix says."""

    path: Path
    name: str
    topic: str
    partition: int
    start: int
    end: int

    @property
    def directory(self) -> str:
        """The directories between the topic's and the file, `k=v/k=v`."""
        return "/".join(self.name.split("/")[1:-1])

    def footer(self) -> dict[str, str]:
        """The `sluice.*` key-values of the footer, without the prefix."""
        pairs = pyarrow.parquet.read_metadata(self.path).metadata or {}
        return {key.decode().removeprefix("sluice."): value.decode() for key, value in pairs.items() if key.startswith(b"sluice.")}


class Lake:
    """An output prefix. Subclasses say where it is and bring its files to this machine."""

    url: str
    options: dict[str, Any]

    def paths(self) -> dict[str, Path]:
        """Every file below the prefix, whatever its name: name below the prefix and path on this machine."""
        raise NotImplementedError

    def visible(self) -> dict[str, Path]:
        """The files that a reader sees: no part of the name below the prefix starts with a dot or an underscore."""
        return {name: path for name, path in self.paths().items() if not any(part[0] in "._" for part in name.split("/"))}

    def remove(self, name: str) -> None:
        """Takes a file away, as only a fault or a careless hand does."""
        raise NotImplementedError

    def options_of_commands(self) -> list[str]:
        """What `sluice audit` and `inspect` need beside the URL."""
        return [word for key, value in self.options.items() for word in ("--option", f"{key}={str(value).lower() if isinstance(value, bool) else value}")]

    def files(self) -> list[DataFile]:
        """The data files, by name. A visible file with another kind of name is an error."""
        found = []
        for name, path in sorted(self.visible().items()):
            match = FILE_NAME.fullmatch(name.split("/")[-1])
            assert match, f"{name} is not the name of a data file"
            found.append(DataFile(path, name, match["topic"], int(match["partition"]), int(match["start"]), int(match["end"])))
        return found

    def rows(self) -> list[dict[str, Any]]:
        """Every row as pyarrow reads it, in the order of topic, partition and offset."""
        rows = [row for file in self.files() for row in pyarrow.parquet.ParquetFile(file.path).read().to_pylist()]
        return sorted(rows, key=lambda row: (row["_topic"], row["_partition"], row["_offset"]))

    def duckdb(self) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection with all the rows in the view `lake` (column `filename` beside ours)."""
        connection = duckdb.connect()
        paths = [str(file.path) for file in self.files()]
        assert paths, f"no data file below {self.url}"
        files = ", ".join("'" + path.replace("'", "''") + "'" for path in paths)
        options = "union_by_name = true, hive_partitioning = false, filename = true"
        connection.execute(f"create view lake as select * from read_parquet([{files}], {options})")
        return connection

    def positions(self) -> list[tuple[str, int, int]]:
        """Topic, partition and offset of every row, as often as it is there."""
        if not self.files():
            return []
        return self.duckdb().execute("select _topic, _partition, _offset from lake order by all").fetchall()


@dataclass
class LocalLake(Lake):
    """A folder."""

    folder: Path
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def url(self) -> str:  # type: ignore[override]
        """`file://` and the folder."""
        return self.folder.as_uri()

    def paths(self) -> dict[str, Path]:
        """Every file on the disk, hidden ones too."""
        paths = (Path(folder, name) for folder, _, names in os.walk(self.folder) for name in names)
        return {str(path.relative_to(self.folder)): path for path in paths}

    def remove(self, name: str) -> None:
        (self.folder / name).unlink()


@dataclass
class S3Lake(Lake):
    """A bucket of its own with a prefix in it; objects are copied into `mirror` to be read."""

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str
    mirror: Path
    prefix: str = "raw/shop"

    def __post_init__(self) -> None:
        self.options = {"endpoint": self.endpoint, "region": "us-east-1", "allow_http": True}
        self.filesystem = pyarrow.fs.S3FileSystem(
            access_key=self.access_key,
            secret_key=self.secret_key,
            endpoint_override=self.endpoint,
            region="us-east-1",
            allow_bucket_creation=True,
        )
        self.filesystem.create_dir(self.bucket)

    @property
    def url(self) -> str:  # type: ignore[override]
        """`s3://bucket/prefix`."""
        return f"s3://{self.bucket}/{self.prefix}"

    def paths(self) -> dict[str, Path]:
        """Every object of the bucket's prefix, copied here when it is new."""
        root = f"{self.bucket}/{self.prefix}"
        selector = pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True)
        found = {}
        for info in self.filesystem.get_file_info(selector):
            if info.type == pyarrow.fs.FileType.File:
                name = info.path.removeprefix(f"{root}/")
                copy = self.mirror / name
                if not copy.exists() or copy.stat().st_size != info.size:
                    copy.parent.mkdir(parents=True, exist_ok=True)
                    try:
                        with self.filesystem.open_input_stream(info.path) as source:
                            copy.write_bytes(source.read())
                    except FileNotFoundError:
                        continue  # A probe object that went away since it was listed.
                found[name] = copy
        return found

    def remove(self, name: str) -> None:
        self.filesystem.delete_file(f"{self.bucket}/{self.prefix}/{name}")
        (self.mirror / name).unlink(missing_ok=True)
