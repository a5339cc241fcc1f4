"""What operators read of one configuration at work: every report, and where each looks."""

from __future__ import annotations

from app.config.loading import Loaded
from app.config.settings import Settings
from app.core.keys import GATEWAY
from app.policy.caching import places
from app.policy.limits_and_budgets import Rules
from app.routes.admin.calls import AdminRoute
from app.routes.reports.accounts import Account, AccountsReport
from app.routes.reports.activity import ActivityReport
from app.routes.reports.cache import CacheReport
from app.routes.reports.config import ConfigReport
from app.routes.reports.requests import RequestsReport
from app.routes.reports.upstreams import UpstreamsReport
from app.routes.reports.usage import UsageReport
from app.shared import Shared


def report_routes(loaded: Loaded, shared: Shared) -> list[AdminRoute]:
    """The rows of the admin API that change nothing."""
    settings, store = loaded.settings, shared.store
    now, counters = shared.ledger.clock.now, shared.cache.counters
    tenants = [*settings.tenants, GATEWAY]
    standing = accounts(settings)
    activity = ActivityReport(store, now, loaded.generation)
    index = shared.cache.semantic_index
    return [
        *UsageReport(store, lambda: tenants, now).routes(),
        *activity.routes(),
        *RequestsReport(store, now, lambda: shared.readiness.draining).routes(),
        *AccountsReport(lambda: standing, store, shared.ledger, activity).routes(),
        *CacheReport(activity, index, places(settings), lambda: tenants, now).routes(),
        *UpstreamsReport(settings, shared.health, counters).routes(),
        *ConfigReport(loaded).routes(),
    ]


def accounts(settings: Settings) -> list[Account]:
    """Everything in a configuration that has a limit or a budget, in the order of its places."""
    rules = Rules(settings)
    found = []
    for name, tenant in settings.tenants.items():
        limits, budget = rules.limits(tenant.limits), rules.budget(tenant.budget)
        found.append(Account(name, "tenant", limits, budget))
        for alias, part in tenant.models.items():
            limits, budget = rules.limits(part.limits), rules.budget(part.budget)
            found.append(Account(name, f"model:{alias}", limits, budget))
    for key in settings.keys:
        limits, budget = rules.limits(key.limits), rules.budget(key.budget)
        found.append(Account(key.tenant, f"key:{key.id}", limits, budget))
    bounded = [one for one in found if one.limits is not None or one.budget is not None]
    return sorted(bounded, key=lambda one: one.place)
