"""How much room the cache takes in a shared store: in all, by tenant, and as the server has it.

The scripts count each tenant's share exactly (cached.lua): who is at its bound gives up its own
oldest. The sum over tenants lies on other nodes of a cluster, so it is read about once a second;
between two readings a worker lets no more in than its part of what was free then. Half of the bound
is shared evenly: who has less than that may grow though the cache is full, so that a large tenant
keeps no other one out. So for about a second all may have half as much again as the bound; then the
largest give up their oldest until it fits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

from app.core.usage import Counts
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable, script

UNIT = 256  # bytes; as in cached.lua
ROUND_SECONDS = 1.0
SOONEST_SECONDS = 0.05  # between two rounds, where the free part was used up
OURS = 32  # tenants looked after in a round: those we wrote for
OTHERS = 8  # and those whose turn it is
LOOKED_AT = 256  # names of each
FULL = 0.8  # of the server's memory: as in cached.lua
FREE_AGAIN = 0.75

NOT_COUNTED = ("", 0, 0)
Grant = tuple[int | str, int, int]  # the three arguments that every script takes of it


class _Server(NamedTuple):
    """The fullest server that answered: bytes used, and the most it may use; 0 where not known."""

    used: int = 0
    most: int = 0


class Quota:
    """``most`` and ``of_tenant`` are bytes. Metrics count what was not kept, and why."""

    def __init__(
        self, store: Store, counters: Counts, most: int, of_tenant: int | None = None
    ) -> None:
        self._store = store
        self._counters = counters
        self._most = most
        self._of_tenant = of_tenant
        self._tidy = script("tidy_cached", "cached")
        self._sizes = script("sizes")
        self._units: dict[str, int] = {}  # by tenant, as last read
        self._targets: dict[str, int] = {}
        self._wrote_for: dict[str, int] = {}  # of what was let in, by tenant
        self._free = most // 8  # a beginner does not know yet, and waits for nobody
        self._sent = 0  # bytes let in since they were last counted
        self._claimed = 0  # and by those who may have a little although the cache is full
        self._turn = 0
        self._server = _Server()
        self._hurry = asyncio.Event()
        self.workers = 1
        self.stopped = False  # because the server is nearly full

    @property
    def used(self) -> int:
        """Bytes of all tenants, as last read."""
        return sum(self._units.values()) * UNIT

    @property
    def most(self) -> int:
        """The most bytes: what is set, and at most half of what the server may use."""
        return min(self._most, self._server.most // 2) if self._server.most else self._most

    def told(self) -> dict[str, int]:
        """How things stand, for a log line; bytes."""
        return {
            "server_used": self._server.used,
            "server_most": self._server.most,
            "cache_used": self.used,
            "cache_most": self.most,
        }

    def grant(self, tenant: str, size: int) -> Grant | None:
        """What to tell a script that is to keep ``size`` bytes for a tenant; None: keep nothing."""
        most = self.most
        of_tenant = min(most, self._of_tenant or most)
        if self.stopped or size > of_tenant:
            reason = "memory" if self.stopped else "size"
            self._counters.add("headgate_cache_not_kept_total", {"reason": reason})
            return None
        tenants = len(self._units.keys() | self._wrote_for.keys() | {tenant})
        even = min(of_tenant, most // 2 // tenants)
        grows = self._may_grow(tenant, size, most)
        if not grows and self._units.get(tenant, 0) * UNIT < even:
            self._claimed += size
            if self._claimed > most // 2 // self.workers:
                even = 0
        return of_tenant // UNIT, even // UNIT, int(grows)

    def _may_grow(self, tenant: str, size: int, most: int) -> bool:
        """Whether so much still fits into this worker's part of what was free."""
        free = self._free // self.workers
        grows = self._sent + size <= free
        if grows:
            self._sent += size
        self._wrote_for[tenant] = self._wrote_for.get(tenant, 0) + size * grows
        if self._sent > free // 2 and self._free > most // 16:
            self._hurry.set()
        return grows

    async def keep_counting(self) -> None:
        """Read how much there is, again and again, while this task runs."""
        while True:
            with suppress(StoreUnavailable):
                await self.count()
            await asyncio.sleep(SOONEST_SECONDS)
            with suppress(TimeoutError):
                async with asyncio.timeout(ROUND_SECONDS):
                    await self._hurry.wait()

    async def count(self) -> None:
        """One round. Raises StoreUnavailable."""
        self._hurry.clear()
        chosen = self._chosen()
        counted = {tenant: self._wrote_for.get(tenant, 0) for tenant in chosen}
        answers = await asyncio.gather(*(self._tidied(tenant) for tenant in chosen))
        self._look_at_server([_Server(int(used), int(most)) for _, used, most in answers])
        await self._write_down(chosen, answers)
        self._forget_sent(counted)
        self._targets = targets(self._units, self.most // UNIT)
        if self._targets:
            large = list(islice(self._targets, OURS))
            await self._write_down(large, await asyncio.gather(*map(self._tidied, large)))
        self._free = max(0, self.most - self.used)

    async def _write_down(
        self, tenants: Sequence[str], answers: Sequence[tuple[bytes, int, int]]
    ) -> None:
        """Tell the others what these tenants have, and read of all."""
        args: list[str | int] = []
        for tenant, (units, _, _) in zip(tenants, answers, strict=True):
            args += (names.everyone(tenant), int(units))
        found = await self._store.run(self._sizes, [names.CACHE_SIZES], args)
        pairs = zip(found[::2], found[1::2], strict=True)
        self._units = {_tenant(name.decode()): int(units) for name, units in pairs}

    def _forget_sent(self, counted: Mapping[str, int]) -> None:
        """What was let in before the round is in its sums, if its tenant was looked after."""
        self._claimed = 0
        for tenant, size in counted.items():
            left = self._wrote_for.pop(tenant, 0) - size
            self._sent -= size
            if left:
                self._wrote_for[tenant] = left

    def _chosen(self) -> list[str]:
        """The tenants to look after: those we wrote for, those too large, some of the others."""
        chosen = dict.fromkeys(islice(self._wrote_for, OURS))
        others = [tenant for tenant in self._units if tenant not in chosen]
        turn = self._turn % max(1, len(others))
        self._turn = turn + OTHERS
        chosen |= dict.fromkeys([*others, *others][turn : turn + OTHERS])
        return list(chosen or {"": None})  # somebody has to ask how full the server is

    async def _tidied(self, tenant: str) -> tuple[bytes, int, int]:
        args = [names.prefix(tenant), LOOKED_AT, self._targets.get(tenant, "")]
        units, used, most = await self._store.run(self._tidy, [names.cached(tenant)], args)
        return units, used, most

    def _look_at_server(self, servers: list[_Server]) -> None:
        bounded = [server for server in servers if server.most]
        if not bounded:
            self._server, self.stopped = _Server(), False
            return
        self._server = max(bounded, key=lambda server: server.used / server.most)
        threshold = FREE_AGAIN if self.stopped else FULL
        self.stopped = self._server.used >= threshold * self._server.most


def targets(units: Mapping[str, int], most: int) -> dict[str, int]:
    """How much the largest tenants may keep, so that all fit: the same for each of them.

    Nothing, where they fit as they are.
    """
    over = sum(units.values()) - most
    if over <= 0:
        return {}
    left = most
    for place, tenant in enumerate(ordered := sorted(units, key=lambda one: units[one])):
        level = left // (len(ordered) - place)
        if units[tenant] > level:
            return dict.fromkeys(ordered[place:], level)
        left -= units[tenant]
    return {}


def _tenant(name: str) -> str:
    return "" if name == names.everyone("") else name
