"""Owns one Kafka broker in KRaft mode: its jars, its configuration, its life. Does not own topics or records."""

from __future__ import annotations

import socket
import struct
from pathlib import Path

from services.cache import checked, fetched, program
from services.process import Service, free_port

VERSION = "4.1.0"
CLUSTER_ID = "c2x1aWNlLXRlc3RzLWFhYQ"
USER, PASSWORD = "alice", "alice-secret"
STORE_PASSWORD = "store-secret"

LISTENERS = """
listeners=PLAIN://127.0.0.1:{plain},PROXIED://127.0.0.1:{proxied},SECURE://127.0.0.1:{secure},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAIN://127.0.0.1:{plain},PROXIED://127.0.0.1:{proxy},SECURE://localhost:{secure}
listener.security.protocol.map=PLAIN:PLAINTEXT,PROXIED:PLAINTEXT,SECURE:SASL_SSL,CONTROLLER:PLAINTEXT
sasl.enabled.mechanisms=PLAIN,SCRAM-SHA-512
listener.name.secure.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_{user}="{password}";
listener.name.secure.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
ssl.keystore.location={keystore}
ssl.keystore.type=PKCS12
ssl.keystore.password={store_password}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:ANONYMOUS
allow.everyone.if.no.acl.found=true
"""

PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAIN
log.dirs={data}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
offsets.topic.num.partitions=8
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
group.initial.rebalance.delay.ms=0
group.min.session.timeout.ms=1000
group.consumer.min.session.timeout.ms=1000
group.consumer.session.timeout.ms=6000
group.consumer.min.heartbeat.interval.ms=100
group.consumer.heartbeat.interval.ms=500
log.initial.task.delay.ms=1000
message.max.bytes=33554432
"""


class Kafka:
    """A broker with three doors: `brokers`, `proxied_brokers` (for a proxy on `proxy_port` in front), `secure_brokers`.

    `secure_brokers` speaks SASL_SSL (PLAIN and SCRAM-SHA-512) with the certificate of `ca_file`.
    """

    def __init__(self, folder: Path):
        self.folder = folder / "kafka"
        self.plain_port, self.proxied_port, self.proxy_port = free_port(), free_port(), free_port()
        self.secure_port, self.controller_port = free_port(), free_port()
        self.ca_file = self.folder / "ca.pem"
        self.properties = self.folder / "server.properties"
        self.service: Service | None = None

    @staticmethod
    def fetch() -> Path:
        """The folder of the broker's jars, copied by Maven the first time."""

        def copy(folder: Path) -> None:
            goal = ["dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
            checked([program("mvn"), "-q", "-B", "-f", str(Path(__file__).parent / "maven/kafka.xml"), *goal])

        program("java")
        return fetched(f"kafka-{VERSION}", copy)

    @property
    def brokers(self) -> str:
        """`host:port` of the plain listener."""
        return f"127.0.0.1:{self.plain_port}"

    @property
    def proxied_brokers(self) -> str:
        """`host:port` of the proxy in front of the second listener, which is also what that listener advertises."""
        return f"127.0.0.1:{self.proxy_port}"

    @property
    def secure_brokers(self) -> str:
        """`host:port` of the SASL_SSL listener."""
        return f"localhost:{self.secure_port}"

    def start(self) -> None:
        """Formats the storage the first time and starts the broker; returns before it is ready."""
        if self.service is None:
            self.folder.mkdir(parents=True)
            common = PROPERTIES.format(controller=self.controller_port, data=self.folder / "data")
            self.properties.write_text(common + self._listeners(), encoding="utf-8")
            self._format_storage()
            command = self._java("-Xms256m", "-Xmx768m", *self._options(), "kafka.Kafka", str(self.properties))
            self.service = Service("kafka", command, self.folder / "kafka.log")
        self.service.start()

    def wait_ready(self) -> None:
        """Returns when the broker answers requests."""
        assert self.service is not None
        self.service.wait_until(self.answers, 60)

    def answers(self) -> bool:
        """Whether the plain listener answers an ApiVersions request (version 0, a null client id)."""
        request = struct.pack(">hhih", 18, 0, 1, -1)
        try:
            with socket.create_connection(("127.0.0.1", self.plain_port), 1) as connection:
                connection.sendall(struct.pack(">i", len(request)) + request)
                connection.settimeout(2)
                return len(connection.recv(8)) == 8
        except OSError:
            return False

    def stop(self) -> None:
        """Shuts the broker down in good order; `start` brings it back with its data."""
        if self.service is not None:
            self.service.stop()

    def kill(self) -> None:
        """Kills the broker; `start` brings it back with its data."""
        if self.service is not None:
            self.service.kill()

    def _java(self, *arguments: str) -> list[str]:
        options = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-Dorg.slf4j.simpleLogger.showDateTime=true"]
        return [program("java"), *options, "-cp", f"{self.fetch()}/*", *arguments]

    def _make_certificate(self) -> None:
        store = ["-keystore", str(self.folder / "keystore.p12"), "-storetype", "PKCS12", "-storepass", STORE_PASSWORD, "-alias", "broker"]
        names = ["-dname", "CN=localhost", "-ext", "san=dns:localhost,ip:127.0.0.1", "-ext", "bc=ca:true"]
        checked([program("keytool"), "-genkeypair", "-keyalg", "EC", "-groupname", "secp256r1", "-validity", "30", *names, *store])
        checked([program("keytool"), "-exportcert", "-rfc", "-file", str(self.ca_file), *store])

    def _listeners(self) -> str:
        """The properties of the doors; makes what they name."""
        self._make_certificate()
        return LISTENERS.format(
            controller=self.controller_port,
            plain=self.plain_port,
            proxied=self.proxied_port,
            proxy=self.proxy_port,
            secure=self.secure_port,
            user=USER,
            password=PASSWORD,
            keystore=self.folder / "keystore.p12",
            store_password=STORE_PASSWORD,
        )

    def _options(self) -> list[str]:
        """Further options of the Java machine."""
        return []

    def _format_storage(self) -> None:
        scram = f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"
        arguments = ["format", "--cluster-id", CLUSTER_ID, "--config", str(self.properties), "--add-scram", scram]
        checked(self._java("-XX:TieredStopAtLevel=1", "kafka.tools.StorageTool", *arguments))
