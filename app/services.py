"""What a worker keeps running beside its requests: the store, and the tasks that look after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import structlog

from app.cache_services import CacheServices
from app.concurrency.loop_lag import LoopLag
from app.config.audit import Audit
from app.config.sections.tracing import Tracing
from app.config.settings import CacheStore, Caching, Server, Settings
from app.config.settings import Store as StoreSettings
from app.connections.bad_keys import BadKeys
from app.connections.client_address import TrustedProxies
from app.connections.guard import Guard
from app.connections.pending import PendingAnswers
from app.connections.rules import Limits
from app.connections.tcp import SUPPORTED, Sockets
from app.core.usage import Counts
from app.observability.metrics.families import LAG
from app.observability.metrics.histogram import Histogram
from app.observability.metrics.requests import RequestMetrics
from app.providers.routing.shared_health import SharedHealth
from app.registry_watch import RegistryWatch
from app.routes.health import Readiness
from app.routes.process_metrics import ProcessMetrics
from app.shared import Shared
from app.store_watch import StoreWatch
from app.supervision.relay_mark import RelayMark
from cache.quotas.activity import ActivityLog
from cache.quotas.heartbeat import Heartbeat
from cache.quotas.housekeeping import Housekeeping
from cache.quotas.ledger import Ledger
from cache.quotas.limiter import Limiter
from cache.quotas.usage import UsageLog
from cache.registry.registry import Registry
from cache.store.base import Store
from cache.store.clock import StoreClock
from cache.store.opening import open_store

if TYPE_CHECKING:
    from app.audited import Audited
    from app.observability.tracing.tracer import Tracer

RESTART_SECONDS = 1.0
BAD_ADMIN_KEYS = 5  # a minute from one address, before answers to it are slowed
CONNECTIONS_ENDED = "headgate_connections_ended_total"


class Services:
    """Made before the loop runs, started and closed in it; lives as long as the worker."""

    def __init__(
        self,
        settings: StoreSettings,
        caching: Caching,
        cache_store: CacheStore | None,
        server: Server,
        *,
        port: int | None = None,
        wants_vectors: bool = False,
        mark: RelayMark | None = None,
        audit: Audit | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        store = open_store(settings.url.reveal(), float(settings.timeout))
        lease = float(settings.lease)
        self._lag = LoopLag((late := Histogram(LAG)).observe)
        self._cache = cache = CacheServices(
            settings, store, caching, cache_store, self._lag, wants_vectors=wants_vectors
        )
        readiness = Readiness()
        of_cache = cache.store if cache_store is not None else None
        readiness.watch(store.breaker, self._lag, of_cache.breaker if of_cache else None)
        clock = StoreClock()
        ledger, usage = Ledger(store, lease, clock), UsageLog(store, clock)
        proxies, tracer = TrustedProxies(server.trusted_proxies), _tracer(tracing)
        self.shared = Shared(
            store,
            Limiter(store, settings.on_outage.limits, lease),
            ledger,
            usage,
            readiness,
            cache.parts,
            PendingAnswers(int(server.max_pending_bytes)),
            {},
            BadKeys(proxies, server.bad_keys_per_minute),
            proxies,
            {},
            health := SharedHealth(store, clock.now, cache.parts.counters),
            mark,
            BadKeys(proxies, BAD_ADMIN_KEYS),
            registry := Registry(store),
            _measured(health, _stores(store, of_cache), late, tracer),
            ActivityLog(store, clock),
            _audited(audit, proxies, registry, store, cache.parts.counters),
            tracer,
        )
        readiness.watch_targets(health)
        self._guard = self._guard_of(server, port) if port is not None else None
        self._watch = StoreWatch(self.shared, self._lag)
        self._heartbeat = Heartbeat(store, self._share, clock, self._watch.emptied)
        self._housekeeping = Housekeeping(store)
        self._tasks: list[asyncio.Task[None]] = []
        self._registry = RegistryWatch(self.shared, self._housekeeping, settings, self._guard)

    def serve(self, settings: Settings) -> None:
        """Look after what a configuration, the first or a new one, keeps in the store."""
        self.shared.health.keep(
            target.name for model in settings.models.values() for target in model.targets
        )
        if self.shared.audit is not None:
            self.shared.audit.serve(settings)
        self.shared.activity.wanted = settings.admin is not None and bool(settings.admin.keys)
        self._watch.has_budgets = bool(settings.budgets) or settings.admin is not None
        self._registry.serve(settings)

    def start(self) -> None:
        """Begin; needs a running loop."""
        shared = self.shared
        if shared.audit is not None:
            shared.audit.start()
        shared.store.start()
        self._run(self._lag.keep_measuring)
        if shared.tracer is not None:
            self._run(shared.tracer.exporter.keep_exporting)
        if self._guard is not None:
            self._guard.start()
        self._run(shared.limiter.keep_leases)
        self._run(shared.ledger.keep_leases)
        self._run(shared.usage.keep_writing)
        self._run(shared.activity.keep_sharing)
        self._run(shared.health.keep_in_step)
        self._run(self._housekeeping.keep_sweeping)
        self._cache.start(self._run)
        if shared.store.shared:
            self._run(self._heartbeat.keep_beating)
            self._run(self._watch.keep_watching)
        self._registry.start(self._run)

    async def aclose(self) -> None:
        """Write what is still to be written, within the store's own timeouts, and close it."""
        if self._guard is not None:
            self._guard.stop()
        await self._cache.finish()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.shared.ledger.settle_owed()
        self.shared.limiter.lay_ghosts()
        if self.shared.audit is not None:
            await self.shared.audit.aclose()
        if self.shared.tracer is not None:
            await self.shared.tracer.exporter.aclose()
        await self.shared.usage.flush()
        await self.shared.activity.leave()
        await self._cache.aclose()
        if self.shared.store.shared:
            await self._heartbeat.leave()
        await self.shared.store.aclose()

    def _share(self, workers: int) -> None:
        """How many workers there are: of limits in an outage, and of the cache's room, a share."""
        self.shared.limiter.share(workers)
        self._cache.share(workers)

    def _guard_of(self, server: Server, port: int) -> Guard | None:
        log = structlog.get_logger("headgate")
        if not SUPPORTED:
            log.warning(
                "connections_unguarded",
                reason="only on Linux are callers ended that do not read, and longest idle ones",
            )
            return None

        def ended(reason: str, count: int) -> None:
            self.shared.cache.counters.add(CONNECTIONS_ENDED, {"reason": reason}, count)
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

    def _run(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._tasks.append(asyncio.get_running_loop().create_task(_keep_running(work)))


def _audited(
    settings: Audit | None,
    proxies: TrustedProxies,
    registry: Registry,
    store: Store,
    counts: Counts,
) -> Audited | None:
    """This worker's audit log; nothing of it is loaded where there is none."""
    if settings is None:
        return None
    from app.audited import Audited  # noqa: PLC0415 - where there is one

    audited = Audited(settings, proxies, store, counts)
    audited.attach(registry)
    return audited


def _tracer(settings: Tracing | None) -> Tracer | None:
    """What traces requests; nothing of it is loaded where they are not traced."""
    if settings is None:
        return None
    from app.observability.tracing.tracer import Tracer  # noqa: PLC0415 - where there are traces

    return Tracer(settings)


def _measured(
    targets: SharedHealth, stores: Mapping[str, Store], late: Histogram, tracer: Tracer | None
) -> ProcessMetrics:
    spans = tracer.exporter.counts if tracer is not None else {}
    return ProcessMetrics(RequestMetrics(), targets, stores, late, spans)


def _stores(main: Store, of_cache: Store | None) -> dict[str, Store]:
    """The stores by the name that metrics have for them."""
    return {"main": main} if of_cache is None else {"main": main, "cache": of_cache}


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
