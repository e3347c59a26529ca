"""Owns fetching a Trino server with its Hive connector. Does not own running it."""

from __future__ import annotations

import shutil
import zipfile
from pathlib import Path

from services.cache import checked, fetched, program

VERSION = "476"


def fetch() -> Path:
    """The folder with `lib` and `plugin`; Maven brings it the first time (400 MB)."""

    def unpack(folder: Path) -> None:
        for artifact, kind in (("trino-server-core", "tar.gz"), ("trino-hive", "zip")):
            goal = [f"-Dartifact=io.trino:{artifact}:{VERSION}:{kind}", f"-DoutputDirectory={folder}", "-Dtransitive=false"]
            checked([program("mvn"), "-q", "-B", "dependency:get", goal[0], goal[2]])
            checked([program("mvn"), "-q", "-B", "dependency:copy", goal[0], goal[1]])
        checked(["tar", "-xzf", str(folder / f"trino-server-core-{VERSION}.tar.gz"), "-C", str(folder), "--strip-components=1"])
        for plugin in (folder / "plugin").iterdir():
            shutil.rmtree(plugin)
        # Not `shutil.unpack_archive`, which leaves out names with two points in them.
        with zipfile.ZipFile(folder / f"trino-hive-{VERSION}.zip") as archive:
            archive.extractall(folder / "plugin")
        for archive in (*folder.glob("*.tar.gz"), *folder.glob("*.zip")):
            archive.unlink()

    return fetched(f"trino-{VERSION}", unpack)
