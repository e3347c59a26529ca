"""Owns the faults of a run and their order: a shuffled deck, drawn at random moments, the same for the same seed.

Does not own the daemons (`fleet.py`) nor what must hold in the end (`proof.py`).
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from confluent_kafka import Consumer
from harness.lab import Lab
from services.toxiproxy import Toxiproxy

from faults.fleet import Fleet, Member

PROXIES = ("kafka", "registry", "minio")
STORE_LATENCY_MS = 15
"""Always there, so that a kill finds publishes under way."""


@dataclass
class Doors:
    """Toxiproxy in front of the broker, the registry and the object store."""

    lab: Lab
    ports: dict[str, int] = field(default_factory=dict)

    def open(self) -> None:
        """Makes the proxies."""
        stack = self.lab.stack
        targets = {"kafka": (stack.kafka.proxied_port, stack.kafka.proxy_port), "registry": (stack.registry.port, None), "minio": (stack.minio.port, None)}
        for name, (target, port) in targets.items():
            self.ports[name] = self.toxiproxy.proxy(name, target, port)
        self.good()

    def close(self) -> None:
        """Removes them."""
        for name in self.ports:
            self.toxiproxy.remove(name)

    def good(self) -> None:
        """Ends every trouble."""
        self.toxiproxy.reset()
        self.toxiproxy.toxic("minio", "latency", latency=STORE_LATENCY_MS, jitter=STORE_LATENCY_MS)

    @property
    def toxiproxy(self) -> Toxiproxy:
        """The proxy server."""
        return self.lab.stack.toxiproxy


@dataclass
class Chaos:
    """Draws the deck: so many kills, and the other faults in proportion."""

    lab: Lab
    fleet: Fleet
    doors: Doors
    groups: list[str]
    topic: str
    session_seconds: float
    consumer_properties: dict[str, str | int]
    seed: int
    counts: Counter[str] = field(default_factory=Counter)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)
    _storms: list[threading.Thread] = field(default_factory=list)

    def run(self, kills: int, broker_restarts: int) -> None:
        """Draws every card at a random moment after the one before it."""
        self.draw = random.Random(self.seed)
        deck = ["kill"] * kills + ["toxic"] * (kills // 4 + 3) + ["stop"] * (kills // 12 + 2) + ["term"] * (kills // 12 + 1) + ["storm"] * (kills // 25 + 1)
        self.draw.shuffle(deck)
        for turn in range(broker_restarts):
            deck.insert(len(deck) * (turn + 1) // (broker_restarts + 1), "broker")
        for card in deck:
            self._wait(self.draw.uniform(0.2, 2.2))
            getattr(self, f"_{card}")()
            self.counts[card] += 1
            self.fleet.assert_alive()

    def calm(self) -> None:
        """Ends every trouble: toxics gone, stopped daemons go on, storms over, everybody up."""
        for _, action in sorted(self._later, key=lambda entry: entry[0]):
            action()
        self._later.clear()
        for storm in self._storms:
            storm.join(60)
        self.doors.good()
        for member in self.fleet.members:
            if member.stopped:
                self.fleet.pause(member, False)
            if not member.service.running():
                member.service.start()

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            due = [entry for entry in self._later if entry[0] <= time.monotonic()]
            for entry in due:
                self._later.remove(entry)
                entry[1]()
            time.sleep(min(left, 0.05))

    def _after(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, action))

    def _pick(self) -> Member:
        running = [member for member in self.fleet.members if member.running]
        return self.draw.choice(running or self.fleet.members)

    def _kill(self) -> None:
        member = self._pick()
        self.fleet.kill(member)
        if self.draw.random() < 0.5:
            member.service.start()
        else:
            self._after(self.draw.uniform(0.0, 2.0), lambda: self._ensure_up(member))

    def _ensure_up(self, member: Member) -> None:
        if not member.service.running():
            member.service.start()

    def _stop(self) -> None:
        """A zombie: stopped until the group has gone on without it, then woken."""
        member = self._pick()
        if not member.running:
            return
        self.fleet.pause(member, True)

        def wake() -> None:
            if member.stopped and member.service.running():
                self.fleet.pause(member, False)

        self._after(self.session_seconds + self.draw.uniform(0.5, 3.0), wake)

    def _term(self) -> None:
        member = self._pick()
        if member.running:
            self.fleet.terminate(member)
            member.service.start()

    def _storm(self) -> None:
        """Strangers join the groups and leave, again and again."""
        moments = [self.draw.uniform(0.2, 1.5) for _ in range(6)]

        def strangers(group: str) -> None:
            for moment in moments:
                consumer = Consumer({"bootstrap.servers": self.lab.stack.kafka.brokers, "group.id": group, "log_level": 1, **self.stranger_properties})
                consumer.subscribe([self.topic])
                until = time.monotonic() + moment
                while time.monotonic() < until:
                    consumer.poll(0.1)
                consumer.close()

        for group in self.groups:
            thread = threading.Thread(target=strangers, args=(group,), daemon=True)
            thread.start()
            self._storms.append(thread)

    @property
    def stranger_properties(self) -> dict[str, str | int | bool]:
        """What lets a consumer that commits nothing into the group."""
        own: dict[str, str | int | bool] = {"enable.auto.commit": False}
        if self.consumer_properties.get("group.protocol") == "consumer":
            return {**own, "group.protocol": "consumer"}
        return {**own, "partition.assignment.strategy": "cooperative-sticky", "session.timeout.ms": 3000}

    def _broker(self) -> None:
        kafka = self.lab.stack.kafka
        if self.draw.random() < 0.5:
            kafka.kill()
        else:
            kafka.stop()
        self._wait(self.draw.uniform(0.0, 2.0))
        kafka.start()
        kafka.wait_ready()

    def _toxic(self) -> None:
        proxy = self.draw.choice(PROXIES)
        kind = self.draw.choice(["latency", "timeout", "reset_peer", "limit_data", "closed"])
        toxiproxy = self.doors.toxiproxy
        self.doors.good()
        if kind == "closed":
            toxiproxy.enable(proxy, False)
        else:
            stream = self.draw.choice(["upstream", "downstream"])
            attributes = {"latency": {"latency": 400, "jitter": 300}, "timeout": {"timeout": 700}, "reset_peer": {"timeout": 100}, "limit_data": {"bytes": 3000}}
            name_taken = proxy == "minio" and kind == "latency" and stream == "downstream"
            toxiproxy.toxic(proxy, kind, "upstream" if name_taken else stream, **attributes[kind])
        self.counts[f"toxic {proxy} {kind}"] += 1
        self._after(self.draw.uniform(0.5, 3.0), self.doors.good)
