"""GET /admin/v1/accounts: every limit and budget as it stands."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple, Protocol

from app.concurrency.together import run_together
from app.core.budgets import Budget, BudgetRule
from app.core.errors import InvalidRequest, NotFound
from app.core.limits import LimitRule
from app.core.pricing import dollars_text
from app.core.refusal import store_unavailable
from app.core.units import NanoDollars
from app.policy.admins import AdminKey
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.reports.activity import ActivityReport
from app.routes.reports.fresh import Fresh
from app.routes.reports.usage import number_in
from cache.quotas.activity import Counted
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.quotas.standing import read_buckets, read_slots
from cache.quotas.usage_report import READS_AT_ONCE
from cache.store.base import Store, StoreUnavailable

DEFAULT_ROWS, MOST_ROWS = 50, 200
MOST_PAGES = 5  # of keys, for one page of what is bounded
KEY_PLACE = "2/"
REFUSALS = ("rate_limit_exceeded", "budget_exceeded")
REFUSED_WITHIN = timedelta(days=1)


class Account(NamedTuple):
    """What stands on one scope: a tenant, one of its models, or a key."""

    tenant: str
    scope: str
    limits: LimitRule | None
    budget: BudgetRule | None

    @property
    def key(self) -> str | None:
        return self.scope.removeprefix("key:") if self.scope.startswith("key:") else None

    @property
    def model(self) -> str | None:
        return self.scope.removeprefix("model:") if self.scope.startswith("model:") else None

    @property
    def bounded(self) -> bool:
        return self.limits is not None or self.budget is not None

    @property
    def place(self) -> str:
        """Where it stands in the list: tenants, their models, then keys by name."""
        if self.key is not None:
            return f"{KEY_PLACE}{self.key}"
        return f"{int(self.model is not None)}/{self.tenant}/{self.scope}"


class Holders(Protocol):
    """Knows who has limits and budgets."""

    def policies(self) -> list[Account]:
        """Tenants and their models, in the order of their places."""
        ...

    async def keys(
        self, who: AdminKey, after: str, tenant: str | None
    ) -> tuple[list[Account], str | None]:
        """Some keys after a name, and after which name others follow."""
        ...

    async def key(self, who: AdminKey, name: str) -> Account:
        """One key. Raises NotFound."""
        ...


class AccountsReport:
    """Everything that has a limit or a budget, and how it stands."""

    def __init__(
        self,
        holders: Holders,
        store: Store,
        ledger: Ledger,
        activity: ActivityReport,
    ) -> None:
        self._holders = holders
        self._store = store
        self._ledger = ledger
        self._activity = activity
        self._fresh = Fresh()

    def routes(self) -> list[AdminRoute]:
        query = ("limit", "cursor", "tenant", "key")
        return [AdminRoute("GET", "/accounts", "usage:read", self.accounts, query)]

    async def accounts(self, call: AdminCall) -> AdminReply:
        """A page of them; ``next_cursor`` is what ``cursor`` takes, null on the last."""
        limit = number_in(call.query, "limit", DEFAULT_ROWS, MOST_ROWS)
        cursor = call.query.get("cursor", "")
        if cursor and cursor[:2] not in ("0/", "1/", KEY_PLACE):
            raise InvalidRequest(
                "`cursor` must be `next_cursor` of an earlier page.", param="cursor"
            )
        page, following = await self._page(call, cursor, limit)
        now = datetime.fromtimestamp(self._ledger.clock.now(), UTC)
        counted = await self._activity.counts(now - REFUSED_WITHIN, now)
        try:
            rows = await self._fresh.get(tuple(page), lambda: self._standing(page))
        except StoreUnavailable:
            raise store_unavailable("accounts") from None
        refused = _refused(counted)
        data = [row | {"refusals": _refusals_of(account, refused)} for account, row in rows]
        return AdminReply({"object": "list", "data": data, "next_cursor": following})

    async def _page(
        self, call: AdminCall, cursor: str, limit: int
    ) -> tuple[list[Account], str | None]:
        """At most so many after a place, and the place after which others follow.

        Keys without a limit or a budget are passed over, a bounded number of them at a time: a page
        may be short, or empty, and others follow all the same.
        """
        if "key" in call.query:
            try:
                one = await self._holders.key(call.who, call.query["key"])
            except NotFound:
                return [], None
            return [one] if one.bounded and _fits(one, call) else [], None
        found = [p for p in self._holders.policies() if p.place > cursor and _fits(p, call)]
        after: str | None = cursor.removeprefix(KEY_PLACE) if cursor.startswith(KEY_PLACE) else ""
        for _ in range(MOST_PAGES):
            if len(found) > limit or after is None:
                break
            keys, after = await self._holders.keys(call.who, after, call.query.get("tenant"))
            found += [key for key in keys if key.bounded]
        if len(found) > limit:
            return found[:limit], found[limit - 1].place
        return found, None if after is None else KEY_PLACE + after

    async def _standing(self, page: list[Account]) -> list[tuple[Account, dict[str, Any]]]:
        found: dict[Account, dict[str, Any]] = {}

        async def read(one: Account) -> None:
            found[one] = {
                "tenant": one.tenant,
                "key": one.key,
                "model": one.model,
                "limits": await self._limits(one),
                "budget": await self._budget(one),
            }

        await run_together(page, read, at_a_time=READS_AT_ONCE)
        return [(one, found[one]) for one in page]

    async def _limits(self, one: Account) -> list[dict[str, Any]]:
        if one.limits is None:
            return []
        now = self._ledger.clock.now()
        buckets = list(one.limits.buckets(one.scope))
        levels = await read_buckets(self._store, one.tenant, buckets, now)
        rows: list[dict[str, Any]] = [
            {
                "unit": bucket.unit,
                "per_minute": bucket.per_minute,
                "limit": bucket.burst,
                "left": level.remaining,
                "full_in_seconds": round(level.full_in / 1e6, 3),
            }
            for bucket, level in levels
        ]
        for slots in one.limits.slots(one.scope):
            taken = (await read_slots(self._store, one.tenant, slots, now)).taken
            left = max(0, slots.most - taken)
            rows.append({"unit": "concurrent", "limit": slots.most, "left": left})
        return rows

    async def _budget(self, one: Account) -> dict[str, Any] | None:
        if one.budget is None:
            return None
        budget = Budget(one.scope, one.budget.limit, one.budget.per)
        (account,) = await self._ledger.accounts(BudgetPlan(one.tenant, (budget,)))
        left = NanoDollars(max(0, budget.limit - account.spent - account.held))
        return {
            "per": budget.per,
            "limit_usd": dollars_text(budget.limit),
            "spent_usd": dollars_text(account.spent),
            "held_usd": dollars_text(account.held),
            "left_usd": dollars_text(left),
            "resets_at": datetime.fromtimestamp(account.ends, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        }


def _fits(one: Account, call: AdminCall) -> bool:
    tenant, key = call.query.get("tenant"), call.query.get("key")
    return call.who.sees(one.tenant) and tenant in (None, one.tenant) and key in (None, one.key)


Refused = dict[tuple[str, str | None, str | None], dict[str, int]]


def _refused(counted: Iterable[Counted]) -> Refused:
    """Refusals by limits and budgets, by tenant alone, by tenant and key, by tenant and model."""
    sums: Refused = {}
    for one in counted:
        if one.kind != "error" or one.code not in REFUSALS:
            continue
        for place in (
            (one.tenant, None, None),
            (one.tenant, one.key, None),
            (one.tenant, None, one.alias),
        ):
            counts = sums.setdefault(place, {})
            counts[one.code] = counts.get(one.code, 0) + one.amount
    return sums


def _refusals_of(one: Account, refused: Refused) -> dict[str, int]:
    """What was refused of this scope's requests in a day, whichever limit refused it."""
    counts = refused.get((one.tenant, one.key, one.model), {})
    return {code: counts.get(code, 0) for code in REFUSALS}
