"""Owns records that go on being produced while a test looks at what happens."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from harness.lab import Lab
from harness.waiting import until

EVENT = {"type": "record", "name": "Event", "fields": [{"name": "n", "type": "long"}, {"name": "text", "type": "string"}]}


class Load:
    """Produces to two partitions until it is told to stop; a broker that is away is waited for."""

    def __init__(self, lab: Lab, topic: str):
        self.lab, self.topic = lab, topic
        self.produced: dict[tuple[int, int], Any] = {}
        self.error: BaseException | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            turn = 0
            while not self._stop.wait(0.1):
                turn += 1
                records = [{"n": turn, "text": f"record {turn} {number}"} for number in range(20)]
                self.produced |= self.lab.produce(self.topic, turn % 2, EVENT, records, enable_idempotence=True, message_timeout_ms=120000)
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def more(self, count: int) -> None:
        """Returns when so many further records are in the topic: what follows is then up to others, however slow this machine is."""
        wanted = len(self.produced) + count
        until(f"{count} more records are produced", lambda: len(self.produced) >= wanted or self.error is not None, 120)

    @contextmanager
    def running(self) -> Iterator[Load]:
        self._thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            self._thread.join(150)
        assert self.error is None, self.error
