"""Removes what nobody needs any more, because nothing that counts expires by itself.

An eviction policy (``volatile-*``) takes keys that expire, and with an account goes what was spent.
So accounts, leases, buckets and counters have no time to live; a tenant's index says when each may
go, and the workers take turns in sweeping the tenants.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from contextlib import suppress

from cache.quotas.usage import fold_settled
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable, script

WAKE_SECONDS = 60.0  # between two looks of a worker at whose turn it is
TURN_SECONDS = 600  # between two sweeps of a tenant, by whichever worker
TENANTS_AT_ONCE = 50
KEYS_AT_ONCE = 100


class Housekeeping:
    """Sweeps the tenants that ``tenants`` names, and those that were served once and left."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._take_turn = script("take_turn", on_full_server=True)
        self._sweep = script("sweep", on_full_server=True)
        self._forget = script("forget_tenant")
        self.tenants: Collection[str] = ()

    async def keep_sweeping(self) -> None:
        """Sweep whose turn it is, again and again, while this task runs."""
        while True:
            with suppress(StoreUnavailable):
                await self.sweep_due()
            await asyncio.sleep(WAKE_SECONDS)

    async def sweep_due(self) -> None:
        """Sweep every tenant whose turn it is. Raises StoreUnavailable."""
        served = sorted(self.tenants)
        for start in range(0, len(served) or 1, TENANTS_AT_ONCE):
            args = [TURN_SECONDS, TENANTS_AT_ONCE, *served[start : start + TENANTS_AT_ONCE]]
            await self._sweep_all(await self._store.run(self._take_turn, [names.TENANTS], args))
        while due := await self._store.run(
            self._take_turn, [names.TENANTS], [TURN_SECONDS, TENANTS_AT_ONCE]
        ):
            await self._sweep_all(due)

    async def _sweep_all(self, tenants: Collection[bytes]) -> None:
        for name in tenants:
            tenant = name.decode()
            await fold_settled(self._store, tenant)
            left = await self.sweep(tenant)
            if not left and tenant not in self.tenants:
                await self._store.run(self._forget, [names.TENANTS], [tenant])

    async def sweep(self, tenant: str) -> int:
        """Remove what is due of one tenant; how many of its keys are left."""
        while True:
            seen, left = await self._store.run(self._sweep, [names.index(tenant)], [KEYS_AT_ONCE])
            if seen < KEYS_AT_ONCE:
                return int(left)
            await asyncio.sleep(0)
