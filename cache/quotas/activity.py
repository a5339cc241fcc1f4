"""What all workers' requests did lately, shared through the store: for operators who look at it.

Each worker writes once a second, in one trip. What is kept is bounded whatever callers do: entries of
the stream, different counts in an hour, and workers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from random import getrandbits
from typing import Any, NamedTuple

import orjson

from app.observability.activity import Activity
from cache.quotas.past_counts import PastCounts
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable, script
from cache.store.clock import StoreClock

SHARE_SECONDS = 1.0
MAX_ENTRIES = 500  # each has up to 50 records: about 10 MB
KEPT_SECONDS = 8 * 86400
MAX_COUNTS = 1_000  # different ones in an hour
UNSETTLED_SECONDS = 7200  # in which an hour's counts may still grow
SILENT_SECONDS = 5.0  # after which a worker is not one that lives

Facts = dict[str, Any]


class Counted(NamedTuple):
    """One count of an hour or of several: ``first`` is a status or a cache result."""

    kind: str
    first: str
    code: str
    tenant: str
    key: str
    alias: str
    amount: int


class ActivityLog:
    """One worker's end. ``facts`` is asked what is to be known of the worker itself.

    Shares only while it is ``wanted``: where no admin key is configured, nobody can look.
    """

    def __init__(self, store: Store, clock: StoreClock, facts: Callable[[], Facts] = dict) -> None:
        self._store = store
        self._clock = clock
        self.facts = facts
        self._share = script("share_activity")
        self.activity = Activity()
        self.worker = f"{getrandbits(64):016x}"
        self.wanted = False
        self.operators = 0  # requests of operators that run

    async def keep_sharing(self) -> None:
        """Write what has happened, again and again, while this task runs."""
        while True:
            await asyncio.sleep(SHARE_SECONDS)
            if self.wanted:
                with suppress(StoreUnavailable):
                    await self.share()

    async def share(self) -> None:
        """Write once. Raises StoreUnavailable; counts are kept for the next time, records are not."""
        now = self._clock.now()
        seen = self.activity.take(now)
        word = {"at": round(now, 3), **self.facts(), **self.activity.pulse(now)}
        keys = [names.ACTIVITY, names.ACTIVITY_WORKERS, names.activity_counts(_hour(now))]
        entry = orjson.dumps(seen.listed) if seen.listed else b""
        args: list[Any] = [self.worker, orjson.dumps(word), entry]
        args += [MAX_ENTRIES, KEPT_SECONDS, MAX_COUNTS]
        for field, amount in seen.counts.items():
            args += (field, amount)
        await self._store.run(self._share, keys, args)
        self.activity.written(seen)

    async def leave(self) -> None:
        """Say goodbye, so that nobody waits for this worker's word."""
        if not self.wanted:
            return
        with suppress(StoreUnavailable):
            await self._store.command("HDEL", names.ACTIVITY_WORKERS, self.worker)


async def read_workers(store: Store, now: float) -> dict[str, Facts]:
    """The last word of every worker that lives. Raises StoreUnavailable."""
    found = await store.command("HGETALL", names.ACTIVITY_WORKERS)
    pairs = found.items() if isinstance(found, dict) else zip(found[::2], found[1::2], strict=True)
    words = {worker.decode(): orjson.loads(word) for worker, word in pairs}
    return {
        worker: word for worker, word in words.items() if now - float(word["at"]) < SILENT_SECONDS
    }


async def read_recent(store: Store, before: str, count: int) -> list[tuple[str, list[Facts]]]:
    """Entries of the stream older than ``before`` ("+" for the newest), newest first."""
    end = before if before == "+" else f"({before}"
    return _entries(await store.command("XREVRANGE", names.ACTIVITY, end, "-", "COUNT", count))


async def read_after(store: Store, after: str, count: int) -> list[tuple[str, list[Facts]]]:
    """Entries of the stream newer than ``after``, oldest first."""
    return _entries(await store.command("XRANGE", names.ACTIVITY, f"({after}", "+", "COUNT", count))


async def read_activity_counts(
    store: Store, since: float, until: float, past: PastCounts | None = None
) -> list[Counted]:
    """What was counted between two moments (unix seconds), by whole hours, at most eight days.

    Hours before the last two are over, so what ``past`` knows of them is not read again. Raises
    StoreUnavailable.
    """
    past = past or PastCounts()
    sums: dict[str, int] = {}
    moment = datetime.fromtimestamp(max(since, until - KEPT_SECONDS), UTC)
    while moment.timestamp() <= until:
        name = names.activity_counts(moment.strftime("%Y-%m-%dT%H"))
        found = await past.read(store, name, over=moment.timestamp() < until - UNSETTLED_SECONDS)
        for field, amount in found.items():
            sums[field.decode()] = sums.get(field.decode(), 0) + amount
        moment = moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    return [_counted(field, amount) for field, amount in sums.items()]


def _entries(found: Any) -> list[tuple[str, list[Facts]]]:
    entries = []
    for name, fields in found or ():
        value = fields[b"r"] if isinstance(fields, dict) else fields[1]
        entries.append((name.decode(), orjson.loads(value)))
    return entries


def _counted(field: str, amount: int) -> Counted:
    kind, first, code, tenant, key, alias = field.split("|", 5)
    return Counted(kind, first, code, tenant, key, alias, amount)


def _hour(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H")
