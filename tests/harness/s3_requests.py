"""Owns signed requests (AWS signature, version 4) for what the tests' S3 client has no word for: headers of an object,
uploads in parts, temporary credentials with a policy of their own. Does not own the server.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
import json
import urllib.error
import urllib.parse
import urllib.request
import xml.etree.ElementTree
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Credentials:
    """Keys of an S3 user; `token` for temporary ones."""

    access_key: str
    secret_key: str
    token: str = ""

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that S3 clients take them from."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key, "AWS_SESSION_TOKEN": self.token}


def object_headers(endpoint: str, credentials: Credentials, path: str) -> dict[str, str]:
    """The headers of `bucket/key`, with small letters."""
    with urllib.request.urlopen(_signed(endpoint, credentials, "HEAD", f"/{urllib.parse.quote(path)}", b"", "s3"), timeout=20) as reply:
        return {key.lower(): value for key, value in reply.headers.items()}


def temporary_credentials(endpoint: str, credentials: Credentials, policy: Any = None) -> Credentials:
    """Credentials of a session that may do what `policy` allows (and the user may), for a quarter of an hour."""
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "DurationSeconds": "900"}
    if policy is not None:
        form["Policy"] = json.dumps(policy)
    request = _signed(endpoint, credentials, "POST", "/", urllib.parse.urlencode(form).encode(), "sts")
    try:
        with urllib.request.urlopen(request, timeout=20) as reply:
            answer = xml.etree.ElementTree.fromstring(reply.read())
    except urllib.error.HTTPError as error:
        raise AssertionError(f"no temporary credentials: {error.code} {error.read().decode(errors='replace')}") from error
    found = {element.tag.rpartition("}")[2]: element.text or "" for element in answer.iter()}
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def begin_upload(endpoint: str, credentials: Credentials, path: str) -> str:
    """Begins an upload to `bucket/key` in parts, and leaves it; returns its id."""
    return _told(_signed(endpoint, credentials, "POST", f"/{urllib.parse.quote(path)}", b"", "s3", query="uploads="))["UploadId"][0]


def open_uploads(endpoint: str, credentials: Credentials, bucket: str, prefix: str = "") -> list[str]:
    """The keys of uploads that are neither completed nor aborted, as the store lists them."""
    query = f"prefix={urllib.parse.quote(prefix, safe='')}&uploads="
    return _told(_signed(endpoint, credentials, "GET", f"/{bucket}", b"", "s3", query=query)).get("Key", [])


def _told(request: urllib.request.Request) -> dict[str, list[str]]:
    """The texts of an answer by the names of their elements."""
    found: dict[str, list[str]] = {}
    with urllib.request.urlopen(request, timeout=20) as reply:
        for element in xml.etree.ElementTree.fromstring(reply.read()).iter():
            found.setdefault(element.tag.rpartition("}")[2], []).append(element.text or "")
    return found


def _signed(
    endpoint: str, who: Credentials, method: str, path: str, body: bytes, service: str, region: str = "us-east-1", query: str = ""
) -> urllib.request.Request:
    now = datetime.datetime.now(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
    digest = hashlib.sha256(body).hexdigest()
    headers = {"host": urllib.parse.urlparse(endpoint).netloc, "x-amz-content-sha256": digest, "x-amz-date": now}
    if who.token:
        headers["x-amz-security-token"] = who.token
    names = ";".join(sorted(headers))
    lines = [method, path, query, *(f"{key}:{headers[key]}" for key in sorted(headers)), "", names, digest]
    scope = f"{now[:8]}/{region}/{service}/aws4_request"
    text = "\n".join(["AWS4-HMAC-SHA256", now, scope, hashlib.sha256("\n".join(lines).encode()).hexdigest()])
    key = f"AWS4{who.secret_key}".encode()
    for part in (now[:8], region, service, "aws4_request", text):
        key = hmac.digest(key, part.encode(), "sha256")
    signature = f"AWS4-HMAC-SHA256 Credential={who.access_key}/{scope}, SignedHeaders={names}, Signature={key.hex()}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    url = f"{endpoint}{path}?{query}" if query else f"{endpoint}{path}"
    return urllib.request.Request(url, body or None, {**headers, **kind, "Authorization": signature}, method=method)
