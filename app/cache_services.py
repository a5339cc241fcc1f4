"""What the cache keeps running beside the requests of a worker: its store, and the tasks over it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from os import getpid
from time import monotonic
from typing import TYPE_CHECKING, Any

import structlog

from app.concurrency.background import Background
from app.concurrency.loop_lag import LoopLag
from app.config.settings import CacheStore, Caching
from app.config.settings import Store as StoreSettings
from app.config.values.encryption_key import parse_encryption_key
from app.observability.outage_log import OutageLog
from cache.answers.entry_bytes import Entries
from cache.answers.local_tier import LocalTier
from cache.answers.quota import Quota
from cache.answers.shared_tier import Responses
from cache.flights.flights import Flights, worker_name
from cache.flights.relay import Relay
from cache.quotas.counters import Counters
from cache.semantic.feedback_ids import FeedbackIds
from cache.semantic.index import SemanticIndex
from cache.semantic.search import ByMeaning
from cache.serving.coalesced import CacheParts
from cache.serving.resolution import Resolver
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable
from cache.store.opening import open_store

if TYPE_CHECKING:
    from cache.store.sealing import Seal
    from cache.store.subscriber import Mailbox

RETRY_SECONDS = 1.0
TELL_SECONDS = 0.25
QUIET_SECONDS = 60.0  # between two lines about entries that cannot be read: there may be thousands
BACKGROUND_GRACE_SECONDS = 5.0

Run = Callable[[Callable[[], Coroutine[Any, Any, None]]], None]


class CacheServices:
    """Answers, flights, the semantic index and counters live in ``own``, or, without one, in the main store."""

    def __init__(
        self,
        settings: StoreSettings,
        main: Store,
        caching: Caching,
        own: CacheStore | None,
        lag: LoopLag,
        *,
        wants_vectors: bool,
    ) -> None:
        self._wants_vectors = wants_vectors
        self._apart = own is not None
        self._lag = lag
        self.store = store = (
            main if own is None else open_store(own.url.reveal(), float(own.timeout))
        )
        keys = [parse_encryption_key(key.reveal()) for key in settings.encryption_keys]
        seal = _seal(keys)
        flights = Flights(worker_name(getpid()))
        counters = Counters(store)
        self._relay = Relay(store, flights, seal)
        self.quota = _quota(store, counters, caching)
        responses = Responses(store, int(caching.embedded_size), Entries(seal), self.quota)
        semantic_index = SemanticIndex(store, seal, self.quota)
        self.parts = CacheParts(
            responses,
            LocalTier(store, int(caching.shelf_size), float(caching.shelf_ttl)),
            flights,
            Resolver(responses, flights, self._relay),
            Background(),
            ByMeaning(responses, semantic_index, counters),
            semantic_index,
            counters,
            FeedbackIds(store, keys),
            self._apart,
        )
        url = settings.url if own is None else own.url
        self._mailbox = _mailbox(url.reveal(), flights, self._relay) if store.shared else None

    def start(self, run: Run) -> None:
        """Begin; ``run`` starts a task that goes on while the worker lives."""
        if self._apart:
            self.store.start()
        parts = self.parts
        if self.quota is not None:
            run(self.quota.keep_counting)
        run(parts.local_tier.keep_asking)
        run(self._relay.keep_beating)
        run(parts.counters.keep_writing)
        run(parts.feedback_ids.keep_agreeing)
        if self._wants_vectors:
            run(self._ask_for_vectors)
        if self._mailbox is not None:
            run(self._mailbox.keep_listening)
        if self.store.shared:
            run(self._keep_telling)

    def share(self, workers: int) -> None:
        """How many workers write into the same store."""
        if self.quota is not None:
            self.quota.workers = max(1, workers)

    async def finish(self) -> None:
        """Let what runs in the background end."""
        await self.parts.background.aclose(BACKGROUND_GRACE_SECONDS)

    async def aclose(self) -> None:
        """Write what is still to be written, and close a store of its own."""
        with suppress(StoreUnavailable):
            await self.parts.counters.flush()
        if self._apart:
            await self.store.aclose()

    async def _ask_for_vectors(self) -> None:
        """Say at once, and not at the first question, that there will be no second tier."""
        while True:
            with suppress(StoreUnavailable):
                if not await self.parts.semantic_index.probe():
                    structlog.get_logger("headgate").error(
                        "semantic_tier2_refused",
                        reason="the store has no vector sets; Redis 8 or newer has. Tier 1 works",
                    )
                await asyncio.Event().wait()
            await asyncio.sleep(RETRY_SECONDS)

    async def _keep_telling(self) -> None:
        """Log outages of the cache's own store, when nothing more is kept, what cannot be read."""
        log = structlog.get_logger("headgate")
        outages = OutageLog(self.store.breaker, self._lag, "cache_store")
        stopped, undecodable, quiet_until = False, 0, 0.0
        while True:
            if self._apart:
                outages.look()
            if self.quota is not None and self.quota.stopped != stopped:
                stopped = self.quota.stopped
                log.warning("cache_stopped" if stopped else "cache_goes_on", **self.quota.told())
            count = self.parts.responses.undecodable
            if count != undecodable and monotonic() >= quiet_until:
                log.warning("cache_undecodable", entries=count - undecodable)
                undecodable, quiet_until = count, monotonic() + QUIET_SECONDS
            await asyncio.sleep(TELL_SECONDS)


def _quota(store: Store, counters: Counters, caching: Caching) -> Quota | None:
    """None for a store in this process: it has a bound of its own."""
    if not store.shared:
        return None
    of_tenant = caching.max_bytes_per_tenant
    return Quota(
        store, counters, int(caching.max_bytes), int(of_tenant) if of_tenant is not None else None
    )


def _seal(keys: Sequence[bytes]) -> Seal | None:
    """What encrypts whatever the store is given to keep; None without keys."""
    if not keys:
        return None
    from cache.store.sealing import Seal  # noqa: PLC0415 - an extra

    return Seal(keys)


def _mailbox(url: str, flights: Flights, relay: Relay) -> Mailbox:
    from cache.store.redis_urls import finder_for  # noqa: PLC0415
    from cache.store.subscriber import Mailbox  # noqa: PLC0415 - redis-py is heavy, and only here

    return Mailbox(finder_for(url), names.mailbox(flights.worker), relay.received)
