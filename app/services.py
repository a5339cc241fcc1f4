"""What a worker keeps running beside its requests: the store, and the tasks that look after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from os import getpid
from typing import TYPE_CHECKING, Any

import structlog

from app.caching.background import Background
from app.caching.by_meaning import ByMeaning
from app.caching.coalesced import CacheServices
from app.caching.resolution import Resolver
from app.core.keys import GATEWAY
from app.loop_lag import LoopLag
from app.pipeline import Shared
from app.routes.health import Readiness
from app.settings import Caching, Settings
from app.settings import Store as StoreSettings
from app.store_watch import StoreWatch
from cache import names
from cache.clock import StoreClock
from cache.connection import Store, StoreUnavailable, open_store
from cache.counters import Counters
from cache.flight_relay import Relay
from cache.flights import Flights, worker_name
from cache.housekeeping import Housekeeping
from cache.ledger import Ledger
from cache.limiter import Limiter
from cache.meanings import Meanings
from cache.replicas import Heartbeat
from cache.responses import Responses
from cache.shelf import Shelf
from cache.usage import UsageLog

if TYPE_CHECKING:
    from cache.mailbox import Mailbox

RESTART_SECONDS = 1.0
BACKGROUND_GRACE_SECONDS = 5.0


class Services:
    """Made before the loop runs, started and closed in it; lives as long as the worker."""

    def __init__(
        self, settings: StoreSettings, caching: Caching, *, wants_vectors: bool = False
    ) -> None:
        self._wants_vectors = wants_vectors
        url = settings.url.reveal()
        store = open_store(url, float(settings.timeout))
        lease = float(settings.lease)
        limiter = Limiter(store, settings.on_outage.limits, lease)
        self._lag = LoopLag()
        readiness = Readiness()
        readiness.watch(store.breaker, self._lag)
        clock = StoreClock()
        flights = Flights(worker_name(getpid()))
        self._relay = Relay(store, flights)
        kept = _kept(store, caching, flights, self._relay)
        ledger, usage = Ledger(store, lease, clock), UsageLog(store, clock)
        self.shared = Shared(store, limiter, ledger, usage, readiness, kept)
        self._mailbox = _mailbox(url, flights, self._relay) if store.shared else None
        self._watch = StoreWatch(self.shared, self._lag)
        self._heartbeat = Heartbeat(store, limiter.share, clock, self._watch.emptied)
        self._housekeeping = Housekeeping(store)
        self._tasks: list[asyncio.Task[None]] = []

    def serve(self, settings: Settings) -> None:
        """Look after what a configuration, the first or a new one, keeps in the store."""
        self._housekeeping.tenants = frozenset([*settings.tenants, GATEWAY])
        self._watch.has_budgets = bool(settings.budgets)

    def start(self) -> None:
        """Begin; needs a running loop."""
        shared = self.shared
        shared.store.start()
        self._run(self._lag.keep_measuring)
        self._run(shared.limiter.keep_leases)
        self._run(shared.ledger.keep_leases)
        self._run(shared.usage.keep_writing)
        self._run(self._housekeeping.keep_sweeping)
        self._run(shared.kept.shelf.keep_asking)
        self._run(self._relay.keep_beating)
        self._run(shared.kept.counters.keep_writing)
        if self._wants_vectors:
            self._run(self._ask_for_vectors)
        if self._mailbox is not None:
            self._run(self._mailbox.keep_listening)
        if shared.store.shared:
            self._run(self._heartbeat.keep_beating)
            self._run(self._watch.keep_watching)

    async def aclose(self) -> None:
        """Write what is still to be written, within the store's own timeouts, and close it."""
        await self.shared.kept.background.aclose(BACKGROUND_GRACE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.shared.ledger.settle_owed()
        self.shared.limiter.lay_ghosts()
        await self.shared.usage.flush()
        with suppress(StoreUnavailable):
            await self.shared.kept.counters.flush()
        if self.shared.store.shared:
            await self._heartbeat.leave()
        await self.shared.store.aclose()

    async def _ask_for_vectors(self) -> None:
        """Say at once, and not at the first question, that there will be no second tier."""
        while True:
            with suppress(StoreUnavailable):
                if not await self.shared.kept.meanings.probe():
                    structlog.get_logger("headgate").error(
                        "semantic_tier2_refused",
                        reason="the store has no vector sets; Redis 8 or newer has. Tier 1 works",
                    )
                await asyncio.Event().wait()
            await asyncio.sleep(RESTART_SECONDS)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(_keep_running(work)))


def _kept(store: Store, caching: Caching, flights: Flights, relay: Relay) -> CacheServices:
    responses = Responses(store, int(caching.embedded_size))
    shelf = Shelf(store, int(caching.shelf_size), float(caching.shelf_ttl))
    counters = Counters(store)
    meanings = Meanings(store)
    return CacheServices(
        responses,
        shelf,
        flights,
        Resolver(responses, flights, relay),
        Background(),
        ByMeaning(responses, meanings, counters),
        meanings,
        counters,
    )


def _mailbox(url: str, flights: Flights, relay: Relay) -> Mailbox:
    from cache.mailbox import Mailbox  # noqa: PLC0415 - redis-py is heavy, and only here
    from cache.redis_urls import finder_for  # noqa: PLC0415

    return Mailbox(finder_for(url), names.mailbox(flights.worker), relay.received)


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
