"""What is wrong with a model's targets, and what only deserves a warning."""

from __future__ import annotations

from typing import Any

import pytest

from app.config.loading import ConfigError, load
from app.config.settings import Settings
from app.portkey.conditions import parse_query

PROVIDERS = "providers: {p: {kind: simulator}, q: {kind: simulator}, w: {kind: vllm, base_url: 'http://h/v1'}}"


def loaded(*targets: str, more: str = "") -> Any:
    return load(f"{PROVIDERS}\nmodels: {{m: {{targets: [{', '.join(targets)}]}}}}\n{more}", "f", {})


def problems(*targets: str, more: str = "") -> list[str]:
    with pytest.raises(ConfigError) as caught:
        loaded(*targets, more=more)
    return caught.value.problems


A = "{provider: p, model: a}"
B = "{provider: q, model: b}"


def test_several_targets_are_right() -> None:
    found = loaded(A, B, "{provider: p, model: c, tier: 1, when: {stream: true}}")
    assert isinstance(found.settings, Settings)
    assert found.warnings == ()


@pytest.mark.parametrize(
    ("targets", "place", "says"),
    [
        ([A, A], "models.m.targets[1]", "is the same as targets[0]"),
        (
            ["{provider: p, model: a, weight: 0}"],
            "models.m.targets",
            "the weights of tier 0 are all 0",
        ),
        ([A, "{provider: q, model: b, tier: 2}"], "models.m.targets", "no target is in tier 1"),
        (["{provider: p, model: a, tier: 1}"], "models.m.targets", "no target is in tier 0"),
        (
            ["{provider: p, model: a, limits: none}"],
            "models.m.targets[0].limits",
            "no such entry in `limits`",
        ),
        (
            ["{provider: p, model: a, when: {params.n: {$gtt: 1}}}"],
            "models.m.targets[0].when.params.n.$gtt",
            "there is no operator",
        ),
        (
            ["{provider: p, model: a, when: {param.n: 1}}"],
            "models.m.targets[0].when.param.n",
            "nothing that can be asked about",
        ),
    ],
)
def test_a_mistake_is_told_with_its_place(targets: list[str], place: str, says: str) -> None:
    [problem] = problems(*targets)
    assert place in problem
    assert says in problem


BUDGET = """
budgets: {b: {usd: 1, per: day}}
tenants: {t: {budget: b}}
keys: [{id: k, tenant: t, secret: 0123456789abcdef}]
"""


def test_a_fallback_without_a_price_is_a_mistake_under_a_budget() -> None:
    [problem] = problems(A, "{provider: w, model: b, context: 100}", more=BUDGET)
    assert "models.m.targets[1].price" in problem
    assert "nobody publishes one" in problem


def test_a_fallback_without_a_context_is_warned_of_under_a_budget() -> None:
    later = "{provider: q, model: b, tier: 1}"
    [warning] = loaded(A, later, more=BUDGET).warnings
    assert "models.m.targets[1].context" in warning
    assert loaded(A, later).warnings == ()


def test_a_target_has_a_price_of_its_own() -> None:
    price = "price: {input_per_million: 1, output_per_million: 2}"
    assert loaded(A, f"{{provider: w, model: b, {price}}}", more=BUDGET).warnings == ()


def test_a_model_that_may_refuse_everybody_is_warned_of() -> None:
    [warning] = loaded("{provider: p, model: a, when: {stream: true}}").warnings
    assert "every target has a `when`" in warning


def test_a_limit_of_a_target_has_an_effect() -> None:
    limit = "limits: {cap: {requests_per_minute: 5}}"
    assert loaded("{provider: p, model: a, limits: cap}", more=limit).warnings == ()


def test_an_empty_condition_holds_always() -> None:
    assert parse_query({}, frozenset()) is not None
