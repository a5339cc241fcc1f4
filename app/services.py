"""What a worker keeps running beside its requests: the store, and the tasks that look after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from app.caching.services import CacheServices
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
        readiness = Readiness()
        readiness.watch(store.breaker, cache.store.breaker if cache_store is not None else None)
        self.shared = Shared(
            store, limiter, Ledger(store, lease), UsageLog(store), readiness, cache.kept
        )
        self._heartbeat = Heartbeat(store, self._share)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; needs a running loop."""
        shared = self.shared
        shared.store.start()
        self._run(shared.limiter.keep_leases)
        self._run(shared.ledger.keep_leases)
        self._run(shared.usage.keep_writing)
        self._cache.start(self._run)
        if shared.store.shared:
            self._run(self._heartbeat.keep_beating)
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
        """Log when the store goes and comes back, and what was lost meanwhile."""
        log = structlog.get_logger("headgate")
        shared = self.shared
        was_open, lost, dropped = False, 0, 0
        while True:
            breaker = shared.store.breaker
            if breaker.open != was_open:
                was_open = breaker.open
                if was_open:
                    log.warning("store_out", reason=breaker.reason)
                else:
                    log.warning("store_back")
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
