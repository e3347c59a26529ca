"""Owns the whole set of services: fetched side by side, started together, stopped together."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from types import TracebackType

from services.kafka import Kafka
from services.minio import Minio
from services.process import run_folder
from services.registry import Registry
from services.toxiproxy import Toxiproxy

KINDS = (Kafka, Registry, Minio, Toxiproxy)


def fetch_all() -> None:
    """Fetches what is not in the cache yet; raises the first `FetchError` after all have been tried."""
    with ThreadPoolExecutor(len(KINDS)) as pool:
        fetches = [pool.submit(kind.fetch) for kind in KINDS]
    for fetch in fetches:
        fetch.result()


class Stack:
    """Kafka, registry, MinIO and toxiproxy; as a context manager they are ready inside and gone outside."""

    def __init__(self) -> None:
        self.folder = run_folder()
        self.kafka = Kafka(self.folder)
        self.registry = Registry(self.folder)
        self.minio = Minio(self.folder)
        self.toxiproxy = Toxiproxy(self.folder)

    @property
    def services(self) -> tuple[Kafka | Registry | Minio | Toxiproxy, ...]:
        """Every service, the slowest to start first."""
        return (self.registry, self.kafka, self.minio, self.toxiproxy)

    @property
    def environment(self) -> dict[str, str]:
        """The addresses and credentials, as environment variables."""
        return {
            "KAFKA_BROKERS": self.kafka.brokers,
            "SCHEMA_REGISTRY_URL": self.registry.url,
            "AWS_ENDPOINT_URL": self.minio.url,
            **self.minio.credentials,
            "TOXIPROXY_URL": self.toxiproxy.url,
        }

    def __enter__(self) -> Stack:
        fetch_all()
        try:
            for service in self.services:
                service.start()
            for service in self.services:
                service.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stops every service that was started. Their data goes with the run's folder."""
        for service in self.services:
            service.stop()
