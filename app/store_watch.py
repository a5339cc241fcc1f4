"""Says what becomes of the store: gone and back, full, emptied, or set up to forget money."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import structlog

from app.concurrency.loop_lag import LoopLag
from app.observability.outage_log import OutageLog
from app.shared import Shared
from cache.quotas.heartbeat import claim
from cache.quotas.risks import Risks, risks_of
from cache.store.base import StoreUnavailable

TELL_SECONDS = 0.25
FULL_SECONDS = 60.0  # between two lines that say that the server is full
WARN_ONCE_SECONDS = 30  # the workers of a gateway start together; one of them warns


class StoreWatch:
    """Writes to the log, to ``/health/ready`` and to the counters, for one worker.

    Settings that can lose money are warned of at the start, after an outage and after a change of
    configuration, where ``has_budgets``.
    """

    def __init__(self, shared: Shared, lag: LoopLag) -> None:
        self._shared = shared
        self._log = structlog.get_logger("headgate")
        self._outages = OutageLog(shared.store.breaker, lag)
        self._lost = (0, 0)
        self._full = 0
        self._silent_until = 0.0
        self._looked: tuple[int, bool] | None = None
        self.has_budgets = False

    async def keep_watching(self) -> None:
        """Tell what changes, while this task runs."""
        while True:
            self._outages.look()
            self._tell_losses()
            await self._look_for_risks()
            await asyncio.sleep(TELL_SECONDS)

    def emptied(self) -> None:
        """The store has lost everything, or is another one; told to one worker of all."""
        self._log.error(
            "store_empty",
            lost="what budgets had spent and held, limits, usage and the cache: all begin anew",
        )
        self._shared.cache.counters.add("headgate_store_empty_total", {})

    def _tell_losses(self) -> None:
        shared = self._shared
        lost = (shared.ledger.lost, shared.usage.dropped)
        if lost != self._lost:
            self._lost = lost
            self._log.error("store_lost", settlements=lost[0], usage_records=lost[1])
        now = asyncio.get_running_loop().time()
        if shared.store.full != self._full and now >= self._silent_until:
            self._full, self._silent_until = shared.store.full, now + FULL_SECONDS
            self._log.warning(
                "store_full", refused=self._full, advice="raise maxmemory; the cache cannot write"
            )

    async def _look_for_risks(self) -> None:
        breaker = self._shared.store.breaker
        looked = (breaker.opened, self.has_budgets)
        if breaker.open or looked == self._looked:
            return
        with suppress(StoreUnavailable):
            risks = await risks_of(self._shared.store) if self.has_budgets else Risks()
            self._looked = looked
            warnings = [name for name, risk in zip(Risks._fields, risks, strict=True) if risk]
            self._shared.readiness.warnings = [f"store_{name}" for name in warnings]
            if warnings and await claim(self._shared.store, "warned", WARN_ONCE_SECONDS):
                self._warn(risks)

    def _warn(self, risks: Risks) -> None:
        if risks.evicts:
            self._log.warning(
                "store_evicts",
                policy=risks.evicts,
                advice="a full server may forget what was spent: set maxmemory-policy noeviction",
            )
        if risks.forgets:
            self._log.warning(
                "store_forgets",
                advice="a restart of the server forgets what was spent: set appendonly yes",
            )
