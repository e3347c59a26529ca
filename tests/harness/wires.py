"""Owns the wire formats beside Confluent's, written here from their descriptions, and registries that know their ids.

Does not own Confluent's format (`registry.py`).
"""

from __future__ import annotations

import json
import struct
import threading
import urllib.request
import uuid
import zlib
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

import fastavro.schema


def apicurio(schema_id: int, datum: bytes) -> bytes:
    """A zero byte, an id of eight bytes, the datum."""
    return struct.pack(">bq", 0, schema_id) + datum


def glue(version: uuid.UUID, datum: bytes, compressed: bool = False) -> bytes:
    """Byte 3, the compression, the UUID of a schema version, the datum."""
    body = zlib.compress(datum) if compressed else datum
    return bytes([3, 5 if compressed else 0]) + version.bytes + body


def single_object(schema: Any, datum: bytes) -> bytes:
    """C3 01, the fingerprint of the schema by fastavro, the datum."""
    form = fastavro.schema.to_parsing_canonical_form(schema)
    return b"\xc3\x01" + bytes.fromhex(fastavro.schema.fingerprint(form, "CRC-64-AVRO")) + datum


@dataclass
class ApicurioClient:
    """Registers schemas at Apicurio's own API, version 2. `url` is that of the registry without a path."""

    url: str

    @property
    def api(self) -> str:
        """Base URL of the API."""
        return f"{self.url}/apis/registry/v2"

    def register(self, artifact: str, schema: Any, references: list[dict[str, Any]] | None = None) -> tuple[int, int]:
        """Registers an artifact; returns its global id and its content id."""
        kind, body = "application/json", json.dumps(schema)
        if references:
            kind, body = "application/create.extended+json", json.dumps({"content": body, "references": references})
        headers = {"Content-Type": kind, "X-Registry-ArtifactId": artifact, "X-Registry-ArtifactType": "AVRO"}
        request = urllib.request.Request(f"{self.api}/groups/default/artifacts", body.encode(), headers)
        with urllib.request.urlopen(request, timeout=20) as reply:
            answer = json.load(reply)
        return int(answer["globalId"]), int(answer["contentId"])


@dataclass
class Apicurio3Client:
    """Registers schemas at Apicurio's own API, version 3. `url` is that of the registry without a path."""

    url: str

    @property
    def api(self) -> str:
        """Base URL of the API."""
        return f"{self.url}/apis/registry/v3"

    def register(self, artifact: str, schema: Any, references: list[dict[str, Any]] | None = None, group: str = "default") -> tuple[int, int]:
        """Registers an artifact; returns its global id and its content id."""
        content = {"content": json.dumps(schema), "contentType": "application/json", "references": references or []}
        body = {"artifactId": artifact, "artifactType": "AVRO", "firstVersion": {"content": content}}
        request = urllib.request.Request(f"{self.api}/groups/{group}/artifacts", json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=20) as reply:
            version = json.load(reply)["version"]
        return int(version["globalId"]), int(version["contentId"])


@dataclass
class Glue:
    """Stands in for AWS Glue: answers GetSchemaVersion; as a context manager it listens inside and is gone outside."""

    versions: dict[uuid.UUID, Any] = field(default_factory=dict)
    requests: list[dict[str, str]] = field(default_factory=list)

    def __enter__(self) -> Glue:
        glue = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                glue.requests.append({key.lower(): value for key, value in self.headers.items()})
                schema = glue.versions.get(uuid.UUID(body["SchemaVersionId"]))
                if schema is None:
                    status, answer = 400, {"__type": "EntityNotFoundException", "Message": "no such version"}
                else:
                    status, answer = 200, {"SchemaDefinition": json.dumps(schema), "DataFormat": "AVRO"}
                payload = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)

            def log_message(self, format: str, *arguments: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"
