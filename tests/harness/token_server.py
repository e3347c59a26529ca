"""Owns an issuer of OAuth tokens (client credentials, RFC 6749 section 4.4) and the keys to check them with (RFC 7517)."""

from __future__ import annotations

import base64
import json
import threading
import time
import urllib.parse
from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from harness.http_door import Answer, HttpDoor

KEY_ID = "test-key"
ISSUER, AUDIENCE = "https://issuer.test", "kafka"


class TokenServer:
    """Gives tokens to the clients in `clients` (id: secret) over TLS, and its public key over plain HTTP.

    A token's subject is the client's id; it lasts `lifetime_s` seconds.
    """

    def __init__(self, certificate: Path):
        self.clients: dict[str, str] = {}
        self.lifetime_s = 300
        self.issued: list[str] = []
        self.requests = 0
        self._lock = threading.Lock()
        self._key = rsa.generate_private_key(65537, 2048)
        self._tokens = HttpDoor(self._token, certificate)
        self._keys = HttpDoor(self._keys_reply)

    @property
    def token_url(self) -> str:
        """Where clients ask for tokens."""
        return f"{self._tokens.url}/token"

    @property
    def keys_url(self) -> str:
        """Where brokers ask for the public key."""
        return f"{self._keys.url}/keys"

    def close(self) -> None:
        """Stops listening."""
        self._tokens.close()
        self._keys.close()

    def token(self, subject: str) -> str:
        """A signed token (RS256)."""
        now = int(time.time())
        claims = {"iss": ISSUER, "aud": AUDIENCE, "sub": subject, "iat": now, "exp": now + self.lifetime_s, "scope": "kafka"}
        signed = f"{_base64(json.dumps({'alg': 'RS256', 'typ': 'JWT', 'kid': KEY_ID}).encode())}.{_base64(json.dumps(claims).encode())}"
        return f"{signed}.{_base64(self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def _token(self, _method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        form = {key: values[0] for key, values in urllib.parse.parse_qs(body.decode()).items()}
        scheme, _, encoded = headers.get("authorization", "").partition(" ")
        client, _, secret = base64.b64decode(encoded).decode().partition(":") if scheme == "Basic" else ("", "", "")
        client, secret = urllib.parse.unquote(client), urllib.parse.unquote(secret)
        with self._lock:
            self.requests += 1
        if path != "/token" or form.get("grant_type") != "client_credentials":
            return _json(400, {"error": "unsupported_grant_type"})
        if not client or self.clients.get(client) != secret:
            return _json(401, {"error": "invalid_client", "error_description": "the client is unknown or its secret is wrong"})
        token = self.token(client)
        with self._lock:
            self.issued.append(token)
        return _json(200, {"access_token": token, "token_type": "Bearer", "expires_in": self.lifetime_s})

    def _keys_reply(self, _method: str, _path: str, _headers: dict[str, str], _body: bytes) -> Answer:
        public = self._key.public_key().public_numbers()
        n = public.n.to_bytes((public.n.bit_length() + 7) // 8, "big")
        key = {"kty": "RSA", "kid": KEY_ID, "use": "sig", "alg": "RS256", "n": _base64(n), "e": _base64(public.e.to_bytes(3, "big"))}
        return _json(200, {"keys": [key]})


def _json(status: int, body: object) -> Answer:
    return status, "application/json", json.dumps(body).encode()


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
