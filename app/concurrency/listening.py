"""Time limits on others that a stalled event loop cannot break.

A loop that is held up reads nothing: what came meanwhile lies in the kernel, and a timer that runs
first would take it for silence. So only time in which the loop polled its sockets counts here. A
clock goes on by turns, with a poll between any two, and a turn counts for little more than it was
meant to last, however long it took.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic  # a loop's own time stands still while a callback runs (uvloop)

TURNS = 8  # in which a limit passes at the earliest; two polls bring any answer that is there
SHORTEST = 0.002  # seconds; uvloop's timers count in milliseconds
LENIENT = 1.5  # of its length is what a turn counts for at most


class ListeningClock:
    """Counts seconds of listening towards a limit, and calls ``turned`` after each turn.

    It goes while it is started. ``now`` begins at 0.
    """

    def __init__(self, limit: float, turned: Callable[[], None]) -> None:
        self.now = 0.0
        self._turn = max(limit / TURNS, SHORTEST)
        self._turned = turned
        self._began = 0.0
        self._going = False
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        """Go on counting; needs a running loop."""
        if not self._going:
            self._going = True
            self._begin_turn()

    def stop(self) -> None:
        self._going = False
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _begin_turn(self) -> None:
        self._began = monotonic()
        self._handle = asyncio.get_running_loop().call_later(self._turn, self._end_turn)

    def _end_turn(self) -> None:
        self.now += min(monotonic() - self._began, self._turn * LENIENT)
        # The next timer is set by a callback of its own, because one that a timer sets may be due
        # before the loop has polled.
        self._handle = asyncio.get_running_loop().call_soon(self._begin_turn)
        self._turned()


@asynccontextmanager
async def listening_timeout(seconds: float) -> AsyncIterator[None]:
    """As ``asyncio.timeout``, in seconds of listening. Raises TimeoutError."""

    def look() -> None:
        if clock.now >= seconds:
            clock.stop()
            limit.reschedule(asyncio.get_running_loop().time())

    clock = ListeningClock(seconds, look)
    async with asyncio.timeout(None) as limit:
        clock.start()
        try:
            yield
        finally:
            clock.stop()
