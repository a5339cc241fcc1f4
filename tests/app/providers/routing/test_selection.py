"""Who may answer a request, and in which order: conditions, contexts, health and pickers."""

from __future__ import annotations

from collections import Counter
from time import time
from typing import Any

import pytest

from app.config.loading import load
from app.core.call import Call
from app.core.errors import GatewayError
from app.providers.routing.retry import Failure, Kind
from app.providers.routing.routes import Router
from app.providers.routing.selection import Selection, Selector
from app.providers.routing.shared_health import SharedHealth
from cache.store.embedded import EmbeddedStore
from tests.harness.chain import ALIAS, KEY, call_of
from tests.harness.routing import Counted

PATHS = {"completions": "/v1/completions"}
PROVIDERS = "providers: {p: {kind: simulator}, q: {kind: simulator}}\n"


class Replica:
    """What one gateway knows of a configuration's only model."""

    def __init__(self, targets: list[dict[str, Any]], **model: Any) -> None:
        settings = load(PROVIDERS + f"models: {{{ALIAS}: {model | {'targets': targets}}}}").settings
        self.router = Router(settings)
        self.health = SharedHealth(EmbeddedStore(), time, Counted())
        self.selector = Selector(self.health, PATHS)

    def select(self, call: Call, remaining: float | None = None) -> Selection:
        alias = self.router.find(call)
        assert alias is not None
        return self.selector.select(alias, call, remaining)

    def order(self, call: Call | None = None, remaining: float | None = None) -> list[str]:
        return [route.model for route in self.select(call or call_of(), remaining).routes]


def t(model: str, **more: Any) -> dict[str, Any]:
    return {"provider": "p", "model": model} | more


def refused(replica: Replica, call: Call) -> GatewayError:
    with pytest.raises(GatewayError) as caught:
        replica.order(call)
    return caught.value


def test_a_lower_tier_goes_first() -> None:
    replica = Replica([t("later", tier=1), t("first"), t("last", tier=2)])
    assert replica.order() == ["first", "later", "last"]


def test_shares_are_equal_on_two_replicas() -> None:
    firsts = Counter(
        Replica([t("a", weight=3), t("b")]).order()[0] for _ in range(2) for _ in range(200)
    )
    assert firsts["a"] / 400 == pytest.approx(0.75, abs=0.12)


@pytest.mark.parametrize(
    "said",
    [
        {"headers": [(b"x-session-id", b"s-1")]},
        {"user": "u-1"},
        {"metadata": {"session_id": "s-1"}},
        {},
    ],
    ids=str,
)
def test_who_sticks_meets_one_target_on_every_replica(said: dict[str, Any]) -> None:
    targets = [t(name) for name in "abcdef"]
    replicas = [Replica(targets, pick="sticky"), Replica(targets[::-1], pick="sticky")]
    orders = {tuple(replica.order(call_of(**said))) for replica in replicas for _ in range(20)}
    assert len(orders) == 1


def test_two_tenants_never_share_a_pin() -> None:
    replica = Replica([t(str(number)) for number in range(50)], pick="sticky")
    other = KEY._replace(tenant="other")
    picks = [
        [replica.order(call_of(key=key, user=f"u-{number}"))[0] for number in range(40)]
        for key in (KEY, other)
    ]
    assert sum(one == two for one, two in zip(*picks, strict=True)) < 10


def test_a_session_goes_before_the_user_and_the_user_before_the_key() -> None:
    replica = Replica([t(str(number)) for number in range(50)], pick="sticky")
    header = [(b"x-session-id", b"same")]
    assert len({replica.order(call_of(header, user=f"u{n}"))[0] for n in range(9)}) == 1
    keys = [KEY._replace(id=f"k{number}") for number in range(9)]
    assert len({replica.order(call_of(key=key, user="same"))[0] for key in keys}) == 1
    assert len({replica.order(call_of(key=key))[0] for key in keys}) > 1


# What a target cannot do


