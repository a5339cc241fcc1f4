"""The answers that the replicas keep for each other: looked up, kept, purged.

Every method but ``keep`` raises StoreUnavailable. A purge writes down its moment, whatever it
covers: an entry counts only if its request was asked after it. So a purge is O(1), and also covers
answers that were under way.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from app.core.units import NO_DIGEST, Digest, Millis
from cache.answers.entry import CacheEntry, Undecodable
from cache.answers.entry_bytes import Entries
from cache.answers.quota import NOT_COUNTED, Grant, Quota
from cache.store import key_names as names
from cache.store.base import Store, script
from cache.store.key_names import FLIGHT_LEASE_MS

ENTRIES_AT_ONCE = 64
BYTES_AT_ONCE = 512 << 10
EVERYTHING = "*"

Load = list[tuple[str, bytes, int]]  # name, bytes and milliseconds to live of each entry


class Place(NamedTuple):
    """Where answers are kept and what purges cover them: a scope's tenant, a model, a namespace.

    ``tenant`` is empty for the global scope; ``fields`` name the purges.
    """

    tenant: str
    fields: tuple[str, ...]

    @classmethod
    def of(cls, tenant: str, alias: str, namespace: str) -> Place:
        both = purge_field(alias, namespace)
        return cls(
            tenant, (EVERYTHING, purge_field(alias, None), purge_field(None, namespace), both)
        )


class Found(NamedTuple):
    """``now`` is the store's time; ``holder`` who asks the upstream right now."""

    now: Millis
    entries: list[CacheEntry | None]
    holder: str | None


def purge_field(alias: str | None, namespace: str | None) -> str:
    """The name under which a purge of these stands. A namespace has no slash, an alias may."""
    if alias is None and namespace is None:
        return EVERYTHING
    where = "" if namespace is None else f"namespace={namespace}"
    what = "" if alias is None else f"model={alias}"
    return f"{where}/{what}"


