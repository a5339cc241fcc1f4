"""Calls that nobody waits for: bounded, and given a moment at the end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

MOST = 64  # at a time, in this worker


class Background:
    """Runs work beside the requests."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, work: Callable[[], Coroutine[Any, Any, None]]) -> bool:
        """Begin; False, and nothing begun, where too much runs already."""
        if len(self._tasks) >= MOST:
            return False
        task = asyncio.get_running_loop().create_task(_told(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return True

    async def aclose(self, grace: float) -> None:
        """Wait for what runs, at most ``grace`` seconds, then end it."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=grace)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _told(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Nobody waits for it, so that its failure must be told here."""
    try:
        await work()
    except Exception as error:  # noqa: BLE001 - an outermost door, as a request's is
        structlog.get_logger("headgate").error("background_failed", exc_info=error)
