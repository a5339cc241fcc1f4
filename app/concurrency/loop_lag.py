"""How late the event loop runs what is due: its own slowness, as told from that of others."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import monotonic

import structlog

TURN_SECONDS = 0.2
REMEMBERED_SECONDS = 10.0
WARN_SECONDS = 0.25  # of lag, from which on callers feel it
QUIET_SECONDS = 10.0  # at least, between two warnings


class LoopLag:
    """The lag now and the worst of the last ten seconds, in seconds. Logs ``loop_late``.

    ``observe`` is told of every measurement.
    """

    def __init__(self, observe: Callable[[float], None] = lambda _: None) -> None:
        self._observe = observe
        self.now = 0.0
        self._found: deque[tuple[float, float]] = deque()  # when (monotonic seconds), and the lag
        self._warned = float("-inf")

    @property
    def worst(self) -> float:
        """Of the last ten seconds."""
        self._forget(monotonic())
        return max((lag for _, lag in self._found), default=0.0)

    async def keep_measuring(self) -> None:
        """Measure five times a second, while this task runs."""
        while True:
            due = monotonic() + TURN_SECONDS
            await asyncio.sleep(TURN_SECONDS)
            self.found(max(0.0, monotonic() - due), monotonic())

    def found(self, lag: float, now: float) -> None:
        """One measurement; ``now`` is monotonic seconds."""
        self.now = lag
        self._observe(lag)
        self._found.append((now, lag))
        self._forget(now)
        if lag >= WARN_SECONDS and now - self._warned >= QUIET_SECONDS:
            self._warned = now
            structlog.get_logger("headgate").warning("loop_late", loop_lag_ms=milliseconds(lag))

    def _forget(self, now: float) -> None:
        while self._found and self._found[0][0] < now - REMEMBERED_SECONDS:
            self._found.popleft()


def milliseconds(lag: float) -> int:
    return round(lag * 1000)