def test_a_context_that_is_too_small_is_left_out() -> None:
    replica = Replica([t("small", context=100), t("large", context=100_000, tier=1)])
    long = call_of(prompt="word " * 200)
    assert replica.order() == ["small", "large"]
    assert replica.order(long) == ["large"]
    assert [(one.route.model, one.reason) for one in replica.select(long).skipped] == [
        ("small", "context")
    ]


def test_where_none_is_large_enough_the_caller_hears_so() -> None:
    error = refused(Replica([t("a", context=10), t("b", context=20)]), call_of(prompt="w " * 99))
    assert (error.status, error.code) == (400, "context_length_exceeded")


@pytest.mark.parametrize(
    ("when", "body", "order"),
    [
        ({"params.max_tokens": {"$gt": 100}}, {"max_tokens": 101}, ["a", "b"]),
        ({"params.max_tokens": {"$gt": 100}}, {"max_tokens": 100}, ["b"]),
        ({"metadata.plan": "paid"}, {"metadata": {"plan": "paid"}}, ["a", "b"]),
        ({"metadata.plan": "paid"}, {}, ["b"]),
        ({"key.id": "web"}, {}, ["a", "b"]),
        ({"key.tenant": {"$ne": "acme"}}, {}, ["b"]),
        ({"stream": True}, {"stream": True}, ["a", "b"]),
        ({"url.pathname": "/v1/completions"}, {}, ["a", "b"]),
        ({"tokens.prompt": {"$lt": 5}}, {"prompt": "hi"}, ["a", "b"]),
        ({"tokens.prompt": {"$lt": 5}}, {"prompt": "hi " * 50}, ["b"]),
    ],
)
def test_a_condition_lets_a_target_take_part(
    when: dict[str, Any], body: dict[str, Any], order: list[str]
) -> None:
    assert Replica([t("a", when=when), t("b", tier=1)]).order(call_of(**body)) == order


def test_a_cheaper_model_answers_when_money_runs_low() -> None:
    dear = t("dear", when={"$or": [{"budget.remaining": {"$gte": 5}}]})
    replica = Replica([dear, t("cheap", tier=1)])
    assert replica.order(remaining=5.0) == ["dear", "cheap"]
    assert replica.order(remaining=4.99) == ["cheap"]


def test_what_a_caller_says_of_itself_does_not_change_who_it_is() -> None:
    replica = Replica([t("a", when={"key.id": "boss"}), t("b", tier=1)])
    assert replica.order(call_of(metadata={"key.id": "boss", "id": "boss"})) == ["b"]


def test_where_no_condition_holds_the_request_is_refused() -> None:
    error = refused(Replica([t("a", when={"stream": True})]), call_of())
    assert (error.status, error.code) == (400, "no_target")


# Health


def test_who_rests_is_left_out_while_another_is_well() -> None:
    replica = Replica([t("a"), t("b", tier=1)])
    down = replica.health.of("p/a")
    replica.health.failed(down, Failure(Kind.CREDENTIALS, 401))
    assert replica.order() == ["b"]
    assert [one.reason for one in replica.select(call_of()).skipped] == ["open"]


def test_where_all_rest_they_stay_because_the_cache_may_answer() -> None:
    replica = Replica([t("a"), t("b", tier=1)])
    for name in ("p/a", "p/b"):
        replica.health.failed(replica.health.of(name), Failure(Kind.CREDENTIALS, 401))
    assert replica.order() == ["a", "b"]


def test_a_target_that_has_just_closed_gets_a_part_of_its_share() -> None:
    replica = Replica([t("a"), t("b")])
    one = replica.health.of("p/a")
    one.clear = False
    one.state = one.state._replace(closed_at=replica.health.now_ms() - 3_000)
    firsts = Counter(replica.order()[0] for _ in range(600))
    assert firsts["a"] / 600 == pytest.approx(0.1 / 1.1, abs=0.06)


def test_a_weight_of_nothing_drains_a_target() -> None:
    assert Replica([t("a", weight=0), t("b")]).order() == ["b"]
