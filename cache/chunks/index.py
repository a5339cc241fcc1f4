"""Chunks as they stand in a Redis 8 vector set: one set a tenant, one for the chunks of everyone.

Sets of their own, because a tenant's name in a filter is one mistake away from another tenant's
chunks, and because a filter over one large set measured 9.5 ms and missed neighbours where a set a
partition took 0.3 ms (see cache/semantic/index.py). Where some chunks of a set are for some keys
only, a filter says which, and once more whose they are.
"""

from __future__ import annotations

import asyncio
import re
from base64 import b64decode, b64encode
from collections.abc import Sequence
from hashlib import blake2b
from typing import TYPE_CHECKING

import orjson

from app.retrieval.chunk import EVERYONE, Chunk, Wanted
from cache.store import key_names as names
from cache.store.base import Store, script

if TYPE_CHECKING:
    from cache.store.sealing import Seal


_NAME = re.compile(r"[A-Za-z0-9._-]+")


class WrongVectors(Exception):
    """The vectors are not of the encoder, or not as long, as those in the index."""

    def __init__(self, there: str, given: str) -> None:
        super().__init__(f"the index holds vectors of {there}, not of {given}")


class ChunkIndex:
    """One index of chunks. Every method that is waited for raises StoreUnavailable and
    CommandRefused. With a ``seal`` the texts are encrypted."""

    def __init__(self, store: Store, name: str, encoder: str, seal: Seal | None = None) -> None:
        self._store = store
        self._name = name
        self._encoder = encoder
        self._seal = seal
        self._find = script("find_chunks")
        self._keep = script("keep_chunk")

    async def find(self, vector: bytes, wanted: Wanted, filter_: str = "") -> list[Chunk]:
        """The nearest chunks of the tenant's and of everyone's. Raises WrongVectors."""
        found = await asyncio.gather(
            *(self._in_set(tenant, vector, wanted, filter_) for tenant in (wanted.tenant, EVERYONE))
        )
        return [chunk for chunks in found for chunk in chunks]

    async def keep(self, chunk: Chunk, vector: bytes) -> None:
        """Add a chunk, or replace the one of its id. Raises WrongVectors."""
        key, about = self._keys(chunk.tenant)
        said = {  # what filters ask stands first, because they read until they find it
            "tenant": chunk.tenant,
            "keys": chunk.keys,
            "source": chunk.source,
            "hash": text_hash(chunk),
            "text": self._closed(chunk.text, key, chunk.id),
        }
        restricted = int(EVERYONE not in chunk.keys)
        args = [self._described(vector), vector, chunk.id, orjson.dumps(said), restricted]
        there = await self._store.run(self._keep, [key, about], args)
        if there is not None:
            raise WrongVectors(there.decode(), self._described(vector))

    async def known(self, tenant: str, ids: Sequence[str]) -> list[str | None]:
        """The hash of each chunk that is there; None for one that is not."""
        key, _ = self._keys(tenant)
        found = await asyncio.gather(*(self._store.command("VGETATTR", key, one) for one in ids))
        return [orjson.loads(said).get("hash") if said else None for said in found]

    async def forget(self, tenant: str, ids: Sequence[str]) -> None:
        """Remove chunks."""
        key, _ = self._keys(tenant)
        for one in ids:
            await self._store.command("VREM", key, one)

    async def clear(self, tenant: str) -> None:
        """Remove every chunk of a tenant, or those of everyone."""
        await self._store.command("DEL", *self._keys(tenant))

    async def count(self, tenant: str) -> int:
        """How many chunks a tenant has."""
        return int(await self._store.command("VCARD", self._keys(tenant)[0]) or 0)

    async def pieces(self, tenant: str, source: str) -> int:
        """How many chunks a file was cut into when it was loaded last."""
        found = await self._store.command("HGET", self._keys(tenant)[1], f"file:{source}")
        return int(found or 0)

    async def note_pieces(self, tenant: str, source: str, count: int) -> None:
        await self._store.command("HSET", self._keys(tenant)[1], f"file:{source}", count)

    async def _in_set(
        self, tenant: str, vector: bytes, wanted: Wanted, filter_: str
    ) -> list[Chunk]:
        key, about = self._keys(tenant)
        args = [self._described(vector), vector, wanted.k, filter_, _seen_by(tenant, wanted.key)]
        there, found = await self._store.run(self._find, [key, about], args)
        if there is not None:
            raise WrongVectors(there.decode(), self._described(vector))
        return [
            chunk
            for element, score, said in found
            if (chunk := self._chunk(key, element.decode(), score, said)) is not None
        ]

    def _chunk(self, key: str, element: str, score: bytes, said: bytes) -> Chunk | None:
        """A chunk as it is kept; None where it was not encrypted by us for this place."""
        known = orjson.loads(said)
        text = self._opened(known["text"], key, element)
        if text is None:
            return None
        # Redis gives (1 + cosine) / 2.
        cosine = 2 * float(score) - 1
        return Chunk(element, text, known["source"], cosine, known["tenant"], tuple(known["keys"]))

    def _keys(self, tenant: str) -> tuple[str, str]:
        of = "" if tenant == EVERYONE else tenant
        return names.chunks(of, self._name), names.about_chunks(of, self._name)

    def _described(self, vector: bytes) -> str:
        return f"{self._encoder}, {len(vector) // 4} dimensions"

    def _closed(self, text: str, key: str, element: str) -> str:
        if self._seal is None:
            return text
        return b64encode(self._seal.close(text.encode(), f"{key}{element}".encode())).decode()

    def _opened(self, text: str, key: str, element: str) -> str | None:
        if self._seal is None:
            return text
        try:
            data = b64decode(text, validate=True)
            return self._seal.open(data, f"{key}{element}".encode()).decode()
        except ValueError:
            return None


def _seen_by(tenant: str, key: str) -> str:
    """What the attributes of a chunk must say for a key to see it."""
    if not _NAME.fullmatch(key):  # it cannot stand in an expression, and no chunk can name it
        return f'.tenant == "{tenant}" and "*" in .keys'
    return f'.tenant == "{tenant}" and ("*" in .keys or "{key}" in .keys)'


def text_hash(chunk: Chunk) -> str:
    """What tells whether a chunk must be embedded and kept anew."""
    said = orjson.dumps([chunk.text, chunk.source, chunk.keys])
    return blake2b(said, digest_size=12).hexdigest()
