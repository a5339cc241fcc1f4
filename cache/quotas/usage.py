"""What was used: counters by hour and day, and a capped stream of records, written in batches.

An entry of the stream holds several records as a JSON array: one entry each cost 60 us of CPU in the
embedded store, more than the rest of the request; this way it is three.

What a budget was charged for is counted by its settlement, in one step, so that both agree whenever a
process ends: the settlement notes it (1 us in the store; adding it to both counters would cost 9),
and here the notes are added up.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import getrandbits
from typing import Any, NamedTuple

import orjson

from app.core.units import NanoDollars
from app.core.usage import Usage
from cache.quotas.last_used import LastUsed
from cache.store import key_names as names
from cache.store.base import Script, Store, StoreFull, StoreUnavailable, read_counts, script
from cache.store.clock import StoreClock

FLUSH_SECONDS = 0.5
MAX_BUFFERED = 20_000  # records not yet written, in this process
MAX_ENTRIES = 1_000  # kept in the store for each tenant
RECORDS_IN_ENTRY = 20
BATCH = 200
HOURS_KEPT = 8 * 86400
DAYS_KEPT = 400 * 86400
FOLDED_AT_ONCE = 1_000  # settlements: about a millisecond of the store's time

# `estimated_tokens` and `estimated_cost` are the parts of the others that rest on an estimate. The
# details' names stand also in fold_settled.lua.
DETAILS = ("cached_tokens", "cache_write_tokens", "reasoning_tokens")
COUNTED = (
    "requests", "errors", "prompt_tokens", "completion_tokens", "cost", "saved",
    "estimated_tokens", "estimated_cost", *DETAILS,
)  # fmt: skip
OF_ALL_KEYS = ":models"  # what the name of a period's sums over all keys ends with


class UsageRow(NamedTuple):
    """Counters of one key and model over a time; ``cost`` and ``saved`` in nano-dollars."""

    tenant: str
    key: str
    model: str
    counts: dict[str, int]


class Item(NamedTuple):
    """What happened, in unix seconds; ``charged`` if its settlement counts what was used."""

    at: float
    record: dict[str, Any]
    charged: bool


class Batch(NamedTuple):
    """Records of one tenant that are written together, once: the store remembers the latest."""

    number: int
    tenant: str
    items: list[Item]


def settlement(now: float, key: str, model: str, cost: NanoDollars, used: Usage) -> str:
    """What the settlement of one request counts, as ``fold_settled.lua`` reads it.

    ``now`` is unix seconds, ``model`` is an alias of the configuration. Tokens at prices of their own
    have a line of their own, which a release that does not know them leaves out.
    """
    hour, _ = _periods_of(int(now // 3600))
    line = f"{hour}|1|{used.prompt_tokens}|{used.completion_tokens}|{cost}|{key}|{model}"
    cached, written, reasoning = used.cached_tokens, used.cache_write_tokens, used.reasoning_tokens
    if (cached or written or reasoning) and "\n" not in model:
        line += f"\n{hour}|+{cached}|{written}|{reasoning}|{key}|{model}"
    return line


class UsageLog:
    """Takes records as they happen and writes them aside; bounded, what is too much is counted."""

    def __init__(self, store: Store, clock: StoreClock | None = None) -> None:
        self._store = store
        self._clock = clock or StoreClock()
        self._record = script("record")
        self._count = script("record", on_full_server=True)
        self._worker = f"{getrandbits(64):016x}"
        self._latest = 0  # number of the batch formed last
        self._charged: set[str] = set()  # tenants with settlements to be folded
        self.last_used = LastUsed(store)
        self.notes_use = False  # whether anybody asks when a key was used last
        self._waiting: list[Item] = []
        self._batches: deque[Batch] = deque()
        self._in_batches = 0
        self.dropped = 0

    def add(self, record: dict[str, Any], now: float, *, charged: bool = False) -> None:
        """Remember one record; ``now`` is unix seconds. It must name a tenant.

        What a ``charged`` one used is counted by its settlement, and not by the record.
        """
        if len(self._waiting) + self._in_batches >= MAX_BUFFERED:
            self.dropped += 1
            return
        self._waiting.append(Item(now, record, charged))

    async def keep_writing(self) -> None:
        """Write what has come in, again and again, while this task runs."""
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self.flush()

    async def flush(self) -> None:
        """Write everything now; what the store does not take stays for the next time."""
        if self._store.breaker.open:
            return
        self._form_batches()
        while self._batches:
            batch = self._batches[0]
            try:
                await self._write(batch)
            except StoreUnavailable:
                return  # kept for the next time, under the same id: it may have been written
            except Exception:
                self.dropped += len(batch.items)  # it would stand in the way for ever
                self._done_with(batch)
                raise
            self._done_with(batch)
            if self.notes_use:
                await self._note_use(batch)
            await asyncio.sleep(0)  # the embedded store takes milliseconds for a batch
        await self._fold()

    async def _note_use(self, batch: Batch) -> None:
        used = {str(item.record["key"]): item.at for item in batch.items}
        with suppress(StoreUnavailable):  # the next use is noted again
            await self.last_used.note(batch.tenant, used)

    async def _fold(self) -> None:
        for tenant in list(self._charged):
            try:
                await fold_settled(self._store, tenant)
            except StoreUnavailable:
                return
            self._charged.discard(tenant)

    def _done_with(self, batch: Batch) -> None:
        self._batches.popleft()
        self._in_batches -= len(batch.items)

    def _form_batches(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_tenant: dict[str, list[Item]] = {}
        for item in waiting:
            tenant = str(item.record["tenant"])
            by_tenant.setdefault(tenant, []).append(item)
            if item.charged:
                self._charged.add(tenant)
        for tenant, items in by_tenant.items():
            for start in range(0, len(items), BATCH):
                part = items[start : start + BATCH]
                # In order, whatever the clock does: the store takes none that is not later.
                self._latest = max(self._latest + 1, int((self._clock.now() - names.EPOCH) * 1e6))
                self._batches.append(Batch(self._latest, tenant, part))
                self._in_batches += len(part)

    async def _write(self, batch: Batch) -> None:
        try:
            await self._run(self._record, batch, batch.items)
        except StoreFull:
            # The counters are few and small; the records are not, and wait for room in vain.
            await self._run(self._count, batch, [])
            self.dropped += len(batch.items)

    async def _run(self, record: Script, batch: Batch, listed: list[Item]) -> None:
        """Write the counts of a batch, and those of its records that are ``listed``."""
        tenant, items = batch.tenant, batch.items
        counts = _counted(items)
        periods = list(counts)
        keys = [names.written(tenant), names.records(tenant), names.index(tenant)]
        keys += [names.counters(tenant, period) for period in periods]
        records = [{"time": item.at, **item.record} for item in listed]
        starts = range(0, len(records), RECORDS_IN_ENTRY)
        args: list[Any] = [self._worker, batch.number, DAYS_KEPT, MAX_ENTRIES, len(starts)]
        args += [orjson.dumps(records[start : start + RECORDS_IN_ENTRY]) for start in starts]
        args += [HOURS_KEPT if "T" in period else DAYS_KEPT for period in periods]
        for place, period in enumerate(periods, 1):
            for field, amount in counts[period].items():
                args += (place, field, amount)
        await self._store.run(record, keys, args)


def _counted(items: Sequence[Item]) -> dict[str, dict[str, int]]:
    """What the counters of each period grow by. Added up by hour, key and model first, because a
    batch has many records of few."""
    sums: dict[tuple[int, str, str | None], list[int]] = {}
    for at, record, charged in items:
        place = int(at // 3600), record["key"], record["alias"]
        amounts = sums.get(place)
        if amounts is None:
            amounts = sums[place] = [0] * len(COUNTED)
        amounts[1] += record["status"] >= 400
        amounts[5] += record.get("saved") or 0
        if record.get("estimated"):
            amounts[6] += (record["prompt_tokens"] or 0) + (record["completion_tokens"] or 0)
            amounts[7] += record["cost"] or 0
        if not charged:
            amounts[0] += 1
            amounts[2] += record["prompt_tokens"] or 0
            amounts[3] += record["completion_tokens"] or 0
            amounts[4] += record["cost"] or 0
            if "cached_tokens" in record:
                for count, name in enumerate(DETAILS, 8):
                    amounts[count] += record[name]
    counts: dict[str, dict[str, int]] = {}
    for (hour, key, alias), amounts in sums.items():
        for period in _periods_of(hour):
            of_key = counts.setdefault(period, {})
            of_all = counts.setdefault(period + OF_ALL_KEYS, {})
            for name, amount in zip(COUNTED, amounts, strict=True):
                if amount:
                    for fields, whose in ((of_key, key), (of_all, "")):
                        field = f"{whose}|{alias or ''}|{name}"
                        fields[field] = fields.get(field, 0) + amount
    return counts


async def fold_settled(store: Store, tenant: str) -> None:
    """Add what a tenant's settlements noted to its counters. Raises StoreUnavailable."""
    keys = [names.settled(tenant), names.index(tenant)]
    args = [names.counters(tenant, ""), HOURS_KEPT, DAYS_KEPT, FOLDED_AT_ONCE]
    fold = script("fold_settled", on_full_server=True)
    left = await store.run(fold, keys, args)
    while left:
        await asyncio.sleep(0)  # others first
        left = await store.run(fold, keys, args)


