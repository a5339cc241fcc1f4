"""The composition root: one worker's application, and its change from one configuration to the next."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
from collections.abc import Callable
from socket import gethostname
from time import time
from typing import Any

import structlog

from app.chain.endpoints import metrics_page
from app.chain.guarded import guardrails_of
from app.chain.retrieving import retrievals_of
from app.config.loading import ConfigError, Loaded
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.observability.logs import LineWriter
from app.observability.metrics.snapshot import Snapshot
from app.pipeline import build
from app.providers.routing.routes import Router
from app.services import Services
from app.shared import Shared
from app.supervision.relay_mark import RelayMark
from app.supervision.worker import Beat, Link
from cache.store.base import StoreUnavailable

RELOAD_SIGNAL = signal.SIGHUP
# For which documents are waited for: a worker that does not start is taken for dead, while the old
# configuration serves on while a new one is made ready.
START_SECONDS, RELOAD_SECONDS = 5.0, 60.0


class Generation:
    """One configuration at work: its chain, its upstream connections, its running requests."""

    def __init__(self, loaded: Loaded, shared: Shared, kept: dict[str, Any]) -> None:
        self.name = loaded.generation
        self.store_optional = loaded.settings.store.optional
        self.shared_metrics = metrics_page(loaded.settings, shared)
        self._targets = Router(loaded.settings)
        self._guardrails = guardrails_of(loaded.settings, self._targets)
        self._retrievals = retrievals_of(loaded.settings, self._targets, shared.store, kept)
        self.app: ASGIApp = build(loaded, self._targets, shared, self._guardrails, self._retrievals)
        self.running = 0
        self._retired = False
        self.troubles = self._targets.troubles

    async def prepare(self, seconds: float) -> None:
        """Embed and open what requests will look things up in; what takes longer goes on aside."""
        if self._retrievals is not None:
            await self._retrievals.prepare(seconds)

    async def retire(self) -> None:
        """No more requests come; upstream connections close when the last running one ends."""
        self._retired = True
        await self.close_if_over()

    async def close_if_over(self) -> None:
        if self._retired and not self.running:
            await self._targets.aclose()
            if self._guardrails is not None:
                await self._guardrails.aclose()
            if self._retrievals is not None:
                await self._retrievals.aclose()

    @property
    def retired(self) -> bool:
        return self._retired


def _spare_the_collector() -> None:
    """Look for garbage cycles less often, and never among what the start left behind.

    A request leaves none; with 1,000 streams a full collection stopped the worker for 30-70 ms, and
    the default thresholds cost a tenth of a request's CPU.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


class Gateway:
    """The ASGI application of one worker. ``load`` gives the configuration, anew on each reload.

    A request runs to its end on the generation that it began on. ``link`` leads to the main
    process, where there is one. With the ``port`` that its server listens on, it guards the
    connections to it. Requests with the ``mark`` came over the management listener.
    """

    def __init__(
        self,
        load: Callable[[], Loaded],
        writer: LineWriter | None = None,
        port: int | None = None,
        link: Link | None = None,
        mark: RelayMark | None = None,
    ) -> None:
        self._load = load
        self._link = link
        self._writer = writer
        loaded = load()
        self._services = Services(
            loaded.settings.store,
            loaded.settings.cache,
            loaded.settings.cache_store,
            loaded.settings.server,
            port=port,
            wants_vectors=bool(loaded.settings.encoders),
            mark=mark,
            audit=loaded.settings.audit,
            tracing=loaded.settings.tracing,
        )
        self._services.serve(loaded.settings)
        self._services.shared.activity.facts = self._facts
        self._began = time()
        self._kept: dict[str, Any] = {}  # what a change of configuration need not make anew
        self._current = Generation(loaded, self._services.shared, self._kept)
        self._retired: list[Generation] = []
        self._log = structlog.get_logger("headgate")
        self._reloading: asyncio.Task[bool] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            if scope["type"] == "lifespan":
                await self._lifespan(receive, send)
            return
        generation = self._current
        generation.running += 1
        try:
            await generation.app(scope, receive, send)
        finally:
            generation.running -= 1
            if generation.retired:
                await generation.close_if_over()

    async def reload(self) -> bool:
        """Change to the configuration that ``load`` gives now; False, and no change, if it is bad."""
        try:
            loaded = self._load()
            fresh = Generation(loaded, self._services.shared, self._kept)
            await fresh.prepare(RELOAD_SECONDS)
        except ConfigError as error:
            self._log.error("reload_refused", problems=error.problems)
            return False
        except Exception as error:  # noqa: BLE001 - an outermost door: the last good one stays
            self._log.error("reload_failed", exc_info=error)
            return False
        self._services.serve(loaded.settings)
        old, self._current = self._current, fresh
        self._retired = [g for g in (*self._retired, old) if g.running]
        self._log.info("reloaded", generation=fresh.name, before=old.name)
        await old.retire()
        return True

    def drain(self) -> None:
        """Say to load balancers that no more requests are welcome here."""
        self._services.shared.readiness.drain()

    def beat(self, lag: float) -> Beat:
        """How this worker is, for the main process; ``lag`` is how late its loop was."""
        readiness = self._services.shared.readiness
        return Beat(
            pid=os.getpid(),
            generation=self._current.name,
            reason=readiness.problem(self._current.store_optional),
            store=readiness.store(),
            running=sum(g.running for g in (self._current, *self._retired)),
            lag=lag,
            details=readiness.details(self._current.troubles()),
        )

    def _facts(self) -> dict[str, object]:
        """How this worker is, for operators who look at all of them."""
        readiness = self._services.shared.readiness
        running = sum(g.running for g in (self._current, *self._retired))
        return {
            "host": gethostname(),
            "pid": os.getpid(),
            "started": round(self._began, 3),
            "generation": self._current.name,
            "reason": readiness.problem(self._current.store_optional),
            "store": readiness.store(),
            "cache_store": readiness.cache_store(),
            # What operators ask for is no traffic.
            "running": max(0, running - self._services.shared.activity.operators),
            "loop_lag_ms": readiness.loop_lag_ms(),
            "warnings": list(readiness.warnings),
        }

    def metrics(self) -> Snapshot:
        """What this worker measured, for the management listener."""
        shared = self._services.shared
        return shared.measured.snapshot(self._current.name, len(shared.running))

    async def shared_metrics(self) -> str | None:
        """What all replicas counted, for the management listener; None while the store is out."""
        try:
            return await self._current.shared_metrics.text()
        except StoreUnavailable:
            return None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                try:
                    await self._start()
                except Exception as error:  # noqa: BLE001 - Granian would serve without a start
                    self._log.error("start_failed", exc_info=error)
                    await send({"type": "lifespan.startup.failed", "message": str(error)})
                    return
                await send({"type": "lifespan.startup.complete"})
            else:
                await self._stop()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _start(self) -> None:
        self._services.start()
        await self._current.prepare(START_SECONDS)
        asyncio.get_running_loop().add_signal_handler(RELOAD_SIGNAL, self._begin_reload)
        # A reload may have been asked for between our reading the file and listening.
        if self._load().generation != self._current.name:
            self._begin_reload()
        _spare_the_collector()
        if self._link is not None:
            await self._link.start(self)

    async def _stop(self) -> None:
        await self._current.retire()
        await self._services.aclose()
        if self._link is not None:
            self._link.stop()
        if self._writer is not None:
            self._writer.flush()

    def _begin_reload(self) -> None:
        self._reloading = asyncio.get_running_loop().create_task(self.reload())
