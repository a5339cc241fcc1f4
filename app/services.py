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
from app.caching.journey import Kept
from app.caching.seats import Seats
from app.connections.bad_keys import BadKeys
from app.connections.guard import Guard
from app.connections.pending import PendingAnswers
from app.connections.rules import Limits
from app.connections.tcp import SUPPORTED, Sockets
from app.core.client_address import TrustedProxies
from app.pipeline import Shared
from app.routes.health import Readiness
from app.settings import Caching, Server
from app.settings import Store as StoreSettings
from cache import names
from cache.connection import Store, StoreUnavailable, open_store
from cache.counters import Counters
from cache.flight_relay import Relay
from cache.flights import Flights, worker_name
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
TELL_SECONDS = 0.25
BACKGROUND_GRACE_SECONDS = 5.0
CONNECTIONS_ENDED = "headgate_connections_ended_total"


class Services:
    """Made before the loop runs, started and closed in it; lives as long as the worker."""

    def __init__(
        self,
        settings: StoreSettings,
        caching: Caching,
        server: Server,
        *,
        port: int | None = None,
        wants_vectors: bool = False,
    ) -> None:
        self._wants_vectors = wants_vectors
        url = settings.url.reveal()
        store = open_store(url, float(settings.timeout))
        lease = float(settings.lease)
        limiter = Limiter(store, settings.on_outage.limits, lease)
        readiness = Readiness()
        readiness.watch(store.breaker)
        flights = Flights(worker_name(getpid()))
        self._relay = Relay(store, flights)
        kept = _kept(store, caching, flights, self._relay)
        proxies = TrustedProxies(server.trusted_proxies)
        self.shared = Shared(
            store,
            limiter,
            Ledger(store, lease),
            UsageLog(store),
            readiness,
            kept,
            PendingAnswers(int(server.max_pending_bytes)),
            {},
            BadKeys(proxies, server.bad_keys_per_minute),
            proxies,
            {},
        )
        self._mailbox = _mailbox(url, flights, self._relay) if store.shared else None
        self._guard = self._guard_of(server, port) if port is not None else None
        self._heartbeat = Heartbeat(store, limiter.share)
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; needs a running loop."""
        shared = self.shared
        shared.store.start()
        if self._guard is not None:
            self._guard.start()
        self._run(shared.limiter.keep_leases)
        self._run(shared.ledger.keep_leases)
        self._run(shared.usage.keep_writing)
        self._run(shared.kept.shelf.keep_asking)
        self._run(self._relay.keep_beating)
        self._run(shared.kept.counters.keep_writing)
        if self._wants_vectors:
            self._run(self._ask_for_vectors)
        if self._mailbox is not None:
            self._run(self._mailbox.keep_listening)
        if shared.store.shared:
            self._run(self._heartbeat.keep_beating)
            self._run(self._keep_telling)

    async def aclose(self) -> None:
        """Write what is still to be written, within the store's own timeouts, and close it."""
        if self._guard is not None:
            self._guard.stop()
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

    def _guard_of(self, server: Server, port: int) -> Guard | None:
        log = structlog.get_logger("headgate")
        if not SUPPORTED:
            log.warning(
                "connections_unguarded",
                reason="only on Linux are callers ended that do not read, and longest idle ones",
            )
            return None

        def ended(reason: str, count: int) -> None:
            self.shared.kept.counters.add(CONNECTIONS_ENDED, {"reason": reason}, count)
            if reason != "keepalive_timeout":  # nobody's fault, and all day long
                log.warning("connections_ended", reason=reason, count=count)

        return Guard(
            Sockets(port),
            limits_of(server),
            self.shared.running,
            self.shared.proxies.trusts,
            ended,
            self.shared.pending.give_memory_back,
        )

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

    async def _keep_telling(self) -> None:
        """Log when the store goes and comes back, and what was lost meanwhile."""
        log = structlog.get_logger("headgate")
        shared = self.shared
        was_open, lost, dropped, undecodable = False, 0, 0, 0
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
            if shared.kept.responses.undecodable != undecodable:
                undecodable = shared.kept.responses.undecodable
                log.warning("cache_undecodable", entries=undecodable)
            await asyncio.sleep(TELL_SECONDS)

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(_keep_running(work)))


def _kept(store: Store, caching: Caching, flights: Flights, relay: Relay) -> Kept:
    responses = Responses(store, int(caching.embedded_size))
    shelf = Shelf(store, int(caching.shelf_size), float(caching.shelf_ttl))
    counters = Counters(store)
    meanings = Meanings(store)
    return Kept(
        responses,
        shelf,
        flights,
        Seats(responses, flights, relay),
        Background(),
        ByMeaning(responses, meanings, counters),
        meanings,
        counters,
    )


def limits_of(server: Server) -> Limits:
    """What the settings allow to one worker's connections."""
    return Limits(
        send=float(server.send_timeout),
        head=float(server.head_timeout),
        keepalive=float(server.keepalive_timeout),
        pending=int(server.max_pending_bytes),
        connections=server.max_connections,
        per_address=server.max_connections_per_address,
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
