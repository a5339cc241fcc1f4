"""What a worker keeps running beside its requests: the store, and the tasks that look after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from app.caching.services import CacheServices
from app.loop_lag import LoopLag
from app.outage_log import OutageLog
from app.pipeline import Shared
from app.routes.health import Readiness
from app.settings import CacheStore, Caching
from app.settings import Store as StoreSettings
from cache.connection import open_store
from cache.ledger import Ledger
from cache.limiter import Limiter
from cache.replicas import Heartbeat
from cache.usage import UsageLog

RESTART_SECONDS = 1.0
TELL_SECONDS = 0.25


class Services:
    """Made before the loop runs, started and closed in it; lives as long as the worker."""

    def __init__(
        self,
        settings: StoreSettings,
        caching: Caching,
        cache_store: CacheStore | None = None,
        *,
        wants_vectors: bool = False,
    ) -> None:
        store = open_store(settings.url.reveal(), float(settings.timeout))
        lease = float(settings.lease)
        limiter = Limiter(store, settings.on_outage.limits, lease)
        self._cache = cache = CacheServices(
            settings, store, caching, cache_store, wants_vectors=wants_vectors
        )
        self._lag = LoopLag()
        readiness = Readiness()
        of_cache = cache.store.breaker if cache_store is not None else None
        readiness.watch(store.breaker, self._lag, of_cache)
        self._outages = [OutageLog(store.breaker, self._lag)]
        if of_cache is not None:
            self._outages.append(OutageLog(of_cache, self._lag, "cache_store"))
        self.shared = Shared(
            store, limiter, Ledger(store, lease), UsageLog(store), readiness, cache.kept
        )
        self._heartbeat = Heartbeat(store, self._share)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; needs a running loop."""
        shared = self.shared
        shared.store.start()
        self._run(self._lag.keep_measuring)
        self._run(shared.limiter.keep_leases)
        self._run(shared.ledger.keep_leases)
        self._run(shared.usage.keep_writing)
        self._cache.start(self._run)
        if shared.store.shared:
            self._run(self._heartbeat.keep_beating)
        if shared.store.shared or self._cache.store.shared:
            self._run(self._keep_telling)

    async def aclose(self) -> None:
        """Write what is still to be written, within the store's own timeouts, and close it."""
        await self._cache.finish()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.shared.ledger.settle_owed()
        self.shared.limiter.lay_ghosts()
        await self.shared.usage.flush()
        await self._cache.aclose()
        if self.shared.store.shared:
            await self._heartbeat.leave()
        await self.shared.store.aclose()

    def _share(self, workers: int) -> None:
        """How many workers there are: of limits in an outage, and of the cache's room, a share."""
        self.shared.limiter.share(workers)
        self._cache.share(workers)

    async def _keep_telling(self) -> None:
        """Log when a store goes and comes back, and what was lost meanwhile."""
        log = structlog.get_logger("headgate")
        shared = self.shared
        lost, dropped = 0, 0
        while True:
            for outages in self._outages:
                outages.look()
            if (shared.ledger.lost, shared.usage.dropped) != (lost, dropped):
                lost, dropped = shared.ledger.lost, shared.usage.dropped
                log.error("store_lost", settlements=lost, usage_records=dropped)
            await asyncio.sleep(TELL_SECONDS)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(_keep_running(work)))


async def _keep_running(work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """A task that nobody waits for must not end unseen: say so, and begin again."""
    while True:
        try:
            await work()
        except Exception as error:  # noqa: BLE001 - an outermost door, as a request's is
            structlog.get_logger("headgate").error(
                "task_failed", task=work.__qualname__, exc_info=error
            )
        await asyncio.sleep(RESTART_SECONDS)
