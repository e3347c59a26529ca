"""Owns the secured broker of a test run with its authority and token server: users, rules and the client's properties.

Does not own the broker's process.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from confluent_kafka import KafkaException
from confluent_kafka.admin import (
    AclBinding,
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    ResourcePatternType,
    ResourceType,
    ScramCredentialInfo,
    ScramMechanism,
    UserScramCredentialUpsertion,
)
from services.secured import Identity, SecuredKafka

from harness.certificates import Authority
from harness.token_server import AUDIENCE, ISSUER, TokenServer
from harness.topics import Topics
from harness.waiting import until


class Secured:
    """The broker, started and ready, until `close`."""

    def __init__(self, folder: Path):
        self.authority = Authority(folder / "certificates")
        self.tokens = TokenServer(self.authority.issue("token-server"))
        identity = Identity(
            authority=self.authority.file,
            server=self.authority.issue("broker"),
            expired_server=self.authority.issue("broker-expired", days=(-30, -1)),
            keys_url=self.tokens.keys_url,
            issuer=ISSUER,
            audience=AUDIENCE,
        )
        self.kafka = SecuredKafka(folder / "secured", identity)
        self.kafka.start()
        self.kafka.wait_ready()
        self.topics = Topics(self.kafka.brokers)

    def close(self) -> None:
        """Stops everything."""
        self.kafka.stop()
        self.tokens.close()

    def user(self, name: str) -> dict[str, Any]:
        """Makes a SCRAM user and returns the client properties that log it in."""
        password = f"secret-{uuid.uuid4().hex}"
        credential = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
        change = UserScramCredentialUpsertion(name, credential, password.encode())
        self.topics.admin.alter_user_scram_credentials([change])[name].result(30)
        until(f"user {name} is known", lambda: self._knows(name))
        return self.sasl("SCRAM-SHA-512", name, password)

    def sasl(self, mechanism: str, username: str, password: str) -> dict[str, Any]:
        """The client properties of a user with a password."""
        credentials = {"sasl.mechanism": mechanism, "sasl.username": username, "sasl.password": password}
        return {**self._tls(self.kafka.sasl_brokers, "SASL_SSL"), **credentials}

    def oidc(self, client: str, secret: str) -> dict[str, Any]:
        """The client properties that log in with a token of the token server."""
        return {
            **self._tls(self.kafka.sasl_brokers, "SASL_SSL"),
            "sasl.mechanism": "OAUTHBEARER",
            "sasl.oauthbearer.method": "oidc",
            "sasl.oauthbearer.client.id": client,
            "sasl.oauthbearer.client.secret": secret,
            "sasl.oauthbearer.scope": "kafka",
            "sasl.oauthbearer.token.endpoint.url": self.tokens.token_url,
            "https.ca.location": str(self.authority.file),
        }

    def mutual(self, certificate: Path) -> dict[str, Any]:
        """The client properties that show a certificate (a PEM file with its key)."""
        shown = {"ssl.certificate.location": str(certificate), "ssl.key.location": str(certificate)}
        return {**self._tls(self.kafka.mutual_brokers, "SSL"), **shown}

    def allow(self, principal: str, kind: str, name: str, *operations: str) -> None:
        """Lets `User:<principal>` do these operations (`READ`, `DESCRIBE` …) on a `TOPIC` or `GROUP`."""
        rules = [self._rule(principal, kind, name, operation) for operation in operations]
        for result in self.topics.admin.create_acls(rules).values():
            result.result(30)

    def allow_reading(self, principal: str, topic: str, group: str) -> None:
        """What a connector needs that writes no dead letters."""
        self.allow(principal, "TOPIC", topic, "READ")
        self.allow(principal, "GROUP", group, "READ")

    def forbid(self, principal: str, kind: str, name: str, operation: str) -> None:
        """Takes the rule of `allow` back."""
        rule = self._rule(principal, kind, name, operation)
        pattern = AclBindingFilter(*(getattr(rule, key) for key in _RULE))
        for result in self.topics.admin.delete_acls([pattern]).values():
            assert result.result(30), f"there was no {rule}"

    def _knows(self, name: str) -> bool:
        try:
            return bool(self.topics.admin.describe_user_scram_credentials([name])[name].result(30))
        except KafkaException:
            return False

    def _rule(self, principal: str, kind: str, name: str, operation: str) -> AclBinding:
        who, allowed = f"User:{principal}", AclPermissionType.ALLOW
        return AclBinding(ResourceType[kind], name, ResourcePatternType.LITERAL, who, "*", AclOperation[operation], allowed)

    def _tls(self, brokers: str, protocol: str) -> dict[str, Any]:
        return {"bootstrap.servers": brokers, "security.protocol": protocol, "ssl.ca.location": str(self.authority.file)}


_RULE = ("restype", "name", "resource_pattern_type", "principal", "host", "operation", "permission_type")
