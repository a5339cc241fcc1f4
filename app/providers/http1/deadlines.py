"""The clock of a connection: one timer for every limit of one exchange after another."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import NamedTuple

import httpx

from app.providers.http1.errors import TotalTimeout

# uvloop's timers count whole milliseconds and may fire that much early.
_SLACK = 0.001

Phase = type[httpx.TimeoutException]


class Limits(NamedTuple):
    """What one exchange may take: seconds (None: no limit) and bytes. `total_at` is loop time."""

    first_byte: float | None
    idle: float | None
    write: float | None
    total_at: float
    max_header_bytes: int
    max_body_bytes: int


class Clock:
    """Calls `expired` with the error's class when a phase, or the whole, has taken too long.

    The timer is moved only when it would fire too late; when it fires too early it looks again.
    So an exchange costs no timer, and a chunk no more than reading the time.
    """

    __slots__ = ("_at", "_expired", "_loop", "_phase", "_timer", "_timer_at", "_total_at")

    def __init__(self, loop: asyncio.AbstractEventLoop, expired: Callable[[Phase], None]) -> None:
        self._loop = loop
        self._expired = expired
        self._phase: Phase = TotalTimeout
        self._at = self._total_at = self._timer_at = math.inf
        self._timer: asyncio.TimerHandle | None = None

    def start(self, total_at: float) -> None:
        """Begin an exchange that must be over at the loop time `total_at`."""
        self._total_at = total_at

    def arm(self, phase: Phase, seconds: float | None) -> None:
        """Allow `seconds` from now for `phase`, within the total."""
        self._phase = phase
        at = self._total_at
        if seconds is not None:
            at = min(at, self._loop.time() + seconds)
        self._at = at
        if at < self._timer_at:
            self._set_timer(at)

    def rest(self) -> None:
        """End the phase: only the total runs on."""
        self._at = self._total_at

    def stop(self) -> None:
        """End the exchange."""
        self._at = self._total_at = math.inf

    def cancel(self) -> None:
        """Let go of the timer: the connection is done."""
        self.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _set_timer(self, at: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = at
        self._timer = self._loop.call_at(at, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._timer_at = math.inf
        now = self._loop.time() + _SLACK
        if now >= self._at:
            self._expired(TotalTimeout if now >= self._total_at else self._phase)
        elif self._at < math.inf:
            self._set_timer(self._at)
