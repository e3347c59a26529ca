"""Owns the tests' view of the schema registry over plain HTTP, and the wire format. Does not own any schema."""

from __future__ import annotations

import json
import struct
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import fastavro


def framed(schema_id: int, datum: bytes) -> bytes:
    """Confluent's wire format: a zero byte, the schema id in four bytes, the datum."""
    return struct.pack(">bI", 0, schema_id) + datum


def encoded(schema: Any, record: Any) -> bytes:
    """The datum of `record`, written by fastavro."""
    buffer = BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(schema), record)
    return buffer.getvalue()


@dataclass(frozen=True)
class Reference:
    """A named type that a schema takes from another subject."""

    name: str
    subject: str
    version: int


class RegistryClient:
    """Registers schemas at Confluent's API."""

    def __init__(self, url: str):
        self.url = url

    def register(self, subject: str, schema: Any, references: Sequence[Reference] = (), kind: str = "AVRO") -> int:
        """Registers a version of the subject and returns the schema's id. No compatibility is asked for."""
        body: dict[str, Any] = {"schema": schema if isinstance(schema, str) else json.dumps(schema), "schemaType": kind}
        if references:
            body["references"] = [vars(reference) for reference in references]
        return int(self._post(f"/subjects/{urllib.parse.quote(subject, safe='')}/versions", body)["id"])

    def _post(self, path: str, body: Any) -> Any:
        headers = {"Content-Type": "application/vnd.schemaregistry.v1+json"}
        request = urllib.request.Request(self.url + path, json.dumps(body).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=20) as reply:
                return json.load(reply)
        except urllib.error.HTTPError as error:
            raise AssertionError(f"the registry refused {path}: {error.code} {error.read().decode(errors='replace')}") from error
