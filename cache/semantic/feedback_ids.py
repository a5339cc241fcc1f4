"""Ids of answers by meaning, for feedback: signed, so that only what was really served has one.

Every replica must know what another one signed: the secret comes from `store.encryption_keys`, or
the replicas agree on a random one in the store. It has no time to live there; those who know it put
it back where a server lost it.
"""

from __future__ import annotations

import asyncio
import hmac
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Iterable, Sequence
from contextlib import suppress
from hashlib import blake2b
from secrets import token_bytes
from typing import NamedTuple

from app.config.values.encryption_key import derived
from app.core.units import Digest
from cache.store.base import Store, StoreUnavailable, script
from cache.store.key_names import FEEDBACK_SECRET

AGREE_SECONDS = 5.0
FIRST_SECONDS = 0.1  # between two tries, until there is a secret
REMEMBERED = 2  # secrets: a server that came back empty may bring a new one
_DIGEST, _MAC = 32, 16
_ID = re.compile(r"[A-Za-z0-9_-]{107}").fullmatch  # two digests and a code


class Served(NamedTuple):
    """What an id names: the answer ``served``, given to who asked ``asked``; empty tenant: shared by all."""

    tenant: str
    asked: Digest
    served: Digest


class FeedbackIds:
    """With ``keys`` (32 bytes each, the first signs) there is no need to agree on a secret."""

    def __init__(self, store: Store, keys: Sequence[bytes] = ()) -> None:
        self._store = store
        self._secrets = [derived(key, b"feedback-id") for key in keys]
        self._agreed = bool(keys)

    @property
    def known(self) -> bool:
        """Whether there is a secret to sign with and to verify by."""
        return bool(self._secrets)

    def sign(self, what: Served) -> bytes | None:
        """The id; None while there is no secret."""
        if not self._secrets:
            return None
        code = _code(self._secrets[0], what)
        return urlsafe_b64encode(what.asked + what.served + code).rstrip(b"=")

    def read(self, text: str, tenants: Iterable[str]) -> Served | None:
        """What an id names, where it was signed for one of these tenants."""
        if not _ID(text):
            return None
        data = urlsafe_b64decode(text + "=")
        asked, served, code = data[:_DIGEST], data[_DIGEST : 2 * _DIGEST], data[2 * _DIGEST :]
        for tenant in tenants:
            what = Served(tenant, Digest(asked), Digest(served))
            if any(hmac.compare_digest(_code(secret, what), code) for secret in self._secrets):
                return what
        return None

    async def keep_agreeing(self) -> None:
        """Agree on a secret, and hold on to it, while this task runs."""
        while not self._agreed:
            with suppress(StoreUnavailable):
                await self.agree()
            await asyncio.sleep(AGREE_SECONDS if self._secrets else FIRST_SECONDS)
        await asyncio.Event().wait()

    async def agree(self) -> None:
        """Take the store's secret, or give it ours. Raises StoreUnavailable."""
        mine = self._secrets[0] if self._secrets else token_bytes(32)
        agreed = bytes(await self._store.run(script("agree"), [FEEDBACK_SECRET], [mine]))
        if agreed not in self._secrets[:1]:
            self._secrets = [agreed, *self._secrets][:REMEMBERED]


def _code(secret: bytes, what: Served) -> bytes:
    """A keyed BLAKE2b hash (RFC 7693) over the tenant and both fingerprints."""
    said = b"%b\n%b%b" % (what.tenant.encode(), what.asked, what.served)
    return blake2b(said, key=secret, digest_size=_MAC).digest()
