"""Which kept answers stand for which meanings: pointers by canonical key, neighbours by vector.

A meaning points to the fingerprint of an exact entry and holds nothing of it, so that whatever
purges, replaces or ends the entry ends what it answers by meaning too. Vectors are in Redis 8 vector
sets, one a partition: a filter on one large set measured 9.5 ms and missed neighbours, a set a
partition 0.3 ms. Elements have no time to live of their own: expiry and caps are here.

Every method that is waited for raises StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import Awaitable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from app.core.units import Digest, Millis
from cache.answers.quota import NOT_COUNTED, Grant, Quota
from cache.answers.shared_tier import Place
from cache.semantic.plan import Tier
from cache.store import key_names as names
from cache.store.base import CommandRefused, Store, UnknownCommand, read_counts, script

if TYPE_CHECKING:
    from cache.store.sealing import Seal

MAX_NEIGHBOURS = 5
MAX_VECTORS = 10_000  # in a partition
MAX_SAID = 2048  # bytes beside a vector; sixty words are 350
AROUND_VECTOR = 1024  # bytes of names and links in the server
KEEP_VERDICTS = 30 * 86400  # seconds for which bans and samples are kept
MAX_VERDICTS = 10_000  # bans, quarantines and samples of a tenant; the oldest go
MAX_BANNED = 100  # answers of one question


class Near(NamedTuple):
    """A kept prompt near to the one asked: its entry, its text, its cosine similarity."""

    digest: Digest
    text: str
    similarity: float


class Equal(NamedTuple):
    """An entry of the same canonical key, as it is kept; whether the key's tier is closed here."""

    digest: Digest
    entry: bytes
    closed: bool
    tier: Tier = "1"


class Samples(NamedTuple):
    """What was compared of one tier in one partition, and in the control arm of its model.

    All but the last two since the tier's last closing or opening; ``base_*`` is where the control
    arm stood at the last closing.
    """

    looked: int = 0
    differed: int = 0
    recent_looked: int = 0
    recent_differed: int = 0
    closed: int = 0
    closures: int = 0
    base_looked: int = 0
    base_differed: int = 0
    control_looked: int = 0
    control_differed: int = 0


