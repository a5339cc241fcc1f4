"""The operators' part of a chain: the admin API, reached over the management listener only."""

from __future__ import annotations

from collections.abc import Callable

from app.config.settings import Settings
from app.core.asgi import ASGIApp
from app.core.exchange import Exchange
from app.policy.admins import admin_keys
from app.routes.admin import whoami
from app.routes.admin.door import AdminApi, ManagementDoor
from app.routes.admin.sign_in import SignIn
from app.shared import Shared

API = "/admin/"


def management_door(
    settings: Settings,
    shared: Shared,
    metered: Callable[[ASGIApp], ASGIApp],
    recorded: Callable[[Exchange], None],
) -> ManagementDoor:
    """What a worker answers to the management listener.

    ``metered`` puts the layers around an application that every request passes; ``recorded`` is told of
    requests that lead nowhere.
    """
    apps: dict[str, ASGIApp] = {}
    keys = admin_keys(settings)
    if keys:
        api = AdminApi([*whoami.ROUTES], SignIn(keys).who, shared.bad_admin_keys)
        apps[API] = metered(api)
    return ManagementDoor(shared.relay, apps, recorded)