@lru_cache(maxsize=4)
def _periods_of(hour: int) -> tuple[str, str]:
    """The names of an hour, counted from 1970, and of its day."""
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    return moment.strftime("%Y-%m-%dT%H"), moment.strftime("%Y-%m-%d")


async def read_usage(store: Store, tenant: str, since: datetime, until: datetime) -> list[UsageRow]:
    """The counters of a tenant between two moments, by key and model.

    By hour while hours are kept, else by whole days. Raises StoreUnavailable.
    """
    await fold_settled(store, tenant)
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for period in periods_between(since, until):
        found = await read_counts(store, names.counters(tenant, period))
        for field, amount in found.items():
            # An alias may hold the separator; a key's id and a counter's name cannot.
            key, _, rest = field.decode().partition("|")
            model, _, name = rest.rpartition("|")
            counts = rows.setdefault((key, model), dict.fromkeys(COUNTED, 0))
            counts[name] = counts.get(name, 0) + amount
    return [UsageRow(tenant, key, model, counts) for (key, model), counts in sorted(rows.items())]


def periods_between(since: datetime, until: datetime) -> list[str]:
    """The names of the periods that cover a span: hours within the last week, else days."""
    hourly = until - since <= timedelta(days=7)
    step = timedelta(hours=1) if hourly else timedelta(days=1)
    moment = since.replace(minute=0, second=0, microsecond=0)
    if not hourly:
        moment = moment.replace(hour=0)
    names_of: list[str] = []
    while moment <= until:
        names_of.append(moment.strftime("%Y-%m-%dT%H" if hourly else "%Y-%m-%d"))
        moment += step
    return names_of
