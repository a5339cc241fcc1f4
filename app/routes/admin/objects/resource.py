"""The endpoints that every kind of objects has: list, get, create, replace, merge and delete."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from msgspec.structs import replace

from app.config.objects import Read, read_object
from app.core.errors import Forbidden, InvalidRequest, NotFound
from app.policy.admins import AdminKey
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.objects.directory import Directory, missing
from app.routes.admin.objects.records import KEYS, Kind, Record, SecretMark, etag
from app.routes.admin.objects.writing import (
    Draft,
    Writer,
    already_there,
    merged,
    raise_faults,
    spec_in,
)

MAX_PAGE = 200
DEFAULT_PAGE = 50


class Given(NamedTuple):
    """What a request says an object should be, checked; and what is kept of its secrets."""

    spec: dict[str, Any]
    read: Read
    secrets: tuple[SecretMark, ...]
    once: dict[str, Any]


class Resource:
    """One kind of objects. A kind with more to it overrides what its name says."""

    def __init__(self, kind: Kind, directory: Directory) -> None:
        self.kind = kind
        self.directory = directory
        self.writer = Writer(kind, directory)

    def routes(self) -> list[AdminRoute]:
        """The rows of the table."""
        path, read, write = (
            f"/{self.kind.name}",
            f"{self.kind.name}:read",
            f"{self.kind.name}:write",
        )
        one = path + "/{id}"
        listed = ("cursor", "limit", *(("tenant", "hashes") if self.kind is KEYS else ()))
        return [
            AdminRoute("GET", path, read, self.list_page, listed),
            AdminRoute("POST", path, write, self.create),
            AdminRoute("GET", one, read, self.show, ("source",)),
            AdminRoute("PUT", one, write, self.put),
            AdminRoute("PATCH", one, write, self.patch),
            AdminRoute("DELETE", one, write, self.delete, ("source",)),
        ]

    async def list_page(self, call: AdminCall) -> AdminReply:
        """Those of the file and those made since, in the order of their ids."""
        most = page_size(call.query.get("limit"))
        tenant = call.query.get("tenant")
        if tenant is not None and not call.who.sees(tenant):
            raise NotFound(f"There is no tenant {tenant!r}.", param="tenant", retryable=False)
        after = call.query.get("cursor", "")
        data, cursor = await self.directory.page(self.kind, call.who, after, most, tenant)
        data = await self.dressed(data)
        if "hashes" in call.query:
            self.add_hashes(call, data)
        return AdminReply({"object": "list", "data": data, "next_cursor": cursor})

    async def show(self, call: AdminCall) -> AdminReply:
        """One of them; its `ETag` is its revision, where it is not the file's."""
        source = _source(call)
        document = await self.directory.show(self.kind, call.names["id"], call.who, source)
        [document] = await self.dressed([document])
        revision = document.get("revision")
        return AdminReply(document, 200, [(b"etag", etag(revision))] if revision else [])

    async def create(self, call: AdminCall) -> AdminReply:
        """A new one under a new `id`. A key's `secret` is shown in this answer only."""
        spec = spec_in(call, needed=True)
        name = spec.pop("id", None)
        if not isinstance(name, str):
            text = "`id` is missing; it is the object's name." if name is None else "must be a text"
            raise InvalidRequest(text, param="id")

        async def make(before: Record | None) -> Draft:
            if before is not None:
                raise already_there(self.kind, name)
            return await self._draft(call, name, spec, None)

        return await self.writer.write(call, name, make)

    async def put(self, call: AdminCall) -> AdminReply:
        """Exactly what is given, whether it was there or not."""
        name, spec = call.names["id"], _named(call)

        async def make(before: Record | None) -> Draft:
            return await self._draft(call, name, spec, before)

        return await self.writer.write(call, name, make)

    async def patch(self, call: AdminCall) -> AdminReply:
        """Only the members that are given; null takes one away (RFC 7396)."""
        name, patch = call.names["id"], _named(call)

        async def make(before: Record | None) -> Draft:
            if before is None:
                raise missing(self.kind, name)
            return await self._draft(call, name, merged(before.spec, patch), before)

        return await self.writer.write(call, name, make)

    async def delete(self, call: AdminCall) -> AdminReply:
        """Nothing is there under its id any more; 409 while something names it."""
        name = call.names["id"]
        _source(call)

        async def make(before: Record | None) -> Draft:
            if before is None:
                raise missing(self.kind, name)
            self.check_scope(call.who, before.spec)
            await self.check_unused(name)
            return Draft(None, "delete")

        return await self.writer.write(call, name, make)

    # What kinds do in their own way.

    def check_scope(self, who: AdminKey, spec: Mapping[str, Any]) -> None:  # noqa: ARG002 - a key's says whose it is
        """Raises Forbidden where this operator may not make such an object."""
        if who.tenants is not None:
            raise Forbidden(
                f"The admin key {who.id!r} is for single tenants; {self.kind.name} bear on all, "
                "or are what was set for them.",
                code="tenant_required",
            )

    async def check_unused(self, name: str) -> None:
        """Raises Conflict where something refers to it."""

    async def given(self, name: str, spec: dict[str, Any], before: Record | None) -> Given:  # noqa: ARG002 - a key has secrets already
        """What a request says, checked; its faults stand in ``read``."""
        read = read_object(self.kind.name, name, spec, self.directory.settings)
        return Given(spec, read, (), {})

    async def warnings(self, name: str, given: Given) -> list[str]:  # noqa: ARG002 - most kinds have none
        """What is allowed and worth saying."""
        return []

    def add_hashes(self, call: AdminCall, documents: list[dict[str, Any]]) -> None:
        """Show what an import needs to let the same secrets in."""

    async def dressed(self, documents: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Documents with what is known of their objects elsewhere."""
        return documents

    async def _draft(
        self, call: AdminCall, name: str, spec: dict[str, Any], before: Record | None
    ) -> Draft:
        given = await self.given(name, dict(spec), before)
        raise_faults(given.read.faults)
        self.check_scope(call.who, given.spec)
        now, actor = self.directory.now(), call.who.id
        record = Record(given.spec, now, actor, now, actor, given.secrets)
        warnings = [fault.message for fault in given.read.warnings]
        warnings += await self.warnings(name, given)
        if before is None:
            return Draft(record, "create", 201, given.once, warnings)
        record = replace(
            before, spec=given.spec, secrets=given.secrets, changed=now, changed_by=actor
        )
        return Draft(record, "update", 200, given.once, warnings)


def page_size(text: str | None) -> int:
    """How many entries a page has. Raises InvalidRequest."""
    if text is None:
        return DEFAULT_PAGE
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PAGE:
        raise InvalidRequest(f"`limit` must be 1 to {MAX_PAGE}.", param="limit")
    return int(text)


def _source(call: AdminCall) -> str:
    """Which of two of one name is meant; empty for the one that counts. Raises InvalidRequest."""
    source = call.query.get("source", "")
    if source not in ("", "file", "api"):
        raise InvalidRequest("`source` must be `file` or `api`.", param="source")
    return source


def _named(call: AdminCall) -> dict[str, Any]:
    """The object of a body whose name stands in the path. Raises InvalidRequest."""
    spec = spec_in(call, needed=True)
    if spec.pop("id", call.names["id"]) != call.names["id"]:
        raise InvalidRequest("`id` is not the one in the path; an id stays.", param="id")
    return spec
