"""Plans are as many as the configuration has keys and models, whatever callers ask for."""

from __future__ import annotations

from app.config import load
from app.pipeline import key_ring
from app.policies import Policies

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
    assert len(policies._limits) == len(policies._budgets) == 1


def test_a_name_that_leads_nowhere_is_still_limited() -> None:
    settings = load(TEXT).settings
    key = key_ring(settings).find(b"hg-web-0123456789abcdef")
    assert key is not None
    plan = Policies(settings).limits(key, "junk")
    assert plan is not None
    assert [bucket.scope for bucket in plan.buckets] == ["tenant"]
