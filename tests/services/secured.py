"""Owns one Kafka broker that lets nobody in without credentials and nobody do anything without a rule (ACL).

Does not own the certificates, which its maker gives it, nor the users and rules, which tests make.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from services.kafka import Kafka
from services.process import free_port

ADMIN, ADMIN_PASSWORD = "admin", "admin-secret"

LISTENERS = """
listeners=PLAIN://127.0.0.1:{plain},SASL://127.0.0.1:{sasl},MUTUAL://127.0.0.1:{mutual},EXPIRED://127.0.0.1:{expired},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},SASL://localhost:{sasl},MUTUAL://localhost:{mutual},EXPIRED://localhost:{expired}
listener.security.protocol.map=PLAIN:PLAINTEXT,SASL:SASL_SSL,MUTUAL:SSL,EXPIRED:SASL_SSL,CONTROLLER:PLAINTEXT
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS;User:{admin}
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512,OAUTHBEARER
ssl.keystore.type=PEM
ssl.keystore.location={server}
ssl.truststore.type=PEM
ssl.truststore.location={authority}
listener.name.expired.ssl.keystore.location={expired_server}
listener.name.mutual.ssl.client.auth=required
"""

SASL = """
listener.name.{door}.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{admin}="{password}";
listener.name.{door}.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.{door}.oauthbearer.sasl.jaas.config=org.apache.kafka.common.security.oauthbearer.OAuthBearerLoginModule required;
listener.name.{door}.oauthbearer.sasl.server.callback.handler.class=org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallbackHandler
listener.name.{door}.oauthbearer.sasl.oauthbearer.jwks.endpoint.url={keys_url}
listener.name.{door}.oauthbearer.sasl.oauthbearer.expected.issuer={issuer}
listener.name.{door}.oauthbearer.sasl.oauthbearer.expected.audience={audience}
"""


@dataclass(frozen=True)
class Identity:
    """What the broker is told about trust: PEM files and the issuer of tokens.

    `authority` has the certificate that clients' certificates come from; `server` and `expired_server` have a private
    key and a certificate each, for `localhost`.
    """

    authority: Path
    server: Path
    expired_server: Path
    keys_url: str
    issuer: str
    audience: str


class SecuredKafka(Kafka):
    """A broker with rules. Its doors: `brokers` (plain, may do everything, for the tests' own use), `sasl_brokers`
    (SASL_SSL: PLAIN, SCRAM-SHA-512, OAUTHBEARER), `mutual_brokers` (TLS with a client certificate) and
    `expired_brokers` (as SASL_SSL, with a certificate that is no longer valid).
    """

    def __init__(self, folder: Path, identity: Identity):
        super().__init__(folder)
        self.identity = identity
        self.sasl_port, self.mutual_port, self.expired_port = free_port(), free_port(), free_port()

    @property
    def sasl_brokers(self) -> str:
        """`host:port` of the SASL_SSL listener."""
        return f"localhost:{self.sasl_port}"

    @property
    def mutual_brokers(self) -> str:
        """`host:port` of the listener that asks for a client certificate."""
        return f"localhost:{self.mutual_port}"

    @property
    def expired_brokers(self) -> str:
        """`host:port` of the SASL_SSL listener whose certificate has expired."""
        return f"localhost:{self.expired_port}"

    def _listeners(self) -> str:
        who = self.identity
        doors = LISTENERS.format(
            plain=self.plain_port,
            sasl=self.sasl_port,
            mutual=self.mutual_port,
            expired=self.expired_port,
            controller=self.controller_port,
            admin=ADMIN,
            server=who.server,
            authority=who.authority,
            expired_server=who.expired_server,
        )
        tokens = {"keys_url": who.keys_url, "issuer": who.issuer, "audience": who.audience}
        return doors + "".join(SASL.format(door=door, admin=ADMIN, password=ADMIN_PASSWORD, **tokens) for door in ("sasl", "expired"))

    def _options(self) -> list[str]:
        return [f"-Dorg.apache.kafka.sasl.oauthbearer.allowed.urls={self.identity.keys_url}"]
