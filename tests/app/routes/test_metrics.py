"""GET /metrics/shared: what the replicas counted together, as Prometheus text."""

from __future__ import annotations

from time import time
from typing import Any

from app.core.budgets import Budget
from app.core.pricing import NANO
from app.core.units import NanoDollars
from app.providers.routing.retry import Failure, Kind
from app.providers.routing.shared_health import SharedHealth
from app.routes.metrics import MOST_BUDGETS, MetricsPage, metrics_app
from cache.quotas.counters import Counters
from cache.quotas.ledger import BudgetPlan, Ledger, Reservation
from cache.semantic.index import SemanticIndex
from cache.semantic.plan import model_place
from cache.store.embedded import EmbeddedStore
from tests.app.routes.asking import Answered, ask
from tests.harness.chain import FailingStore, in_loop
from tests.harness.metrics import parsed

PLACES = [("acme", 'a "b"', model_place("a")), ("acme", "never", model_place("never"))]


def scraped(prepare: Any = None, targets: Any = None) -> Answered:
    """What is scraped, once ``prepare`` has counted."""

    async def body() -> Answered:
        store = FailingStore()
        counters, semantic_index = Counters(store), SemanticIndex(store)
        if prepare is not None:
            await prepare(store, counters, semantic_index)
        health = SharedHealth(store, time, counters)
        if targets is not None:
            targets(health)
        page = MetricsPage(counters, semantic_index, PLACES, health)
        return await ask(metrics_app(page))

    answered: Answered = in_loop(body)
    return answered


def lines(answered: Answered) -> list[str]:
    return answered.body.decode().splitlines()


def told(answered: Answered) -> list[str]:
    """The series that are there for what was counted."""
    return [line for line in lines(answered) if not line.startswith("#") and line[-2:] != " 0"]


def test_where_nothing_was_counted_only_what_alerts_ask_for_is_said() -> None:
    answered = scraped()
    assert answered.status == 200
    assert [line for line in lines(answered) if not line.startswith("#")] == [
        "headgate_audit_gaps_total 0",
        "headgate_store_empty_total 0",
    ]
    assert answered.headers[b"content-type"] == b"text/plain; version=0.0.4; charset=utf-8"


def test_each_target_says_whether_it_is_left_alone_and_what_capacity_is_left() -> None:
    def prepare(health: SharedHealth) -> None:
        health.failed(health.of("p/down"), Failure(Kind.CREDENTIALS, 401))
        health.of("p/well").level["requests"] = 7

    found = lines(scraped(targets=prepare))
    assert 'headgate_target_open{target="p/well"} 0' in found
    assert told(scraped(targets=prepare)) == [
        'headgate_target_open{target="p/down"} 1',
        'headgate_target_capacity_left{target="p/well",unit="requests"} 7',
    ]


def test_counts_are_given_by_family_with_their_help_once() -> None:
    async def count(store: Any, counters: Counters, semantic_index: SemanticIndex) -> None:
        for tier in ("1", "2", "2"):
            counters.add("headgate_semantic_hits_total", {"model": "m", "tier": tier})
        await counters.flush()

    assert [line for line in lines(scraped(count)) if "semantic_hits" in line] == [
        "# HELP headgate_semantic_hits_total Answers served by meaning.",
        "# TYPE headgate_semantic_hits_total counter",
        'headgate_semantic_hits_total{model="m",tier="1"} 1',
        'headgate_semantic_hits_total{model="m",tier="2"} 2',
    ]


def test_the_error_of_a_tier_has_its_bounds_and_a_label_cannot_break_out() -> None:
    async def count(store: Any, counters: Counters, semantic_index: SemanticIndex) -> None:
        amounts = {"tier1_looked": 100, "tier1_differed": 10, "control_looked": 100}
        semantic_index.count("acme", model_place("a"), amounts)

    said = told(scraped(count))
    assert [line.partition("{")[0] for line in said] == ["headgate_semantic_shadow_error"] * 3
    assert said[0].startswith(
        'headgate_semantic_shadow_error{bound="estimate",model="a \\"b\\"",tenant="acme",tier="1"} '
    )
    estimate, low, high = (float(line.rpartition(" ")[2]) for line in said)
    assert low <= estimate <= high


def test_without_the_store_there_is_nothing_to_scrape() -> None:
    async def gone(store: FailingStore, counters: Any, semantic_index: Any) -> None:
        store.out = True

    answered = scraped(gone)
    assert (answered.status, answered.document["error"]["code"]) == (503, "store_unavailable")
    assert answered.error_code == "store_unavailable"


def test_each_budget_says_what_is_spent_held_and_allowed_up_to_a_number_of_them() -> None:
    async def body() -> Answered:
        store = EmbeddedStore()
        ledger = Ledger(store)
        budgets = tuple(Budget(f"key:{number}", NanoDollars(NANO), "day") for number in range(150))
        plans = [BudgetPlan("acme", budgets), BudgetPlan("zoo", budgets)]
        held = await ledger.reserve(BudgetPlan("acme", budgets[:1]), NanoDollars(NANO // 4))
        assert isinstance(held, Reservation)
        charged = await ledger.reserve(BudgetPlan("acme", budgets[:1]), NanoDollars(NANO // 2))
        assert isinstance(charged, Reservation)
        ledger.settle(charged, NanoDollars(NANO // 8))
        health = SharedHealth(store, time, Counters(store))
        page = MetricsPage(
            Counters(store), SemanticIndex(store), (), health, budgets=lambda: plans, ledger=ledger
        )
        return await ask(metrics_app(page))

    series = parsed(in_loop(body).body.decode())
    whose = frozenset({("per", "day"), ("scope", "key:0"), ("tenant", "acme")})
    for name, amount in (("spent", 0.125), ("held", 0.25), ("limit", 1.0)):
        assert series[f"headgate_budget_{name}_usd", whose] == amount
    assert sum(1 for name, _ in series if name == "headgate_budget_limit_usd") == MOST_BUDGETS
    assert series["headgate_budgets_not_shown", frozenset()] == 100
