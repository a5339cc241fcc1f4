"""The ends of streams that nobody waits for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from app.core.errors import UpstreamError
from app.providers.client.packets import Packets

DRAIN_SECONDS = 0.5  # between an upstream's end mark and the end of its body


class Endings:
    """Reads streams out after their end mark, so that their connections can serve other calls.

    In a task, because the caller has everything: what its request held is given back at once.
    """

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def read_out(self, packets: Packets) -> None:
        """Read what is left of one stream, for a bounded time."""
        task = asyncio.get_running_loop().create_task(_drain(packets))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _drain(packets: Packets) -> None:
    try:
        with suppress(TimeoutError, UpstreamError):
            async with asyncio.timeout(DRAIN_SECONDS):
                async for _ in packets:
                    pass
    finally:
        await packets.aclose()
