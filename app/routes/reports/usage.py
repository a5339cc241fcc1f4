"""GET /admin/v1/usage: what was used, by tenant, key and model, over any span."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from app.config.values.quantities import Duration
from app.core.errors import InvalidRequest, NotFound
from app.core.pricing import dollars_text
from app.core.refusal import store_unavailable
from app.core.units import NanoDollars
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.fresh import Fresh
from cache.quotas.past_counts import PastCounts
from cache.quotas.usage import COUNTED, UsageRow
from cache.quotas.usage_report import Period, Reading, periods_of, read_tenant
from cache.store.base import Store, StoreUnavailable

DEFAULT_SPAN = timedelta(days=1)
LONGEST_SPAN = timedelta(days=400)  # what is kept
DEFAULT_ROWS, MOST_ROWS = 200, 1_000
MONEY = ("cost", "saved", "estimated_cost")

Counts = dict[str, int]


class UsageReport:
    """``tenants`` are those of the configuration; ``now`` gives unix seconds, the store's."""

    def __init__(
        self, store: Store, tenants: Callable[[], Iterable[str]], now: Callable[[], float]
    ) -> None:
        self._store = store
        self._tenants = tenants
        self._now = now
        self._fresh = Fresh()
        self._past = PastCounts()

    def routes(self) -> list[AdminRoute]:
        query = ("since", "until", "tenant", "key", "model", "limit")
        return [AdminRoute("GET", "/usage", "usage:read", self.usage, query)]

    async def usage(self, call: AdminCall) -> AdminReply:
        """Rows, their sum, and the sum of each hour or day, all from the same counters."""
        now = datetime.fromtimestamp(self._now(), UTC)
        since, until = span_of(call.query, now)
        limit = number_in(call.query, "limit", DEFAULT_ROWS, MOST_ROWS)
        tenants = visible(call, self._tenants())
        asked = call.query.get("key"), call.query.get("model")
        # A span that ends now is another one each second, and the same document for all.
        what = (*sorted(call.query.items()), *tenants, int(now.timestamp()))
        periods = periods_of(since, until, now)

        async def make() -> dict[str, Any]:
            readings = [
                await read_tenant(self._store, one, periods, *asked, self._past) for one in tenants
            ]
            return _document(periods, until, readings, limit)

        try:
            return AdminReply(await self._fresh.get(what, make))
        except StoreUnavailable:
            raise store_unavailable("usage") from None


def visible(call: AdminCall, tenants: Iterable[str]) -> list[str]:
    """The tenants that this call is about: the one that it names, or all that its key sees.

    Raises NotFound for one that is not there for this key.
    """
    seen = sorted(tenant for tenant in tenants if call.who.sees(tenant))
    named = call.query.get("tenant")
    if named is None:
        return seen
    if named not in seen:
        raise NotFound(f"There is no tenant {named!r} here.", retryable=False)
    return [named]


def number_in(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    """A count of things to show. Raises InvalidRequest."""
    text = query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise InvalidRequest(f"`{name}` must be a number from 1 to {most}.", param=name)
    return int(text)


def span_of(query: Mapping[str, str], now: datetime) -> tuple[datetime, datetime]:
    """``since`` is a moment or a span before ``until``, which is now where it is not said.

    Raises InvalidRequest.
    """
    until = _moment(query["until"], "until") if "until" in query else now
    text = query.get("since", "")
    try:
        since = until - timedelta(seconds=Duration.parse(text)) if text else until - DEFAULT_SPAN
    except (ValueError, OverflowError):
        since = _moment(text, "since")
    if not timedelta(0) < until - since <= LONGEST_SPAN:
        raise InvalidRequest(
            "`since` must lie before `until`, and at most 400 days before it.", param="since"
        )
    return since, until


def _moment(text: str, name: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidRequest(
            f"`{name}` must be a moment such as 2026-11-20T14:00Z; `since` may also be a span "
            "such as 24h or 7d.",
            param=name,
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _document(
    periods: list[Period], until: datetime, readings: list[Reading], limit: int
) -> dict[str, Any]:
    rows = [row for reading in readings for row in reading.rows]
    rows.sort(key=lambda row: (-row.counts["cost"], -row.counts["requests"], row))
    shown, rest = rows[:limit], rows[limit:]
    sums: dict[datetime, Counts] = {period.start: {} for period in periods}
    for reading in readings:
        for start, counts in reading.series.items():
            _add(sums[start], counts)
    return {
        "object": "usage",
        "since": _text(periods[0].start),
        "until": _text(until),
        "totals": amounts(_sum(rows)),
        "rows": [_row(row) for row in shown],
        "others": {"rows": len(rest), **amounts(_sum(rest))} if rest else None,
        "folded": any(reading.folded for reading in readings),
        "series": [{"start": _text(start), **amounts(c)} for start, c in sorted(sums.items())],
    }


def _sum(rows: Iterable[UsageRow]) -> Counts:
    total: Counts = {}
    for row in rows:
        _add(total, row.counts)
    return total


def _add(total: Counts, counts: Mapping[str, int]) -> None:
    for name, amount in counts.items():
        total[name] = total.get(name, 0) + amount


def _row(row: UsageRow) -> dict[str, Any]:
    """``key`` is null in a row over all keys, ``model`` where no known model was asked for."""
    who = {"tenant": row.tenant, "key": row.key or None, "model": row.model or None}
    return who | amounts(row.counts)


def amounts(counts: Mapping[str, int]) -> dict[str, Any]:
    """Counters as the API shows them: numbers, and money as text in dollars."""
    return {
        f"{name}_usd" if name in MONEY else name: dollars_text(NanoDollars(counts.get(name, 0)))
        if name in MONEY
        else counts.get(name, 0)
        for name in COUNTED
    }


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
