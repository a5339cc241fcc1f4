"""Plans are as many as the configuration has keys and models, whatever callers ask for."""

from __future__ import annotations

import pytest

from app.config.loading import load
from app.core.budgets import BudgetRule
from app.core.keys import Key
from app.core.limits import LimitRule
from app.core.request import Cap
from app.policy.callers import key_ring
from app.policy.limits_and_budgets import Policies, every_budget

TEXT = """
providers: {trial: {kind: simulator}}
models: {demo: {targets: [{provider: trial, model: simulator-1}]}}
limits: {few: {requests_per_minute: 1}}
budgets: {small: {usd: 1, per: day}}
tenants: {acme: {limits: few, budget: small}}
keys: [{id: web, tenant: acme, secret: "hg-web-0123456789abcdef"}]
"""


def test_names_that_lead_nowhere_make_no_plans() -> None:
    settings = load(TEXT).settings
    key = key_ring(settings).find(b"hg-web-0123456789abcdef")
    assert key is not None
    policies = Policies(settings)
    for number in range(100):
        policies.limits(key, f"junk-{number}")
        policies.budgets(key, f"junk-{number}")
    assert len(policies._plans) == 1


def test_a_key_need_not_stand_in_the_file() -> None:
    # It carries its own limits and budget; its tenant's and its model's stand on it as on any other.
    policies = Policies(load(TEXT).settings)
    made = Key(
        "made-later",
        "acme",
        (),
        frozenset({"completions"}),
        frozenset({"free"}),
        None,
        limits=LimitRule(requests_per_minute=7),
        budget=BudgetRule(10**9, "day"),
    )
    limits, budgets = policies.limits(made, "free"), policies.budgets(made, "free")
    assert limits is not None
    assert budgets is not None
    assert (limits.buckets[0].scope, limits.buckets[0].per_minute) == ("key:made-later", 7)
    assert (budgets.budgets[0].scope, budgets.budgets[0].limit) == ("key:made-later", 10**9)


def test_a_key_that_changes_has_new_plans() -> None:
    policies = Policies(load(TEXT).settings)
    before = Key("k", "acme", (), frozenset(), frozenset(), None, limits=LimitRule(1))
    after = before._replace(limits=LimitRule(2))
    found = [policies.limits(key, "") for key in (before, after)]
    assert [plan.buckets[0].per_minute for plan in found if plan is not None] == [1, 2]


CAPS = """
providers: {trial: {kind: simulator}}
models:
  free: {targets: [{provider: trial, model: s}]}
  capped: {targets: [{provider: trial, model: s}], max_output_tokens: 50}
limits: {paced: {requests_per_minute: 1}, counted: {tokens_per_minute: 1}}
budgets: {small: {usd: 1, per: day}}
tenants: {acme: {}}
keys:
  - {id: nothing, tenant: acme, secret: "hg-nothing-0123456789"}
  - {id: paced, tenant: acme, secret: "hg-paced-0123456789", limits: paced}
  - {id: counted, tenant: acme, secret: "hg-counted-0123456789", limits: counted}
  - {id: paid, tenant: acme, secret: "hg-paid-0123456789", budget: small}
  - {id: short, tenant: acme, secret: "hg-short-0123456789", max_output_tokens: 20}
  - {id: long, tenant: acme, secret: "hg-long-0123456789", max_output_tokens: 99}
"""


@pytest.mark.parametrize(
    ("name", "alias", "bound", "cap"),
    [
        ("nothing", "free", False, None),
        ("paced", "free", False, None),
        ("counted", "free", True, None),
        ("paid", "free", True, None),
        ("nothing", "capped", True, Cap(50, "the model's")),
        ("short", "free", True, Cap(20, "this key's")),
        ("short", "capped", True, Cap(20, "this key's")),
        ("long", "capped", True, Cap(50, "the model's")),
    ],
)
def test_what_a_request_may_generate_is_bound_where_something_depends_on_it(
    name: str, alias: str, bound: bool, cap: Cap | None
) -> None:
    settings = load(CAPS).settings
    key = key_ring(settings).find(f"hg-{name}-0123456789".encode())
    assert key is not None
    assert Policies(settings).allowance(key, alias) == (bound, cap)


def test_a_name_that_leads_nowhere_is_still_limited() -> None:
    settings = load(TEXT).settings
    key = key_ring(settings).find(b"hg-web-0123456789abcdef")
    assert key is not None
    plan = Policies(settings).limits(key, "junk")
    assert plan is not None
    assert [bucket.scope for bucket in plan.buckets] == ["tenant"]


def test_every_budget_is_listed_once_under_its_tenant() -> None:
    more = TEXT.replace(
        "budget: small}}", "budget: small, models: {demo: {budget: small}}}, none: {}}"
    )
    text = more.replace('abcdef"}', 'abcdef", budget: small}')
    [plan] = every_budget(load(text).settings)
    assert plan.tenant == "acme"
    assert [(budget.scope, budget.limit, budget.per) for budget in plan.budgets] == [
        (scope, 10**9, "day") for scope in ("tenant", "model:demo", "key:web")
    ]
