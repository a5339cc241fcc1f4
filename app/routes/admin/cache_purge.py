"""POST /admin/v1/cache/purge: forget kept answers."""

from __future__ import annotations

from typing import Any

import orjson

from app.core.errors import Forbidden, InvalidRequest, Problem, Unprocessable
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.objects.conditions import asked_by, request_id_of
from app.routes.admin.objects.directory import Directory
from app.routes.admin.objects.writing import spec_in
from cache.answers.shared_tier import Responses
from cache.registry.objects import Repeated

EVERYBODY = ""  # what models with `scope: global` share
MEMBERS = ("tenant", "model", "namespace")


class CachePurge:
    def __init__(self, directory: Directory, responses: Responses) -> None:
        self._directory = directory
        self._responses = responses

    def routes(self) -> list[AdminRoute]:
        return [AdminRoute("POST", "/cache/purge", "cache:purge", self.purge)]

    async def purge(self, call: AdminCall) -> AdminReply:
        """Everything, or what all given members name together; within a second in every replica."""
        spec = spec_in(call)
        tenants = self._tenants(call, _checked(spec, self._directory))
        record = {
            "actor": call.who.id,
            "address": call.address,
            "request_id": call.request_id,
            "action": "cache.purge",
            "kind": "cache",
            "object_id": "cache",
            **spec,
        }
        asked = asked_by(call, "cache/purge")
        objects = self._directory.registry.objects
        done = await objects.note(orjson.dumps(record), request_id_of(call), asked)
        if isinstance(done, Repeated) and done.asked != asked:
            raise Unprocessable(
                "This `Idempotency-Key` was sent with another request within the last day.",
                param="Idempotency-Key",
            )
        for tenant in tenants:
            await self._responses.purge(tenant, spec.get("model"), spec.get("namespace"))
        return AdminReply({"object": "purge", **dict.fromkeys(MEMBERS), **spec})

    def _tenants(self, call: AdminCall, tenant: str | None) -> list[str]:
        if tenant is not None:
            if not call.who.sees(tenant):
                raise Forbidden(
                    f"The admin key {call.who.id!r} may not act for the tenant {tenant!r}.",
                    code="tenant_required",
                )
            return [tenant]
        if call.who.tenants is not None:
            return sorted(call.who.tenants)
        return [*sorted(self._directory.settings.tenants), EVERYBODY]


def _checked(spec: dict[str, Any], directory: Directory) -> str | None:
    """The tenant that is named. Raises InvalidRequest for every member that is wrong."""
    problems = [
        Problem(name, f"`{name}` is not known here; expected {', '.join(MEMBERS)}.")
        for name in spec
        if name not in MEMBERS
    ]
    problems += [
        Problem(name, f"`{name}` must be a text.")
        for name in MEMBERS
        if not isinstance(spec.get(name, ""), str)
    ]
    for name, known in (
        ("tenant", directory.settings.tenants),
        ("model", directory.settings.models),
    ):
        value = spec.get(name)
        if isinstance(value, str) and value not in known:
            problems.append(Problem(name, f"`{name}`: there is no {name} {value!r}."))
    if problems:
        raise InvalidRequest.of(problems)
    return spec.get("tenant")
