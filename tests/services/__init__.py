"""Real services for the tests, fetched and started on 127.0.0.1: Kafka, a schema registry, MinIO, toxiproxy.

Needs the standard library only, so that it runs before any virtual environment exists.
"""

from services.stack import Stack

__all__ = ["Stack"]
