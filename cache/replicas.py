"""How many worker processes share the store: each says every few seconds that it lives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import getrandbits
from time import time

from cache.connection import Store, StoreUnavailable
from cache.names import REPLICAS

BEAT_SECONDS = 2.0
MISSED_BEATS = 3


class Heartbeat:
    """Counts live workers; the last count is kept while the store is out."""

    def __init__(self, store: Store, tell: Callable[[int], None]) -> None:
        self._store = store
        self._tell = tell
        self._id = f"{getrandbits(64):016x}"
        # A store that comes back empty counts only those who beat first: the highest count of the
        # last beats is the safe one, a share that is too small harms less than one too large.
        self._counts: deque[int] = deque(maxlen=MISSED_BEATS)

    async def keep_beating(self) -> None:
        """Beat and count, again and again, while this task runs."""
        while True:
            with suppress(StoreUnavailable):
                await self.beat()
            await asyncio.sleep(BEAT_SECONDS)

    async def beat(self) -> None:
        now = time()
        life = BEAT_SECONDS * MISSED_BEATS
        await asyncio.gather(
            self._store.command("ZADD", REPLICAS, now + life, self._id),
            self._store.command("ZREMRANGEBYSCORE", REPLICAS, "-inf", now),
        )
        self._counts.append(int(await self._store.command("ZCARD", REPLICAS)))
        self._tell(max(self._counts))

    async def leave(self) -> None:
        """Say goodbye, so that the others' shares grow at once."""
        try:
            await self._store.command("ZREM", REPLICAS, self._id)
        except StoreUnavailable:
            return
