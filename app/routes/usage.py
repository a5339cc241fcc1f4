"""GET /v1/usage: what a key used, and how its budgets stand; its own only."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol
from urllib.parse import parse_qs

import orjson

from app.config.values.quantities import Duration
from app.core.asgi import Receive, Scope, Send, json_messages
from app.core.errors import InvalidRequest
from app.core.exchange import key_of
from app.core.keys import Key
from app.core.pricing import dollars_text
from app.core.refusal import store_unavailable
from app.core.units import NanoDollars
from cache.quotas.ledger import Account, BudgetPlan, Ledger
from cache.quotas.usage import DETAILS, UsageRow, read_usage
from cache.store.base import Store, StoreUnavailable

App = Callable[[Scope, Receive, Send], Awaitable[None]]

DEFAULT_SPAN = timedelta(days=1)
LONGEST_SPAN = timedelta(days=31)  # a look-up a day, on the connection that everybody uses


class BudgetPlans(Protocol):
    """Gives the budgets on a key's requests for a model."""

    def budgets(self, key: Key, alias: str) -> BudgetPlan | None: ...


def usage_app(store: Store, ledger: Ledger, plans: BudgetPlans) -> App:
    """``?since=24h`` (or days: ``7d``) sets the span; a day when absent."""

    async def usage(scope: Scope, receive: Receive, send: Send) -> None:
        key = key_of(scope)
        until = datetime.fromtimestamp(ledger.clock.now(), UTC)
        since = until - _span(scope["query_string"])
        try:
            rows = await read_usage(store, key.tenant, since, until)
            accounts = await _accounts(key, ledger, plans)
        except StoreUnavailable:
            raise store_unavailable("usage") from None
        body = {
            "object": "usage",
            "key": key.id,
            "tenant": key.tenant,
            "since": since.isoformat(timespec="seconds"),
            "until": until.isoformat(timespec="seconds"),
            "models": [_row(row) for row in rows if row.key == key.id],
            "budgets": [_budget(account) for account in accounts],
        }
        start, message = json_messages(200, orjson.dumps(body))
        await send(start)
        await send(message)

    return usage


def _span(query: bytes) -> timedelta:
    text = parse_qs(query.decode("latin-1")).get("since", [""])[0]
    if not text:
        return DEFAULT_SPAN
    try:
        span = timedelta(seconds=Duration.parse(text))
    except (ValueError, OverflowError):
        span = timedelta(0)
    if not timedelta(0) < span <= LONGEST_SPAN:
        raise InvalidRequest(
            "`since` must be a span such as 24h or 7d, at most 31d.", param="since"
        )
    return span


async def _accounts(key: Key, ledger: Ledger, plans: BudgetPlans) -> list[Account]:
    """Each budget that bears on the key once, whichever of its models it is for."""
    accounts: dict[tuple[str, str], Account] = {}
    for alias in sorted(key.models):
        plan = plans.budgets(key, alias)
        if plan is None:
            continue
        fresh = tuple(b for b in plan.budgets if (b.scope, b.per) not in accounts)
        for account in await ledger.accounts(BudgetPlan(plan.tenant, fresh)):
            accounts[account.budget.scope, account.budget.per] = account
    return list(accounts.values())


def _row(row: UsageRow) -> dict[str, Any]:
    counts = row.counts
    return {
        "model": row.model or None,
        "requests": counts["requests"],
        "errors": counts["errors"],
        "prompt_tokens": counts["prompt_tokens"],
        "completion_tokens": counts["completion_tokens"],
        **{name: counts[name] for name in DETAILS},
        "cost_usd": dollars_text(NanoDollars(counts["cost"])),
        "saved_usd": dollars_text(NanoDollars(counts["saved"])),
    }


def _budget(account: Account) -> dict[str, Any]:
    budget = account.budget
    granted = {"granted_usd": dollars_text(account.granted)} if account.granted else {}
    return {
        "scope": budget.scope,
        "per": budget.per,
        "limit_usd": dollars_text(budget.limit),
        **granted,
        "spent_usd": dollars_text(account.spent),
        "held_usd": dollars_text(account.held),
        "resets_at": datetime.fromtimestamp(account.ends, UTC).isoformat(timespec="seconds"),
    }
