"""The operators' objects as one: those of the file, which nobody changes here, and those of the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from heapq import nsmallest
from typing import Any

import msgspec

from app.config.checks.references import key_digests
from app.config.decoding import Path
from app.config.loading import Loaded
from app.config.settings import Settings
from app.core.errors import Conflict, NotFound
from app.policy.admins import AdminKey
from app.policy.callers import Callers
from app.routes.admin.objects.records import (
    KEYS,
    LIMITS,
    TENANTS,
    Kind,
    record_of,
    shown,
    shown_of_file,
)
from cache.registry.objects import Stored
from cache.registry.registry import Registry
from cache.store.base import StoreUnavailable


class Directory:
    """``now`` gives unix seconds. What waits for the store raises StoreUnavailable."""

    def __init__(
        self, loaded: Loaded, callers: Callers, registry: Registry, now: Callable[[], float]
    ) -> None:
        self.registry = registry
        self.now = now
        self._callers = callers
        self._loaded = loaded
        settings = loaded.settings
        self._places = {key.id: index for index, key in enumerate(settings.keys)}
        # Of the secrets that the file gives to callers and operators.
        self.digests = frozenset(
            digest.hex() for key in settings.keys for digest in key_digests(key)
        )
        if settings.admin is not None:
            self.digests |= {d.lower() for key in settings.admin.keys for d in key.secret_sha256}
        self._filed: Mapping[str, Mapping[str, msgspec.Struct]] = {
            "keys": {key.id: key for key in settings.keys},
            "tenants": settings.tenants,
            "limits": settings.limits,
            "budgets": settings.budgets,
        }

    @property
    def settings(self) -> Settings:
        """The file with the tenants, limits and budgets made at run time."""
        return self._callers.settings

    def filed(self, kind: Kind, name: str) -> msgspec.Struct | None:
        """The file's object of this name."""
        return self._filed[kind.name].get(name)

    def refuse_filed(self, kind: Kind, name: str) -> None:
        """Raises Conflict for what the file declares, because the file wins."""
        if self.filed(kind, name) is not None:
            raise Conflict(
                f"The {kind.one} {name!r} is declared at {self._line(kind, name)}; change it there.",
                code="managed_by_file",
                param="id",
            )

    async def stored(self, kind: Kind, name: str) -> Stored | None:
        """The store's object, or that of the last copy while the store is out."""
        with suppress(StoreUnavailable):
            await self.registry.catch_up()
        return self.registry.snapshot.get(kind.name, name)

    async def show(self, kind: Kind, name: str, who: AdminKey, source: str) -> dict[str, Any]:
        """One object as this operator may see it, the file's first. Raises NotFound."""
        section = self.filed(kind, name) if source != "api" else None
        if section is not None and sees_section(kind, name, section, who):
            return self.show_filed(kind, name, section)
        stored = await self.stored(kind, name) if source != "file" else None
        if stored is not None and sees(kind, name, stored, who):
            return self.show_stored(kind, name, stored)
        raise missing(kind, name)

    def show_filed(self, kind: Kind, name: str, section: msgspec.Struct) -> dict[str, Any]:
        return shown_of_file(kind, name, section, self._line(kind, name))

    def _line(self, kind: Kind, name: str) -> str:
        """Where the file declares it, as ``gateway.yaml:12``."""
        place: Path = (kind.name, name)
        if kind is KEYS:
            place = (kind.name, self._places[name])
        return f"{self._loaded.source}:{self._loaded.lines.get(place, 1)}"

    def show_stored(self, kind: Kind, name: str, stored: Stored) -> dict[str, Any]:
        shadowed = self.filed(kind, name) is not None
        return shown(kind, name, stored, self.now(), shadowed=shadowed)

    async def page(
        self, kind: Kind, who: AdminKey, after: str, most: int, tenant: str | None
    ) -> tuple[list[dict[str, Any]], str | None]:
        """Objects in the order of their names, and after which name the next page begins."""
        tenants = [tenant] if tenant is not None else who.tenants
        found = list(self._filed_after(kind, after, most, tenants))
        found += [
            (name, self.show_stored(kind, name, stored))
            for name, stored in await self._stored_after(kind, after, most + 1, tenants)
        ]
        found.sort(key=lambda item: item[0].encode())
        chosen: list[dict[str, Any]] = []
        last = None
        for name, document in found:
            # A stored one stays with the file's of its name.
            if len(chosen) >= most and name != last:
                return chosen, last
            chosen.append(document)
            last = name
        return chosen, None

    def _filed_after(
        self, kind: Kind, after: str, most: int, tenants: Any
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        found = (
            (name, section)
            for name, section in self._filed[kind.name].items()
            if name.encode() > after.encode()
            and (tenants is None or _tenant_of(kind, name, section) in (*tenants, None))
        )
        for name, section in nsmallest(most + 1, found, key=lambda item: item[0].encode()):
            yield name, self.show_filed(kind, name, section)

    async def _stored_after(
        self, kind: Kind, after: str, most: int, tenants: Any
    ) -> list[tuple[str, Stored]]:
        objects = self.registry.objects
        try:
            if kind is KEYS and tenants is not None:
                pages = [
                    await objects.page_of_tenant(kind.name, tenant, after, most)
                    for tenant in sorted(tenants)
                ]
                found = sorted((one for page in pages for one in page), key=lambda one: one[0])
                return found[:most]
            if kind is TENANTS and tenants is not None:
                names = sorted(name for name in tenants if name > after)
                stored = [(name, await objects.get(kind.name, name)) for name in names[:most]]
                return [(name, one) for name, one in stored if one is not None]
            return await objects.page(kind.name, after, most)
        except StoreUnavailable:
            return self._copied_after(kind, after, most, tenants)

    def _copied_after(
        self, kind: Kind, after: str, most: int, tenants: Any
    ) -> list[tuple[str, Stored]]:
        """The same of the last copy, while the store is out."""
        who = AdminKey("", frozenset(), frozenset(tenants) if tenants is not None else None)
        found = (
            (name, one)
            for name, one in self.registry.snapshot.of(kind.name)
            if name > after and sees(kind, name, one, who)
        )
        return nsmallest(most, found)


def _tenant_of(kind: Kind, name: str, section: Any) -> str | None:
    """Whose it is; None for what is everybody's."""
    if kind is KEYS:
        return str(section.tenant)
    return name if kind is TENANTS else None


def sees_section(kind: Kind, name: str, section: msgspec.Struct, who: AdminKey) -> bool:
    """Whether an object of the file is there for this operator."""
    tenant = _tenant_of(kind, name, section)
    return tenant is None or who.sees(tenant)


def sees(kind: Kind, name: str, stored: Stored, who: AdminKey) -> bool:
    """The same of one of the store."""
    if who.tenants is None or kind is LIMITS:
        return True
    if kind is KEYS:
        return who.sees(record_of(stored).tenant)
    return who.sees(name) if kind is TENANTS else True


def missing(kind: Kind, name: str) -> NotFound:
    return NotFound(f"There is no {kind.one} {name!r}.", param="id", retryable=False)
