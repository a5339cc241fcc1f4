"""Which connections must end: pure rules over what the kernel says of each. Times are in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from app.connections.tcp import Reading

STUCK_SECONDS = 1.0  # what did nothing for so long may end where there is no room
UNTAKEN = 1  # a connection on which nothing was ever sent has this many bytes acknowledged at most


class Limits(NamedTuple):
    """``send``, ``head`` and ``keepalive`` are timeouts; ``pending`` is in bytes."""

    send: float
    head: float
    keepalive: float
    pending: int
    connections: int
    per_address: int | None


class Connection:
    """One connection as it was seen so far."""

    __slots__ = (
        "acked",
        "began_head",
        "busy",
        "free_since",
        "host",
        "peer",
        "progressed",
        "reading",
        "received",
    )

    def __init__(self, reading: Reading, peer: tuple[str, str], now: float) -> None:
        self.reading = reading
        self.peer = peer
        self.host = peer[0]
        self.acked = -1
        self.received = 0
        self.progressed = now
        self.free_since = now
        self.began_head: float | None = None
        self.busy = False

    def update(self, reading: Reading, now: float, *, running: bool) -> None:
        """Take a new reading. ``running``: the gateway works on a request of this connection."""
        self.reading = reading
        took = reading.acked != self.acked
        if took or not reading.sending:
            self.progressed = now
        if took or running or reading.sending:
            self.free_since = now
            self.began_head = None
        elif reading.received != self.received and self.began_head is None:
            self.began_head = now
        self.acked, self.received = reading.acked, reading.received
        self.busy = running

    def overdue(self, limits: Limits, now: float, known: float) -> str | None:
        """Why this connection must end now, or None.

        ``known`` is the time until which every request that had come has begun to run. A request
        that came later, while the loop stands still, looks like a head that does not end.
        """
        if self.reading.sending:
            return "send_timeout" if now - self.progressed >= limits.send else None
        if self.busy:
            return None
        if self.acked <= UNTAKEN:
            return "head_timeout" if known - self.free_since >= limits.head else None
        if self.began_head is not None and known - self.began_head >= limits.head:
            return "head_timeout"
        idle_since = now - self.reading.quiet
        return "keepalive_timeout" if known - idle_since >= limits.keepalive else None

    def stuck_for(self, now: float, known: float) -> float:
        """Seconds for which nothing has happened; 0 while a request runs."""
        if self.reading.sending:
            return now - self.progressed
        if self.busy:
            return 0.0
        return known - max(self.free_since, now - self.reading.quiet)


def over_address(
    connections: Iterable[Connection], most: int, exempt: Callable[[str], bool]
) -> list[Connection]:
    """The newest of each address that has more than ``most``; ``connections`` come oldest first."""
    counts: dict[str, int] = {}
    over = []
    for connection in connections:
        host = connection.host
        count = counts[host] = counts.get(host, 0) + 1
        if count > most and not exempt(host):
            over.append(connection)
    return over


def longest_stuck(connections: Iterable[Connection], now: float, known: float) -> list[Connection]:
    """Those that have done nothing for a while, the longest first."""
    stuck = [(one.stuck_for(now, known), place, one) for place, one in enumerate(connections)]
    stuck = [one for one in stuck if one[0] >= STUCK_SECONDS]
    return [one for *_, one in sorted(stuck, key=lambda each: (-each[0], each[1]))]


def over_pending(stuck: Iterable[Connection], over: int) -> list[Connection]:
    """Those of ``stuck`` that end because ``over`` bytes too many wait to be taken."""
    ending = []
    for one in stuck:
        if over <= 0:
            break
        if one.reading.unsent:
            over -= one.reading.unsent
            ending.append(one)
    return ending
