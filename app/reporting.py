"""What operators read of one configuration at work: every report, and where each looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.config.loading import Loaded
from app.config.settings import Settings
from app.core.keys import GATEWAY
from app.policy.admins import AdminKey
from app.policy.caching import places
from app.policy.callers import Callers
from app.policy.limits_and_budgets import Rules
from app.routes.admin.calls import AdminRoute
from app.routes.admin.objects.directory import Directory
from app.routes.admin.objects.records import KEYS
from app.routes.reports.accounts import Account, AccountsReport
from app.routes.reports.activity import ActivityReport
from app.routes.reports.cache import CacheReport
from app.routes.reports.config import ConfigReport
from app.routes.reports.requests import RequestsReport
from app.routes.reports.upstreams import UpstreamsReport
from app.routes.reports.usage import UsageReport
from app.shared import Shared

KEYS_AT_ONCE = 200


def report_routes(
    loaded: Loaded, shared: Shared, callers: Callers, directory: Directory
) -> list[AdminRoute]:
    """The rows of the admin API that change nothing."""
    settings, store = loaded.settings, shared.store
    now, counters = shared.ledger.clock.now, shared.cache.counters
    activity = ActivityReport(store, now, loaded.generation)
    index = shared.cache.semantic_index
    holders = Holders(callers, directory)

    def tenants() -> Iterable[str]:
        return [*callers.settings.tenants, GATEWAY]

    return [
        *UsageReport(store, tenants, now).routes(),
        *activity.routes(),
        *RequestsReport(store, now, lambda: shared.readiness.draining).routes(),
        *AccountsReport(holders, store, shared.ledger, activity).routes(),
        *CacheReport(activity, index, places(settings), tenants, now).routes(),
        *UpstreamsReport(settings, shared.health, counters).routes(),
        *ConfigReport(loaded).routes(),
    ]


class Holders:
    """Who has limits and budgets: of the file, and made at run time."""

    def __init__(self, callers: Callers, directory: Directory) -> None:
        self._callers = callers
        self._directory = directory
        self._settings: Settings | None = None

    def policies(self) -> list[Account]:
        """Every tenant, and every model of one, in the order of their places."""
        self._catch_up()
        return self._policies

    async def keys(
        self, who: AdminKey, after: str, tenant: str | None
    ) -> tuple[list[Account], str | None]:
        """Some keys that this operator sees, after a name, and after which name others follow."""
        found, last = await self._directory.page(KEYS, who, after, KEYS_AT_ONCE, tenant)
        return [self._account(one) for one in found if not one["shadowed"]], last

    async def key(self, who: AdminKey, name: str) -> Account:
        """One key. Raises NotFound."""
        return self._account(await self._directory.show(KEYS, name, who, ""))

    def _catch_up(self) -> Settings:
        """The settings as they are now, with what was worked out from them."""
        settings = self._callers.settings
        if self._settings is not settings:
            self._settings, self._rules = settings, Rules(settings)
            self._policies = of_tenants(settings, self._rules)
        return settings

    def _account(self, shown: Mapping[str, Any]) -> Account:
        settings, rules = self._catch_up(), self._rules
        limits, budget = shown.get("limits"), shown.get("budget")
        return Account(
            shown["tenant"],
            f"key:{shown['id']}",
            rules.limits(limits) if limits in settings.limits else None,
            rules.budget(budget) if budget in settings.budgets else None,
        )


def of_tenants(settings: Settings, rules: Rules) -> list[Account]:
    """What of tenants and their models has a limit or a budget."""
    found = []
    for name, tenant in settings.tenants.items():
        limits, budget = rules.limits(tenant.limits), rules.budget(tenant.budget)
        found.append(Account(name, "tenant", limits, budget))
        for alias, part in tenant.models.items():
            limits, budget = rules.limits(part.limits), rules.budget(part.budget)
            found.append(Account(name, f"model:{alias}", limits, budget))
    return sorted((one for one in found if one.bounded), key=lambda one: one.place)
