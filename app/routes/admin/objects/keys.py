"""/admin/v1/keys: callers' keys, made, rotated and blocked at run time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any

from msgspec.structs import replace

from app.config.checks.references import expiry
from app.config.decoding import Fault
from app.config.objects import read_object
from app.config.values.quantities import Duration
from app.core.errors import Forbidden, InvalidRequest
from app.core.keys import digest_of, new_secret
from app.policy.admins import AdminKey
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.objects.directory import Directory, missing
from app.routes.admin.objects.records import (
    EXPIRES_SOON,
    KEYS,
    Record,
    SecretMark,
    moment,
    record_of,
)
from app.routes.admin.objects.resource import Given, Resource
from app.routes.admin.objects.writing import Draft, raise_faults, spec_in
from cache.quotas.last_used import LastUsed
from cache.store.base import StoreUnavailable

DEFAULT_GRACE = 86400.0
MAX_GRACE = 7 * 86400.0
SHOWN_DIGITS = 4  # of a secret's 64: for people who have several


class Keys(Resource):
    """``last_used`` knows when keys were; ``spent_over`` warns of a budget that is used up."""

    def __init__(
        self,
        directory: Directory,
        last_used: LastUsed,
        spent_over: Callable[[str, str, str], Awaitable[list[str]]],
    ) -> None:
        super().__init__(KEYS, directory)
        self._last_used = last_used
        self._spent_over = spent_over

    def routes(self) -> list[AdminRoute]:
        one = "/keys/{id}"
        return [
            *super().routes(),
            AdminRoute("POST", f"{one}/rotate", "keys:write", self.rotate),
            AdminRoute("POST", f"{one}/block", "keys:write", self.block, ("running",)),
            AdminRoute("POST", f"{one}/unblock", "keys:write", self.unblock),
        ]

    def check_scope(self, who: AdminKey, spec: Mapping[str, Any]) -> None:
        tenant = str(spec.get("tenant", ""))
        if not who.sees(tenant):
            raise Forbidden(
                f"The admin key {who.id!r} may not act for the tenant {tenant!r}.",
                code="tenant_required",
            )

    async def given(self, name: str, spec: dict[str, Any], before: Record | None) -> Given:
        marks, once = before.secrets if before is not None else (), {}
        hashes = spec.pop("secret_sha256", None)
        if hashes is not None:
            listed = [hashes] if isinstance(hashes, str) else hashes
            known = {mark.sha256: mark for mark in marks}
            checked: Any = listed
            if isinstance(listed, list) and all(isinstance(one, str) for one in listed):
                checked = [one.lower() for one in listed]
                marks = tuple(known.get(one, SecretMark(one)) for one in checked)
        elif not marks:
            secret, mark = made_secret(name)
            marks, once = (mark,), {"secret": secret}
            checked = [mark.sha256]
        else:
            checked = [mark.sha256 for mark in marks]
        whole = {**spec, "secret_sha256": checked}
        read = read_object("keys", name, whole, self.directory.settings)
        if self.directory.digests.intersection(mark.sha256 for mark in marks):
            read.faults.append(Fault(("secret_sha256",), "is that of a key in the file"))
        return Given(spec, read, marks, once)

    async def warnings(self, name: str, given: Given) -> list[str]:
        found = self._expiry_warnings(given.spec.get("expires"))
        budget = given.spec.get("budget")
        if budget is not None:
            found += await self._spent_over(given.spec["tenant"], f"key:{name}", budget)
        return found

    def _expiry_warnings(self, expires: Any) -> list[str]:
        if not isinstance(expires, str):
            return []
        left = expiry(expires) - self.directory.now()
        if left <= 0:
            return ["`expires` is over: the key is refused."]
        days = int(left // 86400)
        return [f"`expires` is in {days} days."] if left < EXPIRES_SOON else []

    async def dressed(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        for document in documents:
            warnings = self._expiry_warnings(document.get("expires"))
            if warnings:
                document["warnings"] = warnings
        by_tenant: dict[str, list[dict[str, Any]]] = {}
        for document in documents:
            by_tenant.setdefault(document["tenant"], []).append(document)
        for tenant, own in by_tenant.items():
            times: list[int | None] = [None] * len(own)
            with suppress(StoreUnavailable):
                times = await self._last_used.of(tenant, [document["id"] for document in own])
            for document, at in zip(own, times, strict=True):
                document["last_used"] = moment(at) if at is not None else None
        return documents

    def add_hashes(self, call: AdminCall, documents: list[dict[str, Any]]) -> None:
        if call.query["hashes"] != "true":
            raise InvalidRequest("`hashes` must be true, or left out.", param="hashes")
        if not call.who.may("keys:write"):
            raise Forbidden("`hashes` needs the scope 'keys:write'.", code="scope_required")
        for document in documents:
            stored = self.directory.registry.snapshot.get("keys", document["id"])
            if document["source"] == "api" and stored is not None:
                document["secret_sha256"] = record_of(stored).digests

    async def rotate(self, call: AdminCall) -> AdminReply:
        """Give a new secret; the one before is valid for ``grace`` from now, a day when absent."""
        spec, name = spec_in(call), call.names["id"]
        grace = _grace(spec.pop("grace", DEFAULT_GRACE))
        given = spec.pop("secret_sha256", None)
        if spec:
            unknown = ", ".join(sorted(spec))
            raise InvalidRequest(
                f"`{unknown}`: expected `grace` or `secret_sha256`.", param=unknown
            )

        async def make(before: Record | None) -> Draft:
            if before is None:
                raise missing(KEYS, name)
            now = self.directory.now()
            secret, mark = made_secret(name)
            if given is not None:
                secret, mark = "", SecretMark(str(given).lower())
                read = read_object(
                    "keys",
                    name,
                    {**before.spec, "secret_sha256": mark.sha256},
                    self.directory.settings,
                )
                raise_faults([one for one in read.faults if one.path[:1] == ("secret_sha256",)])
            last = before.secrets[-1]
            until = min(now + grace, last.until or now + grace)
            old = (replace(last, until=until),) if grace and last.sha256 != mark.sha256 else ()
            record = self._changed(call, before, secrets=(*old, mark))
            once = {"secret": secret} if secret else {}
            return Draft(record, "rotate", 201, once, noted={"grace_seconds": grace})

        return await self.writer.write(call, name, make)

    async def block(self, call: AdminCall) -> AdminReply:
        """Refuse the key from now on, in every replica; with `running=cancel` end what runs, too."""
        if call.query.get("running", "finish") not in ("finish", "cancel"):
            raise InvalidRequest("`running` must be `cancel` or `finish`.", param="running")
        return await self._set_blocked(call, blocked=True)

    async def unblock(self, call: AdminCall) -> AdminReply:
        """Let it call again."""
        return await self._set_blocked(call, blocked=False)

    async def _set_blocked(self, call: AdminCall, *, blocked: bool) -> AdminReply:
        name = call.names["id"]
        if spec_in(call):
            raise InvalidRequest("This takes no members; send an empty body.")

        async def make(before: Record | None) -> Draft:
            if before is None:
                raise missing(KEYS, name)
            cancels = call.query.get("running") == "cancel"
            record = self._changed(call, before, blocked=blocked, cancels=cancels)
            noted = {"running": "cancel"} if cancels else {}
            return Draft(record, "block" if blocked else "unblock", noted=noted)

        return await self.writer.write(call, name, make)

    def _changed(self, call: AdminCall, before: Record, **changes: Any) -> Record:
        return replace(before, changed=self.directory.now(), changed_by=call.who.id, **changes)


def made_secret(name: str) -> tuple[str, SecretMark]:
    """A new secret, and what is kept of it."""
    secret = new_secret(name)
    begins = len(secret) - 64 + SHOWN_DIGITS
    return secret, SecretMark(digest_of(secret).hex(), secret[:begins])


def _grace(given: Any) -> float:
    try:
        grace = float(Duration.parse(given))
    except ValueError:
        grace = MAX_GRACE + 1
    if grace > MAX_GRACE:
        raise InvalidRequest("`grace` must be a span from 0 to 7d, such as 24h.", param="grace")
    return grace
