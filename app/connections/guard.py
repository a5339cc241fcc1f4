"""Ends connections that hold a worker up: callers who do not read, do not speak, or are too many."""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Callable, Container
from time import monotonic, thread_time
from typing import Protocol

import structlog

from app.connections.rules import Connection, Limits, longest_stuck, over_address, over_pending
from app.connections.tcp import Reading, Snapshot

PARTS = 8  # a timeout is looked at so many times in its length
SLOWEST, QUICKEST = 1.0, 0.05  # seconds between two rounds
SHARE = 1 / 128  # of a core, at most; with callers waiting for room, eight times that
FULL_SECONDS = 0.1
# Between a head's last byte and its request's first step the server hands it over.
HAND_OVER_SECONDS = 0.25

Ended = Callable[[str, int], None]


class Connections(Protocol):
    """The worker's sockets: :class:`app.connections.tcp.Sockets`."""

    def read(self) -> Snapshot: ...

    def peer(self, reading: Reading) -> tuple[str, str] | None: ...

    def end(self, reading: Reading, *, reset: bool) -> bool: ...

    def close(self) -> None: ...


class Guard:
    """Looks at every connection once a second or so, in a thread of its own.

    The thread goes on while the event loop stands still. ``running`` holds callers (address and
    port) whose request runs; ``exempt`` the addresses without a cap of their own; ``ended`` is told
    on the loop how many connections ended, and why; ``tidy`` is called after each round.
    """

    def __init__(
        self,
        sockets: Connections,
        limits: Limits,
        running: Container[tuple[str, str]],
        exempt: Callable[[str], bool],
        ended: Ended,
        tidy: Callable[[], None],
    ) -> None:
        self._sockets = sockets
        self._limits = limits
        self._running = running
        self._exempt = exempt
        self._ended = ended
        self._tidy = tidy
        self._connections: dict[bytes, Connection] = {}  # oldest first
        self._cut: dict[tuple[str, str], Callable[[], bool]] = {}
        self._known = monotonic()
        self._asked: float | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="connection-guard", daemon=True)

    def start(self) -> None:
        """Begin; needs a running loop."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stop.set()
        self._thread.join()
        self._sockets.close()

    def cut(self, peer: tuple[str, str], still: Callable[[], bool]) -> None:
        """End this caller's connection in the next round, if it is ``still`` wanted then."""
        self._cut[peer] = still

    def look(self, now: float) -> float:
        """One round; the seconds until the next one should begin."""
        began = thread_time()
        snapshot = self._sockets.read()
        self._update(snapshot, now)
        full = self._judge(snapshot, now)
        cost = thread_time() - began
        if full:
            return max(FULL_SECONDS, cost / SHARE / 8)
        timeouts = (self._limits.send, self._limits.head, self._limits.keepalive)
        pace = min(SLOWEST, max(QUICKEST, min(timeouts) / PARTS))
        return max(pace, cost / SHARE)

    def _run(self) -> None:
        log = structlog.get_logger("headgate")
        pause = QUICKEST
        while not self._stop.wait(pause):
            try:
                self._ask_loop()
                pause = self.look(monotonic())
                self._tidy()
            except Exception as error:  # noqa: BLE001 - an outermost door: go on guarding
                assert self._loop is not None
                self._loop.call_soon_threadsafe(_say_failed, log, error)
                pause = SLOWEST

    def _ask_loop(self) -> None:
        """Learn how far the loop has come: what was there before this call will have begun."""
        if self._asked is None and self._loop is not None and not self._loop.is_closed():
            self._asked = monotonic()
            self._loop.call_soon_threadsafe(self._turned)

    def _turned(self) -> None:
        if self._asked is not None:
            self._known = self._asked - HAND_OVER_SECONDS
            self._asked = None

    def _tell(self, counts: Counter[str]) -> None:
        for reason, count in counts.items():
            self._ended(reason, count)

    def _update(self, snapshot: Snapshot, now: float) -> None:
        connections = self._connections
        present = {reading.cookie for reading in snapshot.connections}
        for cookie in connections.keys() - present:
            del connections[cookie]
        for reading in snapshot.connections:
            connection = connections.get(reading.cookie)
            if connection is None:
                peer = self._sockets.peer(reading)
                if peer is None:
                    continue
                connection = connections[reading.cookie] = Connection(reading, peer, now)
            connection.update(reading, now, running=connection.peer in self._running)

    def _judge(self, snapshot: Snapshot, now: float) -> bool:
        """End what must end; whether the worker has no room for callers that wait."""
        limits, known = self._limits, self._known
        connections = self._connections.values()
        unsent = 0
        ending: dict[bytes, tuple[Connection, str]] = {}
        cut, self._cut = self._cut, {}
        for connection in connections:
            unsent += connection.reading.unsent
            still = cut.get(connection.peer)
            reason = connection.overdue(limits, now, known)
            if still is not None and still():
                reason = "key_blocked"
            if reason is not None:
                ending[connection.reading.cookie] = connection, reason
        if limits.per_address is not None:
            for one in over_address(connections, limits.per_address, self._exempt):
                ending.setdefault(one.reading.cookie, (one, "address_cap"))
        full = len(connections) >= limits.connections and snapshot.waiting > 0
        if full or unsent > limits.pending:
            stuck = longest_stuck(connections, now, known)
            for one in over_pending(stuck, unsent - limits.pending):
                ending.setdefault(one.reading.cookie, (one, "pending_bytes"))
            for one in stuck[: max(0, snapshot.waiting - len(ending)) if full else 0]:
                ending.setdefault(one.reading.cookie, (one, "connection_cap"))
        counts: Counter[str] = Counter()
        for one, reason in ending.values():
            if self._sockets.end(one.reading, reset=one.reading.sending):
                counts[reason] += 1
        if counts and self._loop is not None:
            self._loop.call_soon_threadsafe(self._tell, counts)
        return full


def _say_failed(log: structlog.BoundLogger, error: Exception) -> None:
    log.error("connection_guard_failed", exc_info=error)
