"""Owns running Kafka's own command-line tools, as the manual's readers do. Does not own what they are told."""

from __future__ import annotations

import subprocess

from services.cache import program
from services.kafka import Kafka

TOOLS = {"kafka-acls.sh": "AclCommand", "kafka-consumer-groups.sh": "consumer.group.ConsumerGroupCommand"}
JAVA = ["-Dorg.slf4j.simpleLogger.defaultLogLevel=error", "-XX:TieredStopAtLevel=1", "-cp"]


def kafka_tool(tool: str, brokers: str, *arguments: str) -> str:
    """What the tool prints; it must succeed."""
    command = [program("java"), *JAVA, f"{Kafka.fetch()}/*", f"org.apache.kafka.tools.{TOOLS[tool]}", "--bootstrap-server", brokers, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0 and "Error:" not in done.stdout, done.stdout + done.stderr
    print(f"$ {tool} {' '.join(arguments)}\n{done.stdout}")
    return done.stdout
