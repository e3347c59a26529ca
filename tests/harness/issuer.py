"""Owns what stands behind the chain of credentials in a cloud: temporary credentials of the store, in the words of each
service. Does not own who asks for them."""

from __future__ import annotations

import datetime
import json
import threading
from pathlib import Path

from harness.http_door import Answer, HttpDoor
from harness.s3_requests import Credentials, temporary_credentials

class Issuer:
    """Gives temporary credentials of the store at `endpoint`, those of `who`, to whoever asks: the metadata service and the
    service of pods on `plain`, web identity on `tls`, where there is a certificate.
    """

    def __init__(self, endpoint: str, who: Credentials, certificate: Path | None = None):
        self.endpoint, self.who = endpoint, who
        self.lasting_s = 600
        """How long they are said to last. A client asks for new ones some minutes before that."""
        self.down = False
        """Nobody is given any."""
        self.refused = 0
        self.given: list[Credentials] = []
        self._lock = threading.Lock()
        self.plain = HttpDoor(self._answer)
        self.tls = HttpDoor(self._answer, certificate) if certificate is not None else None

    def close(self) -> None:
        """Stops listening."""
        self.plain.close()
        if self.tls is not None:
            self.tls.close()

    def _new(self) -> tuple[Credentials, str]:
        credentials = temporary_credentials(self.endpoint, self.who)
        with self._lock:
            self.given.append(credentials)
        until = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=self.lasting_s)
        return credentials, until.strftime("%Y-%m-%dT%H:%M:%SZ")

    def _answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        if self.down:
            with self._lock:
                self.refused += 1
            return 503, "text/plain", b"not now"
        if path == "/latest/api/token" and method == "PUT":
            return 200, "text/plain", b"metadata-session"
        if path.startswith("/latest/meta-data/"):
            if headers.get("x-aws-ec2-metadata-token") != "metadata-session":
                return 401, "text/plain", b""
            if path.endswith("/security-credentials/"):
                return 200, "text/plain", b"role"
            return self._json()
        if path == "/pod":
            return self._json() if headers.get("authorization") == "pod-token" else (401, "text/plain", b"")
        if b"AssumeRoleWithWebIdentity" in body + path.encode() and b"web-token" in body + path.encode():
            credentials, until = self._new()
            inside = "".join(
                f"<{tag}>{text}</{tag}>"
                for tag, text in [
                    ("AccessKeyId", credentials.access_key),
                    ("SecretAccessKey", credentials.secret_key),
                    ("SessionToken", credentials.token),
                    ("Expiration", until),
                ]
            )
            result = f"<AssumeRoleWithWebIdentityResult><Credentials>{inside}</Credentials></AssumeRoleWithWebIdentityResult>"
            return 200, "text/xml", f"<AssumeRoleWithWebIdentityResponse>{result}</AssumeRoleWithWebIdentityResponse>".encode()
        return 404, "text/plain", b""

    def _json(self) -> Answer:
        credentials, until = self._new()
        answer = {
            "Code": "Success",
            "Type": "AWS-HMAC",
            "LastUpdated": until,
            "AccessKeyId": credentials.access_key,
            "SecretAccessKey": credentials.secret_key,
            "Token": credentials.token,
            "Expiration": until,
        }
        return 200, "application/json", json.dumps(answer).encode()
