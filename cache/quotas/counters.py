"""Counts of events over all replicas, for metrics: added up here, written in batches.

Names and labels come from this code and the configuration, never from a caller; their number is
bounded all the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress

from cache.store.base import Store, StoreUnavailable, read_counts, script
from cache.store.key_names import COUNTERS

FLUSH_SECONDS = 0.5
MOST = 5_000  # different names with labels, in one batch


class Counters:
    """Prometheus counters by name and labels, kept in the store."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._count = script("count_events", on_full_server=True)
        self._waiting: dict[str, int] = {}

    def add(self, name: str, labels: Mapping[str, str], amount: int = 1) -> None:
        """Count something; labels are sorted, so that one event has one name."""
        said = ",".join(f'{label}="{_quoted(labels[label])}"' for label in sorted(labels))
        series = f"{name}{{{said}}}" if said else name
        if series in self._waiting or len(self._waiting) < MOST:
            self._waiting[series] = self._waiting.get(series, 0) + amount

    async def keep_writing(self) -> None:
        """Write what has come in, again and again, while this task runs."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            with suppress(StoreUnavailable):
                await self.flush()

    async def flush(self) -> None:
        """Write everything now; what the store does not take stays for the next time."""
        waiting, self._waiting = self._waiting, {}
        if not waiting:
            return
        args: list[str | int] = []
        for series, amount in waiting.items():
            args += (series, amount)
        try:
            await self._store.run(self._count, [COUNTERS], args)
        except StoreUnavailable:
            for series, amount in waiting.items():
                self._waiting[series] = self._waiting.get(series, 0) + amount
            raise

    async def read(self) -> dict[str, int]:
        """Every series. Raises StoreUnavailable."""
        found = await read_counts(self._store, COUNTERS)
        return {series.decode(): count for series, count in found.items()}


def _quoted(value: str) -> str:
    """As the Prometheus text format wants a label's value."""
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
