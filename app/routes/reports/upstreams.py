"""GET /admin/v1/upstreams: every target, how it is, and how it failed."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.config.settings import Settings
from app.core.refusal import store_unavailable
from app.providers.routing.shared_health import SharedHealth
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.activity import of_all
from app.routes.reports.fresh import Fresh
from cache.quotas.counters import Counters
from cache.store.base import StoreUnavailable

FAILURES = "headgate_target_failures_total"
OPENINGS = "headgate_target_openings_total"
_SERIES = re.compile(r"(\w+)\{(.*)\}")
_LABEL = re.compile(r'(\w+)="((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")


class UpstreamsReport:
    """``health`` is this worker's copy of what all know, ``counters`` are those of all replicas."""

    def __init__(self, settings: Settings, health: SharedHealth, counters: Counters) -> None:
        self._aliases: dict[str, list[str]] = {}
        for alias, model in settings.models.items():
            for target in model.targets:
                aliases = self._aliases.setdefault(target.name, [])
                if alias not in aliases:
                    aliases.append(alias)
        self._health = health
        self._counters = counters
        self._fresh = Fresh()

    def routes(self) -> list[AdminRoute]:
        return [AdminRoute("GET", "/upstreams", "config:read", self.upstreams)]

    async def upstreams(self, call: AdminCall) -> AdminReply:
        """``failures`` and ``openings`` since the store was made; the rest is as it is now."""
        of_all(call)
        try:
            series: Mapping[str, int] = await self._fresh.get("counters", self._counters.read)
        except StoreUnavailable:
            raise store_unavailable("upstreams") from None
        failures: dict[str, dict[str, int]] = {}
        openings: dict[str, int] = {}
        for name, amount in series.items():
            family, labels = labels_of(name)
            if family == FAILURES:
                failures.setdefault(labels["target"], {})[labels["failure"]] = amount
            elif family == OPENINGS:
                openings[labels["target"]] = amount
        data = [
            self._row(name, aliases, failures.get(name, {}), openings.get(name, 0))
            for name, aliases in sorted(self._aliases.items())
        ]
        return AdminReply({"object": "list", "data": data})

    def _row(
        self, name: str, aliases: list[str], failures: dict[str, int], openings: int
    ) -> dict[str, Any]:
        state = self._health.unwell().get(name, "closed")
        one = self._health.of(name)
        seconds = one.load().latency
        return {
            "target": name,
            "models": aliases,
            "state": state,
            "reopens_in_seconds": round(self._health.reopens_in(one), 3),
            "in_flight_here": one.in_flight,
            "first_byte_ms_here": None if seconds is None else round(seconds * 1000, 3),
            "capacity_left": self._health.levels().get(name),
            "failures": failures,
            "openings": openings,
        }


def labels_of(series: str) -> tuple[str, dict[str, str]]:
    """The name and the labels of a counter, as ``Counters.add`` wrote them."""
    found = _SERIES.fullmatch(series)
    if found is None:
        return series, {}
    return found[1], {
        label: _ESCAPED.sub(_meant, value) for label, value in _LABEL.findall(found[2])
    }


def _meant(escape: re.Match[str]) -> str:
    return "\n" if escape[1] == "n" else escape[1]
