"""What a key and the configuration mean for requests: which limits, budgets and caps stand on them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from msgspec.structs import asdict

from app.config.settings import Settings
from app.core.budgets import Budget, BudgetRule
from app.core.keys import Key
from app.core.limits import Bucket, LimitRule, Slots
from app.core.pricing import nano_dollars
from app.core.request import Allowance, Cap
from cache.quotas.ledger import BudgetPlan
from cache.quotas.limiter import LimitPlan

MAX_PLANS = 100_000  # of keys and aliases; those of keys that are gone are forgotten with the rest


class Scoped(NamedTuple):
    """What stands on one scope: a key, a model within its tenant, or the tenant."""

    scope: str
    limits: LimitRule | None
    budget: BudgetRule | None


class Plans(NamedTuple):
    """Everything that bears on one key's requests for one model.

    ``requests`` are the limits of requests alone. The plans are None where there is nothing.
    """

    key: Key
    limits: LimitPlan | None
    requests: LimitPlan | None
    budgets: BudgetPlan | None
    allowance: Allowance


class Policies:
    """Plans by key and alias, worked out once each.

    Made from what the key itself carries, and from the tenants and models of the configuration, so
    that a key need not stand in the configuration's file.
    """

    def __init__(self, settings: Settings) -> None:
        self.adopt(settings)

    def adopt(self, settings: Settings) -> None:
        """Go by these tenants, limits and budgets from now on; calls that run keep their plans."""
        self._rules = Rules(settings)
        self._caps = {
            alias: Cap(model.max_output_tokens, "the model's")
            for alias, model in settings.models.items()
            if model.max_output_tokens is not None
        }
        self._tenants = {
            name: Scoped(
                "tenant", self._rules.limits(section.limits), self._rules.budget(section.budget)
            )
            for name, section in settings.tenants.items()
        }
        self._models = {
            (name, alias): Scoped(
                f"model:{alias}", self._rules.limits(part.limits), self._rules.budget(part.budget)
            )
            for name, section in settings.tenants.items()
            for alias, part in section.models.items()
        }
        self._plans: dict[tuple[str, str], Plans] = {}

    def limits(self, key: Key, alias: str) -> LimitPlan | None:
        """Every limit on this key's requests for this model; None where there is none."""
        return self._of(key, alias).limits

    def requests(self, key: Key) -> LimitPlan | None:
        """The limits of requests on this key, whatever model it asks for; None where there is none."""
        return self._of(key, "").requests

    def budgets(self, key: Key, alias: str) -> BudgetPlan | None:
        """Every budget on this key's requests for this model; None where there is none."""
        return self._of(key, alias).budgets

    def allowance(self, key: Key, alias: str) -> Allowance:
        """What this key's requests for this model may generate, and whether that must be bound."""
        return self._of(key, alias).allowance

    def _of(self, key: Key, alias: str) -> Plans:
        # A name that leads nowhere is not worth plans of its own.
        place = key.id, alias if alias in key.models else ""
        found = self._plans.get(place)
        if found is None or found.key is not key:
            if len(self._plans) >= MAX_PLANS:
                self._plans.clear()
            found = self._plans[place] = self._made(key, place[1])
        return found

    def _made(self, key: Key, alias: str) -> Plans:
        scopes = list(self._scopes(key, alias))
        limits = _limit_plan(key, scopes)
        requests = [b for b in limits.buckets if b.unit == "requests"] if limits is not None else []
        budgets = tuple(
            Budget(one.scope, one.budget.limit, one.budget.per)
            for one in scopes
            if one.budget is not None
        )
        cap = self._cap(key, alias)
        counted = limits is not None and any(b.unit == "tokens" for b in limits.buckets)
        return Plans(
            key,
            limits,
            LimitPlan.of(key.tenant, requests, []) if requests else None,
            BudgetPlan(key.tenant, budgets) if budgets else None,
            Allowance(counted or cap is not None or bool(budgets), cap),
        )

    def _scopes(self, key: Key, alias: str) -> Iterator[Scoped]:
        """Narrow to wide, so that a refusal names the narrowest scope that refuses."""
        yield Scoped(f"key:{key.id}", key.limits, key.budget)
        model = self._models.get((key.tenant, alias))
        if model is not None:
            yield model
        tenant = self._tenants.get(key.tenant)
        if tenant is not None:
            yield tenant

    def _cap(self, key: Key, alias: str) -> Cap | None:
        own = key.max_output_tokens
        caps = [Cap(own, "this key's")] if own is not None else []
        if alias in self._caps:
            caps.append(self._caps[alias])
        return min(caps, default=None)


def every_budget(settings: Settings) -> list[BudgetPlan]:
    """All budgets of a configuration by tenant: those of keys, of models in a tenant, and its own."""
    rules = Rules(settings)
    named: dict[str, list[tuple[str, str | None]]] = {name: [] for name in settings.tenants}
    for name, section in settings.tenants.items():
        named[name].append(("tenant", section.budget))
        named[name] += ((f"model:{alias}", part.budget) for alias, part in section.models.items())
    for key in settings.keys:
        named.setdefault(key.tenant, []).append((f"key:{key.id}", key.budget))
    plans = []
    for tenant, scopes in sorted(named.items()):
        found = ((scope, rules.budget(budget)) for scope, budget in scopes)
        budgets = tuple(Budget(scope, r.limit, r.per) for scope, r in found if r is not None)
        if budgets:
            plans.append(BudgetPlan(tenant, budgets))
    return plans


class Rules:
    """The named policies of a configuration, as values."""

    def __init__(self, settings: Settings) -> None:
        self._limits = {
            name: LimitRule(**asdict(policy)) for name, policy in settings.limits.items()
        }
        self._budgets = {
            name: BudgetRule(nano_dollars(policy.usd), policy.per)
            for name, policy in settings.budgets.items()
        }

    def limits(self, name: str | None) -> LimitRule | None:
        """The limits of this name; None without one."""
        return self._limits[name] if name is not None else None

    def budget(self, name: str | None) -> BudgetRule | None:
        """The budget of this name; None without one."""
        return self._budgets[name] if name is not None else None


def _limit_plan(key: Key, scopes: list[Scoped]) -> LimitPlan | None:
    buckets: list[Bucket] = []
    slots: list[Slots] = []
    for one in scopes:
        if one.limits is not None:
            buckets += one.limits.buckets(one.scope)
            slots += one.limits.slots(one.scope)
    return LimitPlan.of(key.tenant, buckets, slots) if buckets or slots else None
