"""What docs/types.md says of Hive 2.3."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from engines.columns import Files
from engines.readers import Reader
from engines.test_types import differences


def decimal(precision: int) -> Any:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": 2}


READ: list[Any] = [
    *("boolean", "int", "long", "float", "double", "bytes", "string"),
    {"type": "int", "logicalType": "date"},
    decimal(38),
    {"type": "string", "logicalType": "uuid"},
    {"type": "fixed", "name": "F", "size": 12, "logicalType": "duration"},
    {"type": "enum", "name": "E", "symbols": ["A", "B"]},
    ["int", "string"],
    {"type": "array", "items": ["null", "int"]},
    {"type": "map", "values": ["null", "int"]},
]
NOT_READ: list[Any] = [decimal(9), decimal(18), *({"type": "long", "logicalType": f"{local}timestamp-{unit}"} for local in ("", "local-") for unit in ("millis", "micros", "nanos"))]


@pytest.mark.parametrize("schema", READ, ids=str)
def test_hive_reads(engine: Callable[[str], Reader], files: Files, schema: Any) -> None:
    written, reader = files.of_type(schema), engine("Hive")
    wrong = differences(str(schema), reader, written.type, reader.rows(written.file, written.type), written.wanted("Hive"))
    assert not wrong, wrong


@pytest.mark.parametrize("schema", NOT_READ, ids=str)
def test_hive_does_not_read(engine: Callable[[str], Reader], files: Files, schema: Any) -> None:
    written, reader = files.of_type(schema), engine("Hive")
    with pytest.raises(Exception, match="Exception"):
        reader.rows(written.file, written.type)
