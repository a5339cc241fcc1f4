"""What the types of the section `admin` cannot say."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from app.config.admin import AdminKey
from app.config.checks.advice import WELL_KNOWN_HASHES
from app.config.decoding import Fault, Path
from app.config.settings import Settings

MAX_SECRETS = 2

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def admin_faults(settings: Settings, callers: Iterable[bytes]) -> Iterator[Fault]:
    """Faults of the section; ``callers`` are the digests of callers' secrets, which open nothing here."""
    if settings.admin is None:
        return
    if settings.admin.keys and settings.server.management is None:
        yield Fault(("admin",), "needs `server.management`, where the admin API is served")
    ids: dict[str, int] = {}
    digests: dict[str, str] = {digest.hex(): "a key of callers" for digest in callers}
    for index, key in enumerate(settings.admin.keys):
        if key is None:
            continue
        path: Path = ("admin", "keys", index)
        yield from _names(path, key)
        first = ids.setdefault(key.id, index)
        if first != index:
            yield Fault((*path, "id"), f"{key.id!r} is already the id of admin.keys[{first}]")
        if not key.scopes:
            yield Fault((*path, "scopes"), 'must name at least one; "*" is all of them')
        yield from _secrets(path, key)
        for digest in key.secret_sha256:
            if digest is None:
                continue
            owner = digests.setdefault(digest.lower(), f"admin.keys[{index}]")
            if owner != f"admin.keys[{index}]":
                yield Fault((*path, "secret_sha256"), f"is also that of {owner}")


def _names(path: Path, key: AdminKey) -> Iterator[Fault]:
    rule = "must be 1 to 64 letters, digits, dots, dashes or underscores"
    if not _NAME.fullmatch(key.id):
        yield Fault((*path, "id"), rule)
    for number, tenant in enumerate(key.tenants):
        if tenant is not None and not _NAME.fullmatch(tenant):
            yield Fault((*path, "tenants", number), rule)


def _secrets(path: Path, key: AdminKey) -> Iterator[Fault]:
    place = (*path, "secret_sha256")
    if not 1 <= len(key.secret_sha256) <= MAX_SECRETS:
        yield Fault(place, "needs one hash, or two: the old secret's and the new one's")
    for digest in key.secret_sha256:
        if digest is None:
            continue
        if not _SHA256.fullmatch(digest):
            yield Fault(place, "must be 64 hexadecimal digits; `headgate keys new` makes a pair")
        elif digest.lower() in WELL_KNOWN_HASHES:
            yield Fault(place, "is one that everybody knows; `headgate keys new` makes one")
