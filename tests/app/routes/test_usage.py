"""GET /v1/usage: what a key used, and how its budgets stand; its own only."""

from __future__ import annotations

from time import time
from typing import Any

import pytest

from app.core.budgets import Budget
from app.core.errors import GatewayError, InvalidRequest
from app.core.keys import Key
from app.core.pricing import NANO
from app.routes.usage import usage_app
from cache.quotas.ledger import BudgetPlan, Ledger, Reservation
from cache.quotas.usage import UsageLog
from tests.app.routes.asking import Answered, ask
from tests.harness.chain import ALIAS, KEY, FailingStore, in_loop

CALLER = KEY._replace(models=frozenset({ALIAS, "other"}))
DAILY, OF_ALL = Budget("key:web", NANO, "day"), Budget("tenant", 2 * NANO, "month")


class Plans:
    """Every model has the key's budget; one has the tenant's too."""

    def budgets(self, key: Key, alias: str) -> BudgetPlan | None:
        return BudgetPlan(key.tenant, (DAILY, OF_ALL) if alias == ALIAS else (DAILY,))


def record(key: str = "web", status: int = 200, **facts: Any) -> dict[str, Any]:
    known = {
        "key": key,
        "tenant": "acme",
        "alias": ALIAS,
        "status": status,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cost": NANO // 2,
        "saved": 0,
    }
    return known | facts


def asked(*records: dict[str, Any], query: bytes = b"", hold: int = 0, out: bool = False) -> Any:
    """What the caller reads, after these records and with this much held."""

    async def body() -> Answered:
        store = FailingStore()
        log, ledger = UsageLog(store), Ledger(store)
        for one in records:
            log.add(one, time())
        await log.flush()
        if hold:
            held = await ledger.reserve(BudgetPlan("acme", (DAILY,)), hold)
            assert isinstance(held, Reservation)
        store.out = out
        return await ask(usage_app(store, ledger, Plans()), key=CALLER, query=query)

    return in_loop(body).document


def test_a_key_sees_what_it_used_by_model() -> None:
    document = asked(record(), record(status=500, cost=None), record(saved=NANO, cost=0))
    assert (document["key"], document["tenant"]) == ("web", "acme")
    assert document["models"] == [
        {
            "model": ALIAS,
            "requests": 3,
            "errors": 1,
            "prompt_tokens": 9,
            "completion_tokens": 6,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
            "cost_usd": "0.5",
            "saved_usd": "1",
        }
    ]


def test_a_key_does_not_see_what_others_used() -> None:
    assert asked(record("job"))["models"] == []


def test_requests_without_a_model_are_used_too() -> None:
    assert asked(record(alias=None))["models"][0]["model"] is None


def test_each_budget_stands_there_once_with_what_is_spent_and_held() -> None:
    document = asked(hold=NANO // 4)
    assert [(b["scope"], b["per"], b["limit_usd"]) for b in document["budgets"]] == [
        ("key:web", "day", "1"),
        ("tenant", "month", "2"),
    ]
    assert (document["budgets"][0]["spent_usd"], document["budgets"][0]["held_usd"]) == (
        "0",
        "0.25",
    )
    assert document["budgets"][0]["resets_at"].endswith("+00:00")


@pytest.mark.parametrize("query", [b"", b"since=24h", b"since=7d", b"since=31d", b"since="])
def test_a_span_may_be_given(query: bytes) -> None:
    document = asked(record(), query=query)
    assert document["since"] < document["until"]
    assert document["models"][0]["requests"] == 1


@pytest.mark.parametrize(
    "query",
    [b"since=32d", b"since=0s", b"since=-1h", b"since=soon", b"since=\xff", b"since=1e400d"],
)
def test_a_span_that_is_none_is_refused(query: bytes) -> None:
    with pytest.raises(InvalidRequest) as caught:
        asked(query=query)
    assert caught.value.param == "since"


def test_without_the_store_nothing_is_known() -> None:
    with pytest.raises(GatewayError) as caught:
        asked(out=True)
    assert (caught.value.status, caught.value.code) == (503, "store_unavailable")
