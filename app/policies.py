"""From settings to plans: which limits and budgets stand on a key's requests for a model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from app.core.budgets import Budget
from app.core.keys import Key
from app.core.limits import Bucket, Slots
from app.core.output_limits import Cap
from app.core.pricing import nano_dollars
from app.settings import LimitPolicy, Settings
from cache.ledger import BudgetPlan
from cache.limiter import LimitPlan

Scoped = tuple[str, str | None, str | None]  # scope, name of a limit policy, name of a budget


class Allowance(NamedTuple):
    """``bound``: money, tokens or a cap depend on how much a request may generate."""

    bound: bool
    cap: Cap | None


class Policies:
    """Plans by key and alias, worked out once each; there are at most keys x aliases of them."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._keys = {key.id: key for key in settings.keys}
        self._limits: dict[tuple[str, str], LimitPlan | None] = {}
        self._budgets: dict[tuple[str, str], BudgetPlan | None] = {}
        self._allowances: dict[tuple[str, str], Allowance] = {}

    def limits(self, key: Key, alias: str) -> LimitPlan | None:
        """Every limit on this key's requests for this model; None where there is none."""
        place = _place(key, alias)
        if place not in self._limits:
            self._limits[place] = self._limit_plan(key, place[1])
        return self._limits[place]

    def budgets(self, key: Key, alias: str) -> BudgetPlan | None:
        """Every budget on this key's requests for this model; None where there is none."""
        place = _place(key, alias)
        if place not in self._budgets:
            budgets = tuple(
                self._budget(scope, budget)
                for scope, _, budget in self._scopes(key, place[1])
                if budget is not None
            )
            self._budgets[place] = BudgetPlan(key.tenant, budgets) if budgets else None
        return self._budgets[place]

    def allowance(self, key: Key, alias: str) -> Allowance:
        """What this key's requests for this model may generate, and whether that must be bound."""
        place = _place(key, alias)
        found = self._allowances.get(place)
        if found is None:
            limits, cap = self.limits(key, alias), self._cap(key, place[1])
            counted = limits is not None and any(b.unit == "tokens" for b in limits.buckets)
            held = counted or cap is not None or self.budgets(key, alias) is not None
            found = self._allowances[place] = Allowance(held, cap)
        return found

    def _cap(self, key: Key, alias: str) -> Cap | None:
        model = self._settings.models.get(alias)
        given = [
            Cap(section.max_output_tokens, whose)
            for section, whose in ((self._keys[key.id], "this key's"), (model, "the model's"))
            if section is not None and section.max_output_tokens is not None
        ]
        return min(given, default=None)

    def _scopes(self, key: Key, alias: str) -> Iterator[Scoped]:
        """Narrow to wide, so that a refusal names the narrowest scope that refuses."""
        section = self._keys[key.id]
        yield f"key:{key.id}", section.limits, section.budget
        tenant = self._settings.tenants[key.tenant]
        model = tenant.models.get(alias)
        if model is not None:
            yield f"model:{alias}", model.limits, model.budget
        yield "tenant", tenant.limits, tenant.budget

    def _budget(self, scope: str, name: str) -> Budget:
        policy = self._settings.budgets[name]
        return Budget(scope, nano_dollars(policy.usd), policy.per)

    def _limit_plan(self, key: Key, alias: str) -> LimitPlan | None:
        buckets: list[Bucket] = []
        slots: list[Slots] = []
        for scope, name, _ in self._scopes(key, alias):
            if name is not None:
                policy = self._settings.limits[name]
                buckets += _buckets(scope, policy)
                if policy.concurrent is not None:
                    slots.append(Slots(scope, policy.concurrent))
        if not buckets and not slots:
            return None
        return LimitPlan.of(key.tenant, buckets, slots)


def _place(key: Key, alias: str) -> tuple[str, str]:
    """Where a plan is kept: a name that leads nowhere is not worth a plan of its own."""
    return key.id, alias if alias in key.models else ""


def _buckets(scope: str, policy: LimitPolicy) -> Iterator[Bucket]:
    if policy.requests_per_minute is not None:
        rate = policy.requests_per_minute
        yield Bucket(scope, "requests", rate, policy.request_burst or rate)
    if policy.tokens_per_minute is not None:
        rate = policy.tokens_per_minute
        yield Bucket(scope, "tokens", rate, policy.token_burst or rate)
