"""Sessions of operators at the dashboard, kept in the store for eight hours."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from time import monotonic
from typing import NamedTuple

import orjson

from app.policy.admins import AdminKey, AdminKeys
from cache.store import key_names as names
from cache.store.base import Store

SESSION_SECONDS = 8 * 3600
SECRET_BYTES = 32
KNOWN_SECONDS = 1.0  # for which a session that was signed out of in another worker still opens
MAX_KNOWN = 1_000
LINK_KEPT_SECONDS = 86_400


class Session(NamedTuple):
    """Somebody who is signed in. ``token`` must stand on everything that changes something."""

    who: AdminKey
    token: str


class Sessions:
    """Opens, finds and ends sessions. The store has digests of what cookies hold.

    A session is one of an admin key, and ends with it. Everything here raises StoreUnavailable.
    """

    def __init__(self, store: Store, keys: AdminKeys) -> None:
        self._store = store
        self._keys = keys
        self._known: dict[str, tuple[float, Session]] = {}

    async def open(self, who: AdminKey) -> tuple[str, Session]:
        """A new session, and what its cookie holds."""
        secret, token = secrets.token_urlsafe(SECRET_BYTES), secrets.token_urlsafe(SECRET_BYTES)
        document = orjson.dumps({"admin": who.id, "token": token})
        place = names.operator_session(_digest(secret))
        await self._store.command("SET", place, document, "EX", SESSION_SECONDS)
        return secret, Session(who, token)

    async def find(self, secret: str) -> Session | None:
        """The session whose cookie holds this; None where there is none, or its key is gone."""
        digest, now = _digest(secret), monotonic()
        until, known = self._known.get(digest, (0.0, None))
        if known is not None and now < until:
            return known
        found = await self._store.command("GET", names.operator_session(digest))
        who = self._keys.named(orjson.loads(found)["admin"]) if found is not None else None
        if found is None or who is None:
            self._known.pop(digest, None)
            return None
        session = Session(who, orjson.loads(found)["token"])
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[digest] = now + KNOWN_SECONDS, session
        return session

    async def end(self, secret: str) -> None:
        """Sign out."""
        digest = _digest(secret)
        self._known.pop(digest, None)
        await self._store.command("DEL", names.operator_session(digest))

    async def use_link(self, secret: str) -> bool:
        """Whether a one-time sign-in link is used for the first time, by whichever worker."""
        place = names.sign_in_link(_digest(secret))
        return bool(await self._store.command("SET", place, 1, "NX", "EX", LINK_KEPT_SECONDS))


def same(one: str, other: str) -> bool:
    """Whether two secrets are equal, in constant time."""
    return hmac.compare_digest(one.encode(), other.encode())


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
