"""When each key was used last: noted beside the counters, never on the path of a request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cache.store import key_names as names
from cache.store.base import Store, script

KEPT_SECONDS = 400 * 86400


class LastUsed:
    """Every method raises StoreUnavailable. Times are unix seconds."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._note = script("note_used")

    async def note(self, tenant: str, used: Mapping[str, float]) -> None:
        """Remember the latest of these times for each of a tenant's keys."""
        keys = [names.last_used(tenant), names.index(tenant)]
        pairs = [part for key, at in used.items() for part in (key, int(at))]
        await self._store.run(self._note, keys, [KEPT_SECONDS, *pairs])

    async def of(self, tenant: str, keys: Sequence[str]) -> list[int | None]:
        """When each of these keys was used last; None for never."""
        found = await self._store.command("HMGET", names.last_used(tenant), *keys)
        return [int(at) if at is not None else None for at in found]
