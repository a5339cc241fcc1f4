"""How many worker processes share the store: each says every few seconds that it lives."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from random import getrandbits

from cache.store.base import Store, StoreUnavailable, script
from cache.store.clock import StoreClock
from cache.store.key_names import IDENTITY, REPLICAS

BEAT_SECONDS = 2.0
MISSED_BEATS = 3
ONCE = 10 * 365 * 86400  # seconds


class Heartbeat:
    """Counts live workers; the last count is kept while the store is out.

    Each beat also brings the store's time, for ``clock``, and the random id that the first worker
    gave the store. Another id is another store, or one that has lost everything: of the workers
    that knew the old one, exactly one is told by ``emptied``.
    """

    def __init__(
        self,
        store: Store,
        tell: Callable[[int], None],
        clock: StoreClock | None = None,
        emptied: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._tell = tell
        self._clock = clock or StoreClock()
        self._emptied = emptied
        self._beat = script("beat", on_full_server=True)
        self._id = f"{getrandbits(64):016x}"
        self._store_id = ""
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
        life = BEAT_SECONDS * MISSED_BEATS
        asked = self._clock.steady()
        seconds, micros, workers, found = await self._store.run(
            self._beat, [REPLICAS, IDENTITY], [self._id, life, f"{getrandbits(96):024x}"]
        )
        self._clock.hear(int(seconds) + int(micros) / 1e6, asked)
        self._counts.append(int(workers))
        self._tell(max(self._counts))
        known, self._store_id = self._store_id, found.decode()
        if known not in ("", self._store_id) and await claim(self._store, f"lost:{known}", ONCE):
            self._emptied()

    async def leave(self) -> None:
        """Say goodbye, so that the others' shares grow at once."""
        try:
            await self._store.command("ZREM", REPLICAS, self._id)
        except StoreUnavailable:
            return


async def claim(store: Store, what: str, seconds: float) -> bool:
    """Whether it is for this worker to report something that all see. Raises StoreUnavailable."""
    run = script("claim", on_full_server=True)
    return bool(await store.run(run, [IDENTITY], [what, int(seconds)]))
