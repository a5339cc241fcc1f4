"""Who may use the admin API: its keys, found by a secret, and what each may do."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from typing import NamedTuple

from app.config.settings import Settings


class AdminKey(NamedTuple):
    """One operator. ``scopes`` are names such as ``keys:read``; ``keys:*`` and ``*`` stand for several.

    ``tenants`` are those that it may see and change; None is all of them.
    """

    id: str
    scopes: frozenset[str]
    tenants: frozenset[str] | None
    digests: tuple[bytes, ...] = ()

    def may(self, scope: str) -> bool:
        """Whether it has this scope; everybody has the empty one."""
        subject = scope.partition(":")[0]
        return not scope or not self.scopes.isdisjoint((scope, f"{subject}:*", "*"))

    def sees(self, tenant: str) -> bool:
        """Whether what belongs to this tenant is there for it."""
        return self.tenants is None or tenant in self.tenants


class AdminKeys:
    """Every admin key of a configuration, found by the digest of a presented secret."""

    def __init__(self, keys: Iterable[AdminKey]) -> None:
        self._by_digest = {digest: (digest, key) for key in keys for digest in key.digests}

    @property
    def first(self) -> AdminKey | None:
        """The one that stands first in the configuration."""
        return next((key for _, key in self._by_digest.values()), None)

    def named(self, name: str) -> AdminKey | None:
        """The key of this id."""
        return next((key for _, key in self._by_digest.values() if key.id == name), None)

    def __bool__(self) -> bool:
        return bool(self._by_digest)

    def find(self, secret: bytes) -> AdminKey | None:
        """The key that this secret opens; digests are compared in constant time."""
        digest = hashlib.sha256(secret).digest()
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]


def admin_keys(settings: Settings) -> AdminKeys:
    """The admin keys of a configuration; none without its section `admin`."""
    section = settings.admin
    return AdminKeys(
        AdminKey(
            key.id,
            frozenset(key.scopes),
            frozenset(key.tenants) if key.tenants else None,
            tuple(bytes.fromhex(digest) for digest in key.secret_sha256),
        )
        for key in (section.keys if section is not None else ())
    )
