"""/admin/v1/budgets/{scope}/…: what a budget has spent, a grant on top of it, a new beginning."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, NamedTuple

import orjson

from app.config.settings import BudgetPolicy
from app.core.budgets import Budget
from app.core.errors import Forbidden, InvalidRequest, NotFound, Unprocessable
from app.core.pricing import MAX_DOLLARS, dollars_text, nano_dollars
from app.core.units import NanoDollars
from app.policy.admins import AdminKey
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.objects.conditions import asked_by, request_id_of
from app.routes.admin.objects.directory import Directory
from app.routes.admin.objects.records import KEYS, record_of
from app.routes.admin.objects.writing import spec_in
from cache.quotas.ledger import Account, BudgetPlan, Ledger
from cache.registry.objects import Repeated


class Holder(NamedTuple):
    """Who has a budget: ``name`` in paths, ``scope`` within its tenant in the store."""

    name: str
    tenant: str
    scope: str
    budget: str
    policy: BudgetPolicy

    @property
    def account(self) -> Budget:
        return Budget(self.scope, nano_dollars(self.policy.usd), self.policy.per)


class Accounts:
    """Scopes are ``key:ID``, ``tenant:ID`` and ``model:TENANT:ALIAS``."""

    def __init__(self, directory: Directory, ledger: Ledger) -> None:
        self._directory = directory
        self._ledger = ledger

    def routes(self) -> list[AdminRoute]:
        one = "/budgets/{scope}"
        return [
            AdminRoute("GET", f"{one}/account", "budgets:read", self.show),
            AdminRoute("POST", f"{one}/grant", "budgets:write", self.grant),
            AdminRoute("POST", f"{one}/reset", "budgets:write", self.reset),
        ]

    async def show(self, call: AdminCall) -> AdminReply:
        """What a scope has spent, holds and has left in this window."""
        holder = await self._holder(call.names["scope"], call.who)
        return AdminReply(_shown(holder, await self._account(holder)))

    async def grant(self, call: AdminCall) -> AdminReply:
        """Let it spend ``usd`` more until its window ends."""
        amount = _amount(spec_in(call))
        holder = await self._holder(call.names["scope"], call.who, to_change=True)
        act = await self._noted(call, holder, "grant", {"usd": dollars_text(amount)})
        await self._ledger.grant(holder.tenant, holder.account, amount, act)
        return AdminReply(_shown(holder, await self._account(holder)))

    async def reset(self, call: AdminCall) -> AdminReply:
        """Count what it spends from nothing on; what was used stays in the usage."""
        if spec_in(call):
            raise InvalidRequest("This takes no members; send an empty body.")
        holder = await self._holder(call.names["scope"], call.who, to_change=True)
        before = await self._account(holder)
        noted = {"spent_usd": dollars_text(before.spent)}
        act = await self._noted(call, holder, "reset", noted)
        await self._ledger.reset(holder.tenant, holder.account, act)
        return AdminReply(_shown(holder, await self._account(holder)))

    async def spent_over(
        self, tenant: str, scope: str, budget: str, policy: BudgetPolicy | None = None
    ) -> list[str]:
        """A warning where a scope has spent more than its budget; ``policy`` is a budget to come."""
        found = policy or self._directory.settings.budgets.get(budget)
        if found is None:
            return []
        holder = Holder(scope, tenant, scope, budget, found)
        account = await self._account(holder)
        if account.spent <= account.limit:
            return []
        resets = _time(account.ends)
        spent, limit = dollars_text(account.spent), dollars_text(account.limit)
        return [f"{scope} of {tenant!r} has spent ${spent} of ${limit}: refused until {resets}."]

    async def _account(self, holder: Holder) -> Account:
        [account] = await self._ledger.accounts(BudgetPlan(holder.tenant, (holder.account,)))
        return account

    async def _noted(
        self, call: AdminCall, holder: Holder, action: str, noted: dict[str, Any]
    ) -> str:
        """What names this act; a repetition has the name of the first. Raises Unprocessable."""
        record = orjson.dumps(
            {
                "actor": call.who.id,
                "address": call.address,
                "request_id": call.request_id,
                "action": f"budget.{action}",
                "kind": "accounts",
                "object_id": holder.name,
                "tenant": holder.tenant,
                **noted,
            }
        )
        asked = asked_by(call, f"budgets/{holder.name}/{action}")
        objects = self._directory.registry.objects
        done = await objects.note(record, request_id_of(call), asked)
        if isinstance(done, Repeated) and done.asked != asked:
            raise Unprocessable(
                "This `Idempotency-Key` was sent with another request within the last day.",
                param="Idempotency-Key",
            )
        return str(done.revision)

    async def _holder(self, name: str, who: AdminKey, *, to_change: bool = False) -> Holder:
        """Raises NotFound, and Forbidden for a change of what was set for this operator's tenants."""
        await self._directory.registry.catch_up()
        kind, _, rest = name.partition(":")
        tenant, budget = self._found(kind, rest)
        if tenant is None or not who.sees(tenant):
            raise NotFound(
                f"There is no {name!r}; a scope is key:ID, tenant:ID or model:TENANT:ALIAS.",
                param="scope",
                retryable=False,
            )
        if to_change and who.tenants is not None and kind != "key":
            raise Forbidden(
                f"The admin key {who.id!r} is for single tenants, and this budget was set for them.",
                code="tenant_required",
            )
        policy = self._directory.settings.budgets.get(budget or "")
        if budget is None or policy is None:
            raise NotFound(f"{name!r} has no budget.", param="scope", retryable=False)
        scope = {"key": name, "tenant": "tenant"}.get(kind, f"model:{rest.partition(':')[2]}")
        return Holder(name, tenant, scope, budget, policy)

    def _found(self, kind: str, name: str) -> tuple[str | None, str | None]:
        """The tenant and the budget of a scope."""
        tenants = self._directory.settings.tenants
        if kind == "key":
            filed: Any = self._directory.filed(KEYS, name)
            if filed is not None:
                return filed.tenant, filed.budget
            stored = self._directory.registry.snapshot.get("keys", name)
            record = record_of(stored) if stored is not None else None
            return (
                (record.tenant, record.spec.get("budget")) if record is not None else (None, None)
            )
        tenant, _, alias = name.partition(":")
        section = tenants.get(tenant)
        if section is None:
            return None, None
        if kind == "tenant" and not alias:
            return tenant, section.budget
        part = section.models.get(alias) if kind == "model" else None
        return (tenant, part.budget) if part is not None else (None, None)


def _amount(spec: dict[str, Any]) -> NanoDollars:
    usd = spec.pop("usd", None)
    if spec:
        unknown = ", ".join(sorted(spec))
        raise InvalidRequest(f"`{unknown}`: this takes `usd` only.", param=unknown)
    if isinstance(usd, bool) or not isinstance(usd, int | float) or not 0 < usd <= MAX_DOLLARS:
        raise InvalidRequest(f"`usd` must be more than 0, at most {MAX_DOLLARS}.", param="usd")
    return nano_dollars(usd)


def _shown(holder: Holder, account: Account) -> dict[str, Any]:
    return {
        "object": "budget_account",
        "scope": holder.name,
        "tenant": holder.tenant,
        "budget": holder.budget,
        "per": holder.policy.per,
        "limit_usd": dollars_text(account.budget.limit),
        "granted_usd": dollars_text(account.granted),
        "spent_usd": dollars_text(account.spent),
        "held_usd": dollars_text(account.held),
        "left_usd": dollars_text(account.left),
        "resets_at": _time(account.ends),
    }


def _time(at: int) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds")
