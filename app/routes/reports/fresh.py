"""Answers that many may ask for at once are worked out once, and given for a second."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from time import monotonic
from typing import Any

FRESH_SECONDS = 1.0
MOST = 256


class Fresh:
    """Documents by what they answer; each is worked out by one request for all that wait."""

    def __init__(self, seconds: float = FRESH_SECONDS) -> None:
        self._seconds = seconds
        self._known: dict[Hashable, tuple[float, asyncio.Future[Any]]] = {}

    async def get(self, what: Hashable, make: Callable[[], Awaitable[Any]]) -> Any:
        """The document for ``what``, at most a second old. Raises what ``make`` raises."""
        now = monotonic()
        known = self._known.get(what)
        if known is not None and (now < known[0] or not known[1].done()):
            return await asyncio.shield(known[1])
        if len(self._known) >= MOST:
            self._known = {w: one for w, one in self._known.items() if now < one[0]}
        if len(self._known) >= MOST:
            return await make()
        # A task of its own: the request that began may leave while others wait.
        task = asyncio.ensure_future(make())
        task.add_done_callback(_seen)
        self._known[what] = (now + self._seconds, task)
        return await asyncio.shield(task)


def _seen(task: asyncio.Future[Any]) -> None:
    if not task.cancelled():
        task.exception()
