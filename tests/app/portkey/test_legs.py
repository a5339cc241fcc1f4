"""Which targets of a config a request goes to, and where each failure leads."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import pytest

from app.portkey.conditions import Mistake
from app.portkey.config import parse_config
from app.portkey.legs import Leg, legs_of


def t(name: str, **more: Any) -> dict[str, Any]:
    return {"provider": "p", "override_params": {"model": name}, "name": name} | more


def group(mode: str, *targets: Any, strategy: Any = None, **more: Any) -> dict[str, Any]:
    return {"strategy": {"mode": mode} | (strategy or {}), "targets": list(targets)} | more


def legs(config: Any, facts: Any = None, seed: int = 1) -> list[Leg]:
    return legs_of(parse_config(config), facts or {}, random.Random(seed).random)


def way(config: Any, *statuses: int, **more: Any) -> str:
    """The models asked where each fails with the next of the statuses."""
    found, position, models = legs(config, **more), 0, ""
    for status in (*statuses, 0):
        models += str(found[position].leaf.overrides["model"])
        following = found[position].after({status}) if status else None
        if following is None:
            break
        position = following
    return models


@pytest.mark.parametrize("status", [401, 402, 403, 404, 408, 409, 425, 429, 500, 503, 529])
def test_without_a_list_what_another_target_may_do_better_goes_on(status: int) -> None:
    assert way(group("fallback", t("a"), t("b")), status) == "ab"


@pytest.mark.parametrize("status", [400, 413, 415, 418, 422])
def test_without_a_list_what_all_would_refuse_does_not(status: int) -> None:
    assert way(group("fallback", t("a"), t("b")), status) == "a"


def test_a_list_is_the_whole_list_and_an_empty_one_lists_nothing() -> None:
    only = group("fallback", t("a"), t("b"), strategy={"on_status_codes": [400]})
    assert (way(only, 400), way(only, 500)) == ("ab", "a")
    none = group("fallback", t("a"), t("b"), strategy={"on_status_codes": []})
    assert way(none, 500) == "a"


def test_targets_are_tried_in_order_and_the_last_has_no_way_out() -> None:
    assert way(group("fallback", t("a"), t("b"), t("c")), 500, 503, 500) == "abc"


def test_each_group_has_its_own_list() -> None:
    inner = group("fallback", t("a"), t("b"), strategy={"on_status_codes": [429]})
    outer = group("fallback", inner, t("c"), strategy={"on_status_codes": [500]})
    assert way(outer, 429, 500) == "abc"
    assert way(outer, 500) == "ac"
    assert way(outer, 429, 429) == "ab"


def test_groups_nest_on_either_side() -> None:
    tree = group(
        "fallback",
        group("fallback", t("a"), group("fallback", t("b"), t("c"))),
        group("fallback", t("d"), t("e")),
    )
    assert way(tree, 500, 500, 500, 500, 500) == "abcde"


def test_single_takes_the_first() -> None:
    assert way(group("single", t("a"), t("b")), 500) == "a"


def test_loadbalance_draws_by_weight_and_does_not_fall_back() -> None:
    tree = group("loadbalance", t("a", weight=0.7), t("b", weight=0.3), t("c", weight=0))
    drawn = Counter(way(tree, 500, seed=seed) for seed in range(2_000))
    assert drawn["a"] / 2_000 == pytest.approx(0.7, abs=0.05)
    assert set(drawn) == {"a", "b"}


def test_a_draw_within_a_fallback_falls_back_to_what_follows() -> None:
    tree = group("fallback", group("loadbalance", t("a"), t("b")), t("c"))
    assert {way(tree, 500, seed=seed) for seed in range(20)} == {"ac", "bc"}


CONDITIONS = {
    "conditions": [
        {"query": {"metadata.plan": "paid"}, "then": "b"},
        {"query": {"metadata.plan": {"$ne": "free"}}, "then": "c"},
    ]
}


@pytest.mark.parametrize(
    ("metadata", "way_"), [({"plan": "paid"}, "b"), ({}, "c"), ({"plan": "free"}, "a")]
)
def test_the_first_condition_that_holds_decides(metadata: dict[str, str], way_: str) -> None:
    strategy = CONDITIONS | {"default": "a"}
    tree = group("conditional", t("a"), t("b"), t("c"), strategy=strategy)
    assert way(tree, 500, facts={"metadata": metadata}) == way_


def test_a_condition_that_leads_nowhere_is_a_mistake() -> None:
    tree = group("conditional", t("a"), t("b"), t("c"), strategy=CONDITIONS)
    with pytest.raises(Mistake):
        legs(tree, {"metadata": {"plan": "free"}})