class Responses:
    """``embedded_size`` bounds the bytes kept in a store that lives in this process, a ``quota``
    those in one that is shared."""

    def __init__(
        self,
        store: Store,
        embedded_size: int,
        coded: Entries | None = None,
        quota: Quota | None = None,
    ) -> None:
        self._quota = quota
        self._store = store
        self._coded = coded or Entries()
        self._lookup = script("lookup")
        self._keep = script("keep", *(("cached",) if quota is not None else ()))
        self._purge = script("purge")
        self._bound = None if store.shared else _Bound(embedded_size)
        self.undecodable = 0  # entries dropped because they could not be read

    @property
    def out(self) -> bool:
        """Whether there is no store to ask."""
        return self._store.breaker.open

    async def look_up(
        self,
        place: Place,
        digests: Sequence[Digest],
        *,
        read: bool = True,
        max_age: int | None = None,
        flight: str = "",
        flight_digest: Digest = NO_DIGEST,
        policy: str = "",
    ) -> Found:
        """The entries of some fingerprints, stale ones too, that have passed the rules of ``policy``.

        With a ``flight`` to begin, and not all of them fresh, ``holder`` is who asks the upstream
        under ``flight_digest``: that flight, or an earlier one. ``max_age`` is seconds.
        """
        age = -1 if max_age is None else max_age * 1000
        if len(digests) <= ENTRIES_AT_ONCE:
            return await self._look_up(place, digests, read, age, flight, flight_digest, policy)
        assert not flight
        spans = range(0, len(digests), ENTRIES_AT_ONCE)
        found = await asyncio.gather(
            *(
                self._look_up(
                    place, digests[i : i + ENTRIES_AT_ONCE], read, age, "", NO_DIGEST, policy
                )
                for i in spans
            )
        )
        return Found(found[0].now, [entry for part in found for entry in part.entries], None)

    async def _look_up(
        self,
        place: Place,
        digests: Sequence[Digest],
        read: bool,
        age: int,
        flight: str,
        flight_digest: Digest,
        policy: str,
    ) -> Found:
        tenant = place.tenant
        keys = [names.purged(tenant), names.flight(tenant, flight_digest.hex())]
        keys += [names.answer(tenant, digest.hex()) for digest in digests]
        args = [FLIGHT_LEASE_MS, flight, age, int(read), policy, *place.fields]
        answer = await self._store.run(self._lookup, keys, args)
        # Lua drops what is nil at the end of a list.
        values = [*answer[2:], *[None] * (len(keys) - len(answer))]
        entries = [self.decoded(key, value) for key, value in zip(keys[2:], values, strict=True)]
        holder = answer[1]
        return Found(Millis(int(answer[0])), entries, holder.decode() if holder else None)

    def decoded(self, key: str, value: bytes | None) -> CacheEntry | None:
        """The entry in these bytes; one that cannot be read is dropped and counted."""
        if value is None:
            return None
        try:
            return self._coded.decode(key, value)
        except Undecodable:
            self.undecodable += 1
            # Only what was read: a good answer may stand there by the time this arrives.
            self._store.tell(script("drop_bad"), [key], [value])
            return None

    def packed(self, place: Place, digest: Digest, answer: CacheEntry) -> bytes:
        """The bytes of an entry, as ``keep`` takes them; may be called in a thread."""
        return self._coded.encode(names.answer(place.tenant, digest.hex()), answer)

    def keep(
        self,
        place: Place,
        entries: Iterable[tuple[Digest, CacheEntry]],
        flight: str = "",
        flight_digest: Digest = NO_DIGEST,
        packed: Mapping[Digest, bytes] = MappingProxyType({}),
    ) -> None:
        """Keep answers under their fingerprints, and end a flight. Not waited for, never raises.

        ``packed`` holds the bytes of those that were encoded already.
        """
        tenant = place.tenant
        pairs = list(self._kept(place, entries, packed))
        given_up: list[str] = []
        if self._bound is not None:
            pairs = [pair for pair in pairs if self._bound.fits(pair[1])]
            for key, value, _ in pairs:
                given_up += self._bound.add(key, len(value))
        loads = list(_in_loads(pairs)) or ([[]] if flight else [])
        for load in loads:
            ends = flight if load is loads[-1] else ""
            grant = self._grant(tenant, load)
            if grant is None:
                load, grant = [], NOT_COUNTED  # noqa: PLW2901 - only the flight is left to end
            if not (load or ends):
                continue
            keys = [names.flight(tenant, flight_digest.hex()), names.cached(tenant)]
            args: list[str | bytes | int] = [ends, names.prefix(tenant), *grant]
            for key, value, milliseconds in load:
                keys.append(key)
                args += (value, milliseconds)
            self._store.tell(self._keep, keys, args)
        self._drop(given_up)

    async def purge(self, tenant: str, alias: str | None, namespace: str | None) -> None:
        """Forget a tenant's answers: all of them, or those of a model, a namespace or both."""
        field = purge_field(alias, namespace)
        await self._store.run(self._purge, [names.purged(tenant)], [field])

    async def purges_done(self) -> None:
        """Tell those who keep copies that something was purged."""
        await self._store.command("INCR", names.PURGES)

    def _grant(self, tenant: str, load: Load) -> Grant | None:
        """What to tell the script of the room that there is; None where nothing may be kept."""
        if self._quota is None or not load:
            return NOT_COUNTED
        return self._quota.grant(tenant, sum(len(value) for _, value, _ in load))

    def _kept(
        self,
        place: Place,
        entries: Iterable[tuple[Digest, CacheEntry]],
        packed: Mapping[Digest, bytes],
    ) -> Iterator[tuple[str, bytes, Millis]]:
        """Name, bytes and milliseconds to live of what can be kept."""
        for digest, answer in entries:
            milliseconds = Millis(answer.kept_until - answer.stored)
            if milliseconds > 0:
                value = packed.get(digest) or self.packed(place, digest, answer)
                yield names.answer(place.tenant, digest.hex()), value, milliseconds

    def _drop(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._store.tell(script("drop"), [key], [])


def _in_loads(
    pairs: Iterable[tuple[str, bytes, int]],
) -> Iterator[Load]:
    """What is kept, in loads that hold up nobody else's commands."""
    load: Load = []
    size = 0
    for pair in pairs:
        if load and (len(load) == ENTRIES_AT_ONCE or size + len(pair[1]) > BYTES_AT_ONCE):
            yield load
            load, size = [], 0
        load.append(pair)
        size += len(pair[1])
    if load:
        yield load


class _Bound:
    """Which entries to give up, oldest first, so that those kept stay under ``size`` bytes."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._used = 0

    def fits(self, value: bytes) -> bool:
        return len(value) <= self._size

    def add(self, key: str, size: int) -> list[str]:
        self._used += size - self._sizes.pop(key, 0)
        self._sizes[key] = size
        dropped = []
        while self._used > self._size:
            oldest, its = self._sizes.popitem(last=False)
            self._used -= its
            dropped.append(oldest)
        return dropped
