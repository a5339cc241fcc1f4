"""Hot answers in the process, in front of the store: bounded bytes, a short time, purge-aware.

A purge must hold everywhere within a second. So this tier serves only while it knows that nothing was
purged: it asks for the count of purges four times a second, and is empty whenever it cannot know.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from time import monotonic
from typing import NamedTuple

from app.core.units import Digest, Millis
from cache.answers.entry import CacheEntry
from cache.store.base import Store, StoreUnavailable
from cache.store.key_names import PURGES

ASK_SECONDS = 0.25
KNOWN_FOR = 0.75  # seconds after which what we know of purges is too old
OVERHEAD = 512  # bytes of objects around an answer
LARGEST_SHARE = 1 / 8  # of its size: the most that one answer may take


class _Item(NamedTuple):
    answer: CacheEntry
    until: float  # monotonic seconds
    clock: float  # the store's milliseconds minus our own


class LocalTier:
    """``size`` in bytes (0: nothing is kept here), ``ttl`` in seconds."""

    def __init__(self, store: Store, size: int, ttl: float) -> None:
        self._store = store
        self._size = size
        self._ttl = ttl
        self._items: OrderedDict[Digest, _Item] = OrderedDict()
        self._used = 0
        self._purges: object = None
        self._known_at = 0.0
        self.epoch = 0  # changes when everything is forgotten

    def get(self, digest: Digest, max_age: int | None) -> tuple[CacheEntry, Millis] | None:
        """A fresh answer and the store's time; ``max_age`` in seconds."""
        item = self._items.get(digest)
        if item is None:
            return None
        clock = monotonic()
        now = Millis(int(clock * 1000 + item.clock))
        answer = item.answer
        if clock > item.until or now >= answer.fresh:
            self.drop(digest)
            return None
        if clock - self._known_at > KNOWN_FOR or self._store.breaker.open:
            return None
        if max_age is not None and now - answer.stored > max_age * 1000:
            return None
        self._items.move_to_end(digest)
        return answer, now

    def put(self, digest: Digest, answer: CacheEntry, now: Millis, epoch: int) -> None:
        """Keep a fresh answer; ``now`` is the store's time.

        ``epoch`` is that from before it was looked up: what a purge has overtaken is not kept.
        """
        if epoch != self.epoch:
            return
        size = len(answer.body) + OVERHEAD
        self.drop(digest)
        if size > self._size * LARGEST_SHARE:
            return
        clock = monotonic()
        self._items[digest] = _Item(answer, clock + self._ttl, now - clock * 1000)
        self._used += size
        while self._used > self._size:
            self.drop(next(iter(self._items)))

    def drop(self, digest: Digest) -> None:
        item = self._items.pop(digest, None)
        if item is not None:
            self._used -= len(item.answer.body) + OVERHEAD

    def clear(self) -> None:
        self.epoch += 1
        self._items.clear()
        self._used = 0

    async def keep_asking(self) -> None:
        """Ask again and again whether anything was purged, while this task runs."""
        while self._size:
            with suppress(StoreUnavailable):
                await self.ask()
            await asyncio.sleep(ASK_SECONDS)

    async def ask(self) -> None:
        """Forget everything if anything was purged since the last time."""
        asked = monotonic()
        purges = await self._store.command("GET", PURGES)
        if purges != self._purges:
            self._purges = purges
            self.clear()
        self._known_at = asked
