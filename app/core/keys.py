"""Callers' keys: what they are, how one is found, and how a new one is made.

A key's secret is never kept, only its SHA-256. Secrets are long and random, so a fast hash is
enough: there is nothing to guess (source: OWASP on hashing high-entropy tokens).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import fnmatchcase
from typing import NamedTuple

from app.core.budgets import BudgetRule
from app.core.limits import LimitRule

SECRET_BYTES = 32  # 256 bits

# Under whose name the gateway books its own calls; no tenant of a configuration can have it.
GATEWAY = "~headgate"


class Key(NamedTuple):
    """One caller, with everything that it may do.

    ``expires`` is in unix seconds, ``cache_ttl`` in seconds; ``models`` are the aliases it may use.
    """

    id: str
    tenant: str
    digests: tuple[bytes, ...]
    capabilities: frozenset[str]
    models: frozenset[str]
    expires: float | None
    limits: LimitRule | None = None
    budget: BudgetRule | None = None
    max_output_tokens: int | None = None
    cache_ttl: float | None = None
    portkey: bool = False


class KeyRing:
    """Every key, found by the digest of a presented secret in O(1)."""

    __slots__ = ("_by_digest",)

    def __init__(self, keys: Iterable[Key]) -> None:
        self._by_digest = {digest: (digest, key) for key in keys for digest in key.digests}

    def __iter__(self) -> Iterator[Key]:
        return iter({key.id: key for _, key in self._by_digest.values()}.values())

    def find(self, secret: bytes) -> Key | None:
        """The key this secret opens, or None.

        The look-up is by a hash, so its time says nothing about a stored secret; the digests are
        then compared in constant time all the same.
        """
        digest = hashlib.sha256(secret).digest()
        found = self._by_digest.get(digest)
        if found is None or not hmac.compare_digest(found[0], digest):
            return None
        return found[1]


def presented_secret(headers: Mapping[bytes, bytes]) -> bytes:
    """The secret in a request's headers; empty where there is none."""
    of_portkey = headers.get(b"x-portkey-api-key")
    if of_portkey is not None:
        return of_portkey.strip()  # what else there is then goes nowhere
    authorization = headers.get(b"authorization")
    if authorization is not None:
        scheme, _, secret = authorization.partition(b" ")
        if scheme.lower() == b"bearer":
            return secret.strip()
    return (headers.get(b"x-api-key") or headers.get(b"api-key") or b"").strip()


def allowed_models(patterns: Iterable[str], aliases: Iterable[str]) -> frozenset[str]:
    """The aliases that a key's globs (``*``, ``?``, ``[ab]``) let it use."""
    patterns = tuple(patterns)
    return frozenset(
        alias for alias in aliases if any(fnmatchcase(alias, pattern) for pattern in patterns)
    )


def digest_of(secret: str) -> bytes:
    return hashlib.sha256(secret.encode()).digest()


def new_secret(key_id: str) -> str:
    """A fresh secret, ``hg-<id>-<random>``; the id in it is for people, nothing reads it."""
    return f"hg-{key_id}-{secrets.token_hex(SECRET_BYTES)}"
