"""Owns the real schemas that tests use: those that public packages on PyPI bring as data. Does not own their values."""

from __future__ import annotations

import json
from importlib.metadata import files
from pathlib import Path
from typing import Any

from fastavro.schema import load_schema

PACKAGES = ("acryl-datahub", "lsst-alert-packet")
"""A catalogue of data, and alerts of an observatory; both are in tests/requirements.txt."""


def real_schemas() -> list[tuple[str, str]]:
    """Name and text of each schema, in the order of their paths. What lies in files beside it is put in."""
    found = [Path(str(file.locate())) for package in PACKAGES for file in files(package) or [] if file.name.endswith(".avsc")]
    return [("-".join((*path.parts[-3:-1], path.stem)), whole(path)) for path in sorted(found)]


def whole(path: Path) -> str:
    """The text of a schema file, or of it with those that it refers to."""
    text = path.read_text(encoding="utf-8")
    beside = {other.stem for other in path.parent.glob("*.avsc")} - {path.stem}
    if not any(f'"{name}"' in text for name in beside if "." in name):
        return text
    return json.dumps(without_hints(load_schema(str(path))))


def without_hints(schema: Any) -> Any:
    """A schema without what fastavro notes in it."""
    if isinstance(schema, list):
        return [without_hints(part) for part in schema]
    if isinstance(schema, dict):
        return {key: without_hints(part) for key, part in schema.items() if not key.startswith("__")}
    return schema
