"""Which kept answers stand for which meanings: pointers by canonical key, neighbours by vector.

A meaning points to the fingerprint of an exact entry and holds nothing of it, so that whatever
purges, replaces or ends the entry ends what it answers by meaning too. Vectors are in Redis 8 vector
sets, one a partition: a filter on one large set measured 9.5 ms and missed neighbours, a set a
partition 0.3 ms. Elements have no time to live of their own: expiry and caps are here.

Every method that asks raises StoreUnavailable.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, NamedTuple

import orjson

from cache import names
from cache.connection import Store, script

MAX_NEIGHBOURS = 5
MAX_VECTORS = 10_000  # in a partition
KEEP_VERDICTS = 30 * 86400  # seconds for which bans and tallies are kept
VERDICTS = ("tier1", "tier2", "control")


class Near(NamedTuple):
    """A kept prompt near to the one asked: its entry, its text, its cosine similarity."""

    digest: bytes
    text: str
    similarity: float


class Evidence(NamedTuple):
    """Counts of a partition by name, and the counts of the control arm over its whole model."""

    counts: dict[str, int]

    def get(self, name: str) -> int:
        return self.counts.get(name, 0)


class Meanings:
    """See the file."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._keep = script("keep_meaning")
        self._count = script("count_evidence")

    async def equal(self, tenant: str, key: bytes) -> bytes | None:
        """The fingerprint of the entry that a canonical key points to."""
        found = await self._store.command("GET", names.meaning(tenant, key.hex()))
        return bytes.fromhex(found.decode()) if found is not None else None

    async def near(self, tenant: str, partition: bytes, vector: bytes, now: int) -> list[Near]:
        """The nearest kept prompts, nearest first; ``now`` in milliseconds."""
        key = names.neighbours(tenant, partition.hex())
        answer = await self._store.command(
            "VSIM", key, "FP32", vector, "WITHSCORES", "WITHATTRIBS", "COUNT", MAX_NEIGHBOURS
        )
        found = []
        for element, score, attributes in _triples(answer):
            said = orjson.loads(attributes) if attributes else {}
            if said.get("until", 0) <= now:
                await self._store.command("VREM", key, element)
                continue
            # Redis gives (1 + cosine) / 2.
            near = Near(bytes.fromhex(element.decode()), said["text"], 2 * float(score) - 1)
            found.append(near)
        return found

    def keep(self, tenant: str, key: bytes | None, digest: bytes, milliseconds: int) -> None:
        """Have a canonical key point to an entry. Not waited for."""
        if key is not None:
            names_of = [names.meaning(tenant, key.hex())]
            self._store.tell(self._keep, names_of, [digest.hex(), milliseconds])

    async def keep_vector(
        self, tenant: str, partition: bytes, digest: bytes, text: str, vector: bytes, until: int
    ) -> None:
        """Add a neighbour, until a moment in milliseconds; one goes where there are too many."""
        key = names.neighbours(tenant, partition.hex())
        said = orjson.dumps({"text": text, "until": until})
        run = self._store.command
        await run("VADD", key, "FP32", vector, digest.hex(), "SETATTR", said)
        _, count = await asyncio.gather(run("PEXPIREAT", key, until, "GT"), run("VCARD", key))
        if await run("PTTL", key) < 0:
            await run("PEXPIREAT", key, until)
        if int(count) > MAX_VECTORS:
            chosen = await run("VRANDMEMBER", key)
            if chosen is not None and chosen.decode() != digest.hex():
                await run("VREM", key, chosen)

    async def evidence(self, tenant: str, partition: bytes, model: bytes) -> Evidence:
        """What verification found here so far."""
        own, wide = await asyncio.gather(
            self._store.command("HGETALL", names.evidence(tenant, partition.hex())),
            self._store.command("HGETALL", names.evidence(tenant, model.hex())),
        )
        counts = _counts(own)
        counts |= {f"model_{name}": count for name, count in _counts(wide).items()}
        return Evidence(counts)

    def count(self, tenant: str, place: bytes, amounts: dict[str, int]) -> None:
        """Add to the counts of a partition or a model. Not waited for."""
        args: list[Any] = [KEEP_VERDICTS]
        for name, amount in amounts.items():
            args += (name, amount)
        self._store.tell(self._count, [names.evidence(tenant, place.hex())], args)

    async def forget(self, tenant: str, partition: bytes, names_of: Sequence[str]) -> None:
        """Set counts of a partition back to nothing."""
        await self._store.command("HDEL", names.evidence(tenant, partition.hex()), *names_of)

    async def is_banned(self, tenant: str, asked: bytes, served: bytes) -> bool:
        """Whether one must not be answered by the other any more."""
        key = names.banned(tenant, asked.hex())
        return bool(await self._store.command("SISMEMBER", key, served.hex()))

    async def ban(
        self, tenant: str, partition: bytes | None, key: bytes | None, asked: bytes, served: bytes
    ) -> None:
        """Never again, and give up the meaning that led there; the exact entry stays."""
        run = self._store.command
        banned = names.banned(tenant, asked.hex())
        await run("SADD", banned, served.hex())
        await run("EXPIRE", banned, KEEP_VERDICTS)
        if key is not None:
            await run("DEL", names.meaning(tenant, key.hex()))
        if partition is not None:
            await run("VREM", names.neighbours(tenant, partition.hex()), served.hex())


def _triples(answer: Any) -> list[tuple[bytes, bytes, bytes | None]]:
    items = list(answer or ())
    return list(zip(items[::3], items[1::3], items[2::3], strict=True))


def _counts(answer: Any) -> dict[str, int]:
    flat = (
        answer.items() if isinstance(answer, dict) else zip(answer[::2], answer[1::2], strict=True)
    )
    return {name.decode(): int(count) for name, count in flat}
