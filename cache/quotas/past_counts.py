"""Counts of hours and days that are over, kept for a minute: a page that is open asks all day."""

from __future__ import annotations

from time import monotonic

from cache.store.base import Store, read_counts

KEPT_SECONDS = 60.0  # what is counted late, after an outage of the store, shows up by then
MAX_PERIODS = 1_000
MAX_FIELDS = 200  # of one that is kept: about 20 KiB


class PastCounts:
    """Reads hashes of counts by their names in the store."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[float, dict[bytes, int]]] = {}

    def known(self, name: str) -> dict[bytes, int] | None:
        """What was read within the last minute."""
        until, found = self._known.get(name, (0.0, None))
        return found if monotonic() < until else None

    async def read(self, store: Store, name: str, *, over: bool) -> dict[bytes, int]:
        """The counts, kept if their time is ``over``. Raises StoreUnavailable."""
        known = self.known(name) if over else None
        if known is not None:
            return known
        found = await read_counts(store, name)
        if over and len(found) <= MAX_FIELDS:
            if len(self._known) >= MAX_PERIODS:
                self._known.clear()
            self._known[name] = monotonic() + KEPT_SECONDS, found
        return found
