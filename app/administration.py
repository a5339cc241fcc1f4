"""The operators' part of a chain: the admin API and the dashboard, over the management listener only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.config.loading import Loaded
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.exchange import Exchange
from app.policy.admins import admin_keys
from app.policy.callers import Callers
from app.reporting import report_routes
from app.routes.admin import whoami
from app.routes.admin.audit import Audit
from app.routes.admin.cache_purge import CachePurge
from app.routes.admin.calls import AdminRoute
from app.routes.admin.door import AdminApi, ManagementDoor
from app.routes.admin.objects.accounts import Accounts
from app.routes.admin.objects.directory import Directory
from app.routes.admin.objects.keys import Keys
from app.routes.admin.objects.policies import Budgets, Limits, Tenants
from app.routes.admin.sign_in import SignIn
from app.routes.dashboard.door import BELOW, PATH, Dashboard
from app.routes.dashboard.guard import SessionGuard, SignedIn
from app.routes.dashboard.pages import Pages
from app.routes.dashboard.sessions import Sessions
from app.routes.dashboard.sign_in import SignInApp
from app.routes.documents.docs import BELOW as DOCS_BELOW
from app.routes.documents.docs import LLMS_PATH, Docs
from app.routes.documents.docs import PATH as DOCS
from app.routes.near_paths import NearPaths
from app.routes.openapi.operations import OPERATIONS
from app.shared import Shared

API = "/admin/"


def management_door(
    loaded: Loaded,
    shared: Shared,
    caller_keys: Callers | None,
    metered: Callable[[ASGIApp], ASGIApp],
    read: Callable[[ASGIApp], ASGIApp],
    recorded: Callable[[Exchange], None],
    callers: ASGIApp,
) -> ManagementDoor:
    """What a worker answers to the management listener.

    ``metered`` puts the layers around an application that every request passes, ``read`` those around
    what anybody may read; ``recorded`` is told of
    requests that lead nowhere. ``callers`` is the callers' part of the chain, for the dashboard's
    playground.
    """
    docs = Docs(read, callers)
    apps: dict[str, ASGIApp] = {DOCS: docs, DOCS_BELOW: docs, LLMS_PATH: docs}
    public = dict(apps) if loaded.settings.server.docs else {}
    routes: list[AdminRoute] = []
    keys = admin_keys(loaded.settings)
    if keys and caller_keys is not None:
        slow = shared.bad_admin_keys
        directory = Directory(loaded, caller_keys, shared.registry, shared.ledger.clock.now)
        routes += [*whoami.ROUTES, *_routes(shared, directory)]
        routes += report_routes(loaded, shared, caller_keys, directory)
        api = AdminApi(routes, SignIn(keys).who, slow)
        sessions = Sessions(shared.store, keys)
        guard = SessionGuard(sessions)
        sign_in = SignInApp(keys, sessions, guard, slow, shared.relay, shared.registry.objects.note)
        apps[API] = _counted(metered(SignedIn(api, guard)), shared)
        dashboard = Dashboard(Pages(), sign_in, guard, metered, callers)
        apps[PATH] = apps[BELOW] = dashboard
    near = NearPaths((operation.method, operation.path) for operation in OPERATIONS)
    return ManagementDoor(shared.relay, apps, recorded, near, routes, public)


def _counted(app: ASGIApp, shared: Shared) -> ASGIApp:
    """The application, with its running requests told from callers'."""

    async def counted(scope: Scope, receive: Receive, send: Send) -> None:
        shared.activity.operators += 1
        try:
            await app(scope, receive, send)
        finally:
            shared.activity.operators -= 1

    return counted


def _routes(shared: Shared, directory: Directory) -> list[AdminRoute]:
    """The rows of every resource."""
    accounts = Accounts(directory, shared.ledger)
    resources: list[Any] = [
        Keys(directory, shared.usage.last_used, accounts.spent_over),
        Tenants(directory, accounts.spent_over),
        Limits(directory),
        Budgets(directory, accounts.spent_over),
        accounts,
        CachePurge(directory, shared.cache.responses),
        Audit(shared.registry.objects),
    ]
    return [route for resource in resources for route in resource.routes()]
