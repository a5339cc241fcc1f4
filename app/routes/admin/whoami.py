"""GET /admin/v1/whoami: whose key this is, and what it may do."""

from __future__ import annotations

from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute


async def whoami(call: AdminCall) -> AdminReply:
    """``tenants`` is null where the key sees all of them."""
    who = call.who
    tenants = sorted(who.tenants) if who.tenants is not None else None
    return AdminReply({"id": who.id, "scopes": sorted(who.scopes), "tenants": tenants})


ROUTES = [AdminRoute("GET", "/whoami", "", whoami)]
