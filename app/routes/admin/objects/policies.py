"""/admin/v1/tenants, /limits and /budgets: what bears on callers' keys."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import orjson

from app.config.settings import BudgetPolicy
from app.core.errors import Conflict
from app.routes.admin.objects.directory import Directory
from app.routes.admin.objects.records import BUDGETS, LIMITS, TENANTS, Record, record_of
from app.routes.admin.objects.resource import Given, Resource

SPENT_LOOKED_AT = 50  # accounts that a warning is looked for in

SpentOver = Callable[[str, str, str, BudgetPolicy | None], Awaitable[list[str]]]


class Tenants(Resource):
    def __init__(self, directory: Directory, spent_over: SpentOver) -> None:
        super().__init__(TENANTS, directory)
        self._spent_over = spent_over

    async def check_unused(self, name: str) -> None:
        found = await self.directory.registry.objects.page_of_tenant("keys", name, "", 1)
        if found:
            raise _in_use(f"The tenant {name!r} has keys, {found[0][0]!r} for one")

    async def warnings(self, name: str, given: Given) -> list[str]:
        budget = given.spec.get("budget")
        return await self._spent_over(name, "tenant", budget, None) if budget else []


class Policies(Resource):
    """Limits, or budgets: named, and referred to by keys and tenants."""

    async def check_unused(self, name: str) -> None:
        for user in users_of(self.directory, self.kind.name, name):
            raise _in_use(f"The {self.kind.one} {name!r} is named by {user[2]}")


class Limits(Policies):
    def __init__(self, directory: Directory) -> None:
        super().__init__(LIMITS, directory)


class Budgets(Policies):
    def __init__(self, directory: Directory, spent_over: SpentOver) -> None:
        super().__init__(BUDGETS, directory)
        self._spent_over = spent_over

    async def warnings(self, name: str, given: Given) -> list[str]:
        """A budget may be set below what is spent: those who have spent more wait for its window's end."""
        found: list[str] = []
        for number, (tenant, scope, _) in enumerate(users_of(self.directory, "budgets", name)):
            if number >= SPENT_LOOKED_AT:
                return [
                    *found,
                    f"More than {SPENT_LOOKED_AT} have this budget; not all were looked at.",
                ]
            found += await self._spent_over(tenant, scope, name, given.read.section)
        return found


def users_of(directory: Directory, section: str, name: str) -> Iterator[tuple[str, str, str]]:
    """Who names these limits or this budget at run time: tenant, scope, and as it is told."""
    member = {"limits": "limits", "budgets": "budget"}[section]
    snapshot = directory.registry.snapshot
    mark = f'"{member}":'.encode() + orjson.dumps(name)
    for kind, one in (("tenants", "tenant"), ("keys", "key")):
        for id_, stored in snapshot.of(kind):
            if mark not in stored.document:  # cheaper than to read a hundred thousand
                continue
            record = record_of(stored)
            for tenant, scope in _scopes(kind, id_, record, member, name):
                yield tenant, scope, f"the {one} {id_!r}"


def _scopes(
    kind: str, name: str, record: Record, member: str, policy: str
) -> Iterator[tuple[str, str]]:
    tenant, scope = (name, "tenant") if kind == "tenants" else (record.tenant, f"key:{name}")
    if record.spec.get(member) == policy:
        yield tenant, scope
    models: dict[str, Any] = record.spec.get("models", {}) if kind == "tenants" else {}
    for alias, part in models.items():
        if part.get(member) == policy:
            yield tenant, f"model:{alias}"


def _in_use(what: str) -> Conflict:
    return Conflict(f"{what}; it cannot be deleted before.", code="in_use", param="id")
