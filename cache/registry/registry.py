"""Keeps a worker's copy of the operators' objects in step with the store.

A change is told over a channel, and such a message can be lost; so the generation of all objects is
also asked for twice a second, and only what changed since is read. With the store out, the last copy
serves.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from contextlib import suppress
from time import monotonic
from typing import Protocol
from weakref import WeakSet

from cache.registry.objects import KINDS, Objects, State
from cache.registry.snapshot import Found, Snapshot
from cache.store.base import Store, StoreUnavailable

ASK_SECONDS = 0.5
UNKNOWN_SECONDS = 60.0
MAX_UNKNOWN = 10_000
LOOK_UPS_PER_SECOND = 50
LOOK_UP_TRIES = 3
CUT_MARK = b'"cancels":true'  # in the document of a key that was blocked with its requests


class Listener(Protocol):
    """Is told when objects other than keys have changed: what keys are allowed may be another."""

    def policies_changed(self) -> None: ...


class Registry:
    """Off until `keep_in_step` runs. ``now`` counts seconds, for what is unknown.

    ``on_cut`` is told of keys whose running requests must end.
    """

    def __init__(self, store: Store, now: Callable[[], float] = monotonic) -> None:
        self.objects = Objects(store)
        self.snapshot = Snapshot()
        self.generation = 0
        self.whole = False  # whether all of the store's objects were read once
        self.on = False
        self.on_cut: Callable[[str], None] = lambda _: None
        self._since = b""
        self._now = now
        self._listeners: WeakSet[Listener] = WeakSet()
        self._told = asyncio.Event()
        self._reading = asyncio.Lock()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._asked_in = (0, 0)  # a second, and the look-ups in it

    def watch(self, listener: Listener) -> None:
        """Tell this one of changes, as long as anybody else holds it."""
        self._listeners.add(listener)

    def received(self, _: bytes) -> None:
        """A message came: something was changed."""
        self._told.set()

    async def keep_in_step(self) -> None:
        """Read what changed, again and again, while this task runs."""
        self.on = True
        try:
            while True:
                with suppress(StoreUnavailable):
                    await self.catch_up()
                with suppress(TimeoutError):
                    async with asyncio.timeout(ASK_SECONDS):
                        await self._told.wait()
                self._told.clear()
        finally:
            self.on = False

    async def catch_up(self) -> None:
        """Be as far as the store is now. Raises StoreUnavailable."""
        async with self._reading:
            state = await self.objects.state()
            if state.generation == self.generation and state.since == self._since and self.whole:
                return
            news: set[str] = set()
            if state.since != self._since:
                news |= await self._begin_anew(state)
            elif not self.whole or state.trimmed > self.generation:
                news |= await self._read_all(self.snapshot, state)
            while self.generation < state.generation:
                news |= await self._read_changes(state)
            self._tell(news)

    async def _read_changes(self, state: State) -> set[str]:
        generation, changes = await self.objects.changed_since(self.generation)
        self.generation = generation if changes else state.generation
        for kind, name, found in changes:
            if kind == "keys" and found is not None and CUT_MARK in found.document:
                self.on_cut(name)
        return {kind for kind, name, found in changes if self.snapshot.put(kind, name, found)}

    async def _begin_anew(self, state: State) -> set[str]:
        """Read another store than before. What was known serves until that is done."""
        fresh = Snapshot() if self.whole else self.snapshot
        await self._read_all(fresh, state)
        self.snapshot, self._since = fresh, state.since
        return set(KINDS)

    async def _read_all(self, into: Snapshot, state: State) -> set[str]:
        """Read every object, and forget those that are not there any more."""
        news: set[str] = set()
        for kind in KINDS:
            gone = into.ids(kind)
            async for page in self.objects.everything(kind):
                for name, found in page:
                    gone.discard(name)
                    if into.put(kind, name, found):
                        news.add(kind)
                await asyncio.sleep(0)  # others first
            for name in gone:
                if into.put(kind, name, None):
                    news.add(kind)
        self.generation, self.whole = state.generation, True
        return news

    def _tell(self, news: set[str]) -> None:
        if news - {"keys"}:
            for listener in list(self._listeners):
                listener.policies_changed()

    async def look_up(self, digest: bytes) -> Found | None:
        """The key of a secret that the copy does not know, because it may have been made just now.

        Asks the store at most so many times a second, and never twice within a minute for one
        secret; None where it did not ask, or the store is out.
        """
        if self._is_unknown(digest) or not self._may_ask():
            return None
        for _ in range(LOOK_UP_TRIES):
            generation = self.generation
            try:
                name = await self.objects.owner(digest)
                stored = await self.objects.get("keys", name) if name is not None else None
            except StoreUnavailable:
                continue  # one late answer is no outage; in an outage this costs nothing
            if name is None or stored is None:
                self._remember_unknown(digest)
                return None
            # What was read before a change that is known by now may be what it deleted.
            if generation == self.generation:
                self.snapshot.put("keys", name, stored)
                return self.snapshot.find(digest)
        return None

    def _is_unknown(self, digest: bytes) -> bool:
        until = self._unknown.get(digest)
        return until is not None and until > self._now()

    def _remember_unknown(self, digest: bytes) -> None:
        if len(self._unknown) >= MAX_UNKNOWN:
            self._unknown.popitem(last=False)
        self._unknown[digest] = self._now() + UNKNOWN_SECONDS
        self._unknown.move_to_end(digest)

    def _may_ask(self) -> bool:
        second = int(self._now())
        began, count = self._asked_in
        self._asked_in = (second, count + 1 if began == second else 1)
        return self._asked_in[1] <= LOOK_UPS_PER_SECOND
