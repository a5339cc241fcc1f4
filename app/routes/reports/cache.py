"""GET /admin/v1/cache: what the cache answered and saved, and how far it errs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from app.core.refusal import store_unavailable
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.activity import ActivityReport
from app.routes.reports.fresh import Fresh
from app.routes.reports.usage import span_of, visible
from cache.quotas.activity import Counted
from cache.semantic.error_bounds import Tally, excess
from cache.semantic.index import SemanticIndex
from cache.semantic.plan import TIERS
from cache.store.base import StoreUnavailable

SERVED = ("hit", "stale", "coalesced")  # what the upstream was not asked for
MOST_PLACES = 200


class CacheReport:
    """``places`` are tenant, alias and place of every model with answers by meaning."""

    def __init__(
        self,
        activity: ActivityReport,
        index: SemanticIndex,
        places: Sequence[tuple[str, str, bytes]],
        tenants: Callable[[], Iterable[str]],
        now: Callable[[], float],
    ) -> None:
        self._activity = activity
        self._index = index
        self._places = places
        self._tenants = tenants
        self._now = now
        self._fresh = Fresh()

    def routes(self) -> list[AdminRoute]:
        query = ("since", "until", "tenant")
        return [AdminRoute("GET", "/cache", "usage:read", self.cache, query)]

    async def cache(self, call: AdminCall) -> AdminReply:
        """Results of a span of at most eight days, and errors since the beginning."""
        since, until = span_of(call.query, datetime.fromtimestamp(self._now(), UTC))
        tenants = frozenset(visible(call, self._tenants()))
        counted = await self._activity.counts(since, until)
        results = [one for one in counted if one.kind == "cache" and one.tenant in tenants]
        document: dict[str, Any] = {
            "object": "cache",
            "results": _sums(results),
            "models": _by_model(results),
        }
        try:
            document["errors"] = await self._fresh.get(tenants, lambda: self._errors(tenants))
        except StoreUnavailable:
            raise store_unavailable("cache") from None
        return AdminReply(document)

    async def _errors(self, tenants: frozenset[str]) -> list[dict[str, Any]]:
        """The error of each tier beyond the model's own variation, with its bounds."""
        found = []
        seen = [one for one in self._places if one[0] in tenants or not one[0]]
        for tenant, alias, place in seen[:MOST_PLACES]:
            counts = await self._index.counts(tenant, place)
            control = Tally(counts.get("control_looked", 0), counts.get("control_differed", 0))
            for tier in TIERS:
                looked = counts.get(f"tier{tier}_looked", 0)
                if looked:
                    tally = Tally(looked, counts.get(f"tier{tier}_differed", 0))
                    bounds = excess(tally, control)
                    found.append(
                        {
                            "tenant": tenant or None,
                            "model": alias,
                            "tier": tier,
                            "compared": looked,
                            "differed": tally.differed,
                            "control_compared": control.looked,
                            "control_differed": control.differed,
                            "error": round(bounds.rate, 6),
                            "low": round(bounds.low, 6),
                            "high": round(bounds.high, 6),
                        }
                    )
        return found


def _sums(results: Iterable[Counted]) -> dict[str, Any]:
    """What became of requests for cached models; the rate is of those that looked for an entry."""
    counts: dict[str, int] = {}
    by_meaning = 0
    for one in results:
        counts[one.first] = counts.get(one.first, 0) + one.amount
        if one.first == "hit" and one.code == "semantic":
            by_meaning += one.amount
    served = sum(counts.get(name, 0) for name in SERVED)
    asked = served + counts.get("miss", 0) + counts.get("partial", 0)
    return {
        **counts,
        "semantic_hits": by_meaning,
        "served": served,
        "hit_rate": round(served / asked, 4) if asked else None,
    }


def _by_model(results: Sequence[Counted]) -> list[dict[str, Any]]:
    models = sorted({one.alias for one in results})
    return [
        {"model": model or None, **_sums(one for one in results if one.alias == model)}
        for model in models
    ]
