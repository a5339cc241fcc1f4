"""GET /admin/v1/activity, replicas and errors: what happens now, who serves it, and what fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from app.core.errors import Forbidden
from app.core.refusal import store_unavailable
from app.observability.activity import WINDOW_SECONDS, merged, quantile
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.fresh import Fresh
from app.routes.reports.usage import number_in, span_of
from cache.quotas.activity import Counted, Facts, read_activity_counts, read_workers
from cache.quotas.past_counts import PastCounts
from cache.store.base import Store, StoreUnavailable

RATE_SECONDS = 10  # over which a rate is taken
DEFAULT_ROWS, MOST_ROWS = 100, 500


class ActivityReport:
    """``now`` gives unix seconds, the store's; ``generation`` names this worker's configuration."""

    def __init__(self, store: Store, now: Callable[[], float], generation: str) -> None:
        self._store = store
        self._now = now
        self._generation = generation
        self._fresh = Fresh()
        self._past = PastCounts()

    def routes(self) -> list[AdminRoute]:
        counted = ("since", "until", "tenant", "key", "model", "code", "limit")
        return [
            AdminRoute("GET", "/activity", "usage:read", self.activity),
            AdminRoute("GET", "/replicas", "config:read", self.replicas),
            AdminRoute("GET", "/errors", "usage:read", self.errors, counted),
        ]

    async def activity(self, call: AdminCall) -> AdminReply:
        """The last minute over all workers; the second that is not over is left out."""
        of_all(call)
        workers = await self._workers()
        last = int(self._now()) - 2  # what every worker has told by now
        sums = {second: [0, 0] for second in range(last - WINDOW_SECONDS + 1, last + 1)}
        for word in workers.values():
            for second, requests, failed in word["seconds"]:
                if second in sums:
                    sums[second][0] += requests
                    sums[second][1] += failed
        recent = [counts for second, counts in sums.items() if second > last - RATE_SECONDS]
        first = merged(word["first_byte"] for word in workers.values())
        own = merged(word["gateway"] for word in workers.values())
        return AdminReply(
            {
                "object": "activity",
                "at": round(self._now(), 3),
                "workers": len(workers),
                "in_flight": sum(word["running"] for word in workers.values()),
                "requests_per_second": sum(counts[0] for counts in recent) / RATE_SECONDS,
                "errors_per_second": sum(counts[1] for counts in recent) / RATE_SECONDS,
                "first_byte_ms": _quantiles(first),
                "gateway_ms": _quantiles(own),
                "seconds": [[second, *counts] for second, counts in sums.items()],
            }
        )

    async def replicas(self, call: AdminCall) -> AdminReply:
        """Every worker that has spoken within five seconds. ``drift``: not all have one configuration."""
        of_all(call)
        workers = await self._workers()
        data = [
            {"worker": worker, **{n: v for n, v in word.items() if n not in _HISTORY}}
            for worker, word in workers.items()
        ]
        data.sort(key=lambda one: (one["host"], one["pid"]))
        generations = sorted({one["generation"] for one in data})
        return AdminReply(
            {
                "object": "list",
                "generation": self._generation,
                "generations": generations,
                "drift": len(generations) > 1,
                "hosts": len({one["host"] for one in data}),
                "data": data,
            }
        )

    async def errors(self, call: AdminCall) -> AdminReply:
        """Failures by status, code, tenant, key and model; those without a key only for who sees all."""
        now = datetime.fromtimestamp(self._now(), UTC)
        since, until = span_of(call.query, now)
        limit = number_in(call.query, "limit", DEFAULT_ROWS, MOST_ROWS)
        counted = [one for one in await self.counts(since, until) if one.kind == "error"]
        rows = sorted((one for one in counted if _fits(one, call)), key=lambda one: -one.amount)
        data = [
            {
                "status": int(one.first),
                "code": one.code or None,
                "tenant": one.tenant or None,
                "key": one.key or None,
                "model": one.alias or None,
                "count": one.amount,
            }
            for one in rows[:limit]
        ]
        return AdminReply(
            {
                "object": "list",
                "total": sum(one.amount for one in rows),
                "data": data,
                "others": sum(one.amount for one in rows[limit:]),
            }
        )

    async def counts(self, since: datetime, until: datetime) -> list[Counted]:
        """What was counted in a span. Raises Unavailable."""

        async def make() -> list[Counted]:
            return await read_activity_counts(
                self._store, since.timestamp(), until.timestamp(), self._past
            )

        try:
            what = ("counts", int(since.timestamp()), int(until.timestamp()))
            found: list[Counted] = await self._fresh.get(what, make)
        except StoreUnavailable:
            raise store_unavailable("activity") from None
        return found

    async def _workers(self) -> Mapping[str, Facts]:
        async def make() -> Mapping[str, Facts]:
            return await read_workers(self._store, self._now())

        try:
            found: Mapping[str, Facts] = await self._fresh.get("workers", make)
        except StoreUnavailable:
            raise store_unavailable("activity") from None
        return found


_HISTORY = ("seconds", "first_byte", "gateway")


def of_all(call: AdminCall) -> None:
    """Refuse a key that sees only some tenants: what is asked for is of all of them."""
    if call.who.tenants is not None:
        raise Forbidden(
            f"The admin key {call.who.id!r} sees only its tenants, and this is about all of them.",
            code="scope_required",
        )


def _fits(one: Counted, call: AdminCall) -> bool:
    """Whether a count is asked for, and to be seen by who asks."""
    if call.who.tenants is not None and not call.who.sees(one.tenant):
        return False
    said = {"tenant": one.tenant, "key": one.key, "model": one.alias, "code": one.code}
    return all(call.query.get(name, value) == value for name, value in said.items())


def _quantiles(histogram: Mapping[int, int]) -> dict[str, float | None]:
    found = {"p50": quantile(histogram, 0.5), "p95": quantile(histogram, 0.95)}
    return {name: None if value is None else round(value, 3) for name, value in found.items()}