class SemanticIndex:
    """See the file. With a ``seal`` the texts that stand beside vectors are encrypted."""

    def __init__(self, store: Store, seal: Seal | None = None, quota: Quota | None = None) -> None:
        self._quota = quota
        self._store = store
        self._seal = seal
        parts = ("cached",) if quota is not None else ()
        self._keep = script("keep_meaning", *parts)
        self._keep_vector = script("keep_vector", *parts)
        self._equal = script("equal_meaning")
        self._near = script("near_meaning")
        self._sample = script("sample", "verdicts")
        self._ban = script("ban", "verdicts")
        self._count = script("count_samples")
        self.vectors = True  # until the store says that it has none
        self.refused = 0  # commands about vectors that the store would not do

    async def equal(
        self, place: Place, keys: Sequence[tuple[Tier, bytes]], asked: Digest, partition: bytes
    ) -> Equal | None:
        """The entry of the first of these keys that has one which may answer what was asked."""
        tenant = place.tenant
        of_store = [
            names.banned(tenant, asked.hex()),
            names.evidence(tenant, partition.hex()),
            names.purged(tenant),
            *(names.meaning(tenant, key.hex()) for _, key in keys),
        ]
        prefixes = (names.answer(tenant, ""), names.quarantined(tenant, ""))
        states = [f"tier{tier}_closed" for tier, _ in keys]
        args = [asked.hex(), *prefixes, *states, *place.fields]
        which, digest, entry, closed = await self._store.run(self._equal, of_store, args)
        if digest is None or entry is None:
            return None
        tier = keys[int(which) - 1][0]
        return Equal(Digest(bytes.fromhex(digest.decode())), entry, bool(closed), tier)

    async def near(self, tenant: str, partition: bytes, vector: bytes, now: Millis) -> list[Near]:
        """The nearest kept prompts, nearest first; ``now`` in milliseconds."""
        key = names.neighbours(tenant, partition.hex())
        args = [vector, MAX_NEIGHBOURS, now]
        answer = await self._of_vectors(self._store.run(self._near, [key], args))
        found = []
        for element, score, attributes in answer or ():
            text = self._opened(orjson.loads(attributes)["text"], key, element)
            if text is not None:
                # Redis gives (1 + cosine) / 2.
                digest = Digest(bytes.fromhex(element.decode()))
                found.append(Near(digest, text, 2 * float(score) - 1))
        return found

    async def probe(self) -> bool:
        """Whether the store has vector sets; Redis 8 was the first that had."""
        await self._of_vectors(self._store.command("VCARD", names.PROBE + ":vectors"))
        return self.vectors

    async def _of_vectors(self, asked: Awaitable[Any]) -> Any:
        """The answer to a command about vectors; None where the store refuses it.

        One that does not know such commands is not asked again.
        """
        try:
            return await asked
        except CommandRefused as error:  # not logged, because it may repeat arguments
            if isinstance(error, UnknownCommand):
                self.vectors = False
            self.refused += 1
            return None

    def keep(
        self, tenant: str, keys: Iterable[bytes], digest: Digest, milliseconds: Millis
    ) -> None:
        """Have canonical keys point to an entry. Not waited for."""
        for key in keys:
            grant = self._grant(tenant, 2 * len(digest))
            if grant is not None:
                of_store = [names.meaning(tenant, key.hex()), names.cached(tenant)]
                args = [digest.hex(), milliseconds, names.prefix(tenant), *grant]
                self._store.tell(self._keep, of_store, args)

    async def keep_vector(
        self, tenant: str, partition: bytes, near: Near, vector: bytes, until: Millis
    ) -> None:
        """Add a neighbour, until a moment in milliseconds; one goes where there are too many."""
        key, element = names.neighbours(tenant, partition.hex()), near.digest.hex()
        text = self._closed(near.text, key, element.encode())
        said = orjson.dumps({"text": text, "until": until})
        bytes_each = len(vector) + MAX_SAID + AROUND_VECTOR
        grant = self._grant(tenant, bytes_each)
        if grant is None or len(said) > MAX_SAID:
            return
        args = [vector, element, said, until, MAX_VECTORS, bytes_each]
        args += [names.prefix(tenant), *grant]
        keys = [key, names.cached(tenant)]
        await self._of_vectors(self._store.run(self._keep_vector, keys, args))

    def _grant(self, tenant: str, size: int) -> Grant | None:
        """What to tell a script of the room that there is; None where nothing may be kept."""
        return self._quota.grant(tenant, size) if self._quota is not None else NOT_COUNTED

    def _closed(self, text: str, key: str, element: bytes) -> str:
        if self._seal is None:
            return text
        return b64encode(self._seal.close(text.encode(), key.encode() + element)).decode()

    def _opened(self, text: str, key: str, element: bytes) -> str | None:
        """A kept text; None where it was not encrypted by us for this vector."""
        if self._seal is None:
            return text
        try:
            return self._seal.open(b64decode(text, validate=True), key.encode() + element).decode()
        except ValueError:
            return None

    async def samples(self, tenant: str, partition: bytes, model: bytes, tier: Tier) -> Samples:
        """What verification found of a tier here so far."""
        return await self._sampled(tenant, partition, model, tier, 0, 0)

    async def add_sample(
        self, tenant: str, partition: bytes, model: bytes, tier: Tier, *, differs: bool, window: int
    ) -> Samples:
        """Count one comparison; the recent ones start anew after each ``window`` of them."""
        return await self._sampled(tenant, partition, model, tier, 1 + int(differs), window)

    async def _sampled(
        self, tenant: str, partition: bytes, model: bytes, tier: Tier, what: int, window: int
    ) -> Samples:
        keys = [
            names.evidence(tenant, partition.hex()),
            names.evidence(tenant, model.hex()),
            names.verdicts(tenant),
        ]
        args = [tier, what, window, KEEP_VERDICTS, MAX_VERDICTS, names.prefix(tenant)]
        return Samples(*map(int, await self._store.run(self._sample, keys, args)))

    def count(self, tenant: str, place: bytes, amounts: dict[str, int]) -> None:
        """Add to the counts of a model: the control arm's, and what people look at. Not waited for."""
        args: list[Any] = [KEEP_VERDICTS]
        for name, amount in amounts.items():
            args += (name, amount)
        self._store.tell(self._count, [names.evidence(tenant, place.hex())], args)

    async def counts(self, tenant: str, place: bytes) -> dict[str, int]:
        """The counts of a model."""
        found = await read_counts(self._store, names.evidence(tenant, place.hex()))
        return {name.decode(): count for name, count in found.items()}

    async def change(self, tenant: str, partition: bytes, tier: Tier, samples: Samples) -> None:
        """Close or open a tier: from here on it counts from what ``samples`` says."""
        fields: list[Any] = []
        for name, value in zip(Samples._fields[:8], samples[:8], strict=True):
            fields += (f"tier{tier}_{name}", value)
        await self._store.command("HSET", names.evidence(tenant, partition.hex()), *fields)

    async def is_banned(self, tenant: str, asked: Digest, served: Digest) -> bool:
        """Whether one must not be answered by the other, or by anything, any more."""
        pair, alone = await asyncio.gather(
            self._store.command("SISMEMBER", names.banned(tenant, asked.hex()), served.hex()),
            self._store.command("EXISTS", names.quarantined(tenant, served.hex())),
        )
        return bool(pair or alone)

    async def ban(
        self, tenant: str, asked: Digest, served: Digest, *, quarantine: bool = False
    ) -> None:
        """Never answer the one by the other again; with a ``quarantine``, nothing but its own
        prompt by this entry."""
        keys = [
            names.verdicts(tenant),
            names.banned(tenant, asked.hex()),
            names.quarantined(tenant, served.hex()),
        ]
        limits = (KEEP_VERDICTS, MAX_VERDICTS, MAX_BANNED)
        args = [served.hex(), int(quarantine), *limits, names.prefix(tenant)]
        await self._store.run(self._ban, keys, args)

    async def forget(
        self, tenant: str, keys: Sequence[bytes], partition: bytes, served: Digest
    ) -> None:
        """Give up the meanings that lead to an entry; the entry stays for its own prompt."""
        if keys:
            meanings = [names.meaning(tenant, key.hex()) for key in keys]
            await self._store.command("DEL", *meanings)
        if self.vectors:
            neighbours = names.neighbours(tenant, partition.hex())
            await self._of_vectors(self._store.command("VREM", neighbours, served.hex()))
