"""What was used: counters by hour and day, and a capped stream of records, written in batches.

An entry of the stream holds several records as a JSON array: one entry each cost 60 us of CPU in the
embedded store, more than the rest of the request; this way it is three.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from random import getrandbits
from typing import Any, NamedTuple

import orjson

from cache import names
from cache.connection import Store, StoreUnavailable, script

FLUSH_SECONDS = 0.5
MAX_BUFFERED = 20_000  # records not yet written, in this process
MAX_ENTRIES = 1_000  # kept in the store for each tenant
RECORDS_IN_ENTRY = 20
BATCH = 200
HOURS_KEPT = 8 * 86400
DAYS_KEPT = 400 * 86400

Item = tuple[float, dict[str, Any]]  # unix seconds, and what happened

COUNTED = ("requests", "errors", "prompt_tokens", "completion_tokens", "cost", "saved")


class UsageRow(NamedTuple):
    """Counters of one key and model over a time; ``cost`` and ``saved`` in nano-dollars."""

    tenant: str
    key: str
    model: str
    counts: dict[str, int]


class Batch(NamedTuple):
    """Records of one tenant that are written together, once: the store remembers the id."""

    id: str
    tenant: str
    items: list[Item]


class UsageLog:
    """Takes records as they happen and writes them aside; bounded, what is too much is counted."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._record = script("record")
        self._waiting: list[Item] = []
        self._batches: deque[Batch] = deque()
        self._in_batches = 0
        self.dropped = 0

    def add(self, record: dict[str, Any], now: float) -> None:
        """Remember one record; ``now`` is unix seconds. It must name a tenant."""
        if len(self._waiting) + self._in_batches >= MAX_BUFFERED:
            self.dropped += 1
            return
        self._waiting.append((now, record))

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
            await asyncio.sleep(0)  # the embedded store takes milliseconds for a batch

    def _done_with(self, batch: Batch) -> None:
        self._batches.popleft()
        self._in_batches -= len(batch.items)

    def _form_batches(self) -> None:
        waiting, self._waiting = self._waiting, []
        by_tenant: dict[str, list[Item]] = {}
        for item in waiting:
            by_tenant.setdefault(str(item[1]["tenant"]), []).append(item)
        for tenant, items in by_tenant.items():
            for start in range(0, len(items), BATCH):
                part = items[start : start + BATCH]
                self._batches.append(Batch(f"{getrandbits(96):024x}", tenant, part))
                self._in_batches += len(part)

    async def _write(self, batch: Batch) -> None:
        tenant, items = batch.tenant, batch.items
        counts: dict[str, dict[str, int]] = {}
        for now, record in items:
            _count(counts, now, record)
        periods = list(counts)
        keys = [names.written(tenant, batch.id), names.records(tenant)]
        keys += [names.counters(tenant, period) for period in periods]
        args: list[Any] = [MAX_ENTRIES]
        args += [HOURS_KEPT if "T" in period else DAYS_KEPT for period in periods]
        records = [{"time": now, **record} for now, record in items]
        starts = range(0, len(records), RECORDS_IN_ENTRY)
        args.append(len(starts))
        args += [orjson.dumps(records[start : start + RECORDS_IN_ENTRY]) for start in starts]
        for place, period in enumerate(periods, 1):
            for field, amount in counts[period].items():
                args += (place, field, amount)
        await self._store.run(self._record, keys, args)


def _count(counts: dict[str, dict[str, int]], now: float, record: Mapping[str, Any]) -> None:
    amounts = {
        "requests": 1,
        "errors": int(record["status"] >= 400),
        "prompt_tokens": record["prompt_tokens"] or 0,
        "completion_tokens": record["completion_tokens"] or 0,
        "cost": record["cost"] or 0,
        "saved": record.get("saved") or 0,
    }
    prefix = f"{record['key']}|{record['alias'] or ''}|"
    for period in _periods_of(int(now // 3600)):
        fields = counts.setdefault(period, {})
        for name, amount in amounts.items():
            if amount:
                fields[prefix + name] = fields.get(prefix + name, 0) + amount


@lru_cache(maxsize=4)
def _periods_of(hour: int) -> tuple[str, str]:
    """The names of an hour, counted from 1970, and of its day."""
    moment = datetime.fromtimestamp(hour * 3600, UTC)
    return moment.strftime("%Y-%m-%dT%H"), moment.strftime("%Y-%m-%d")


async def read_usage(store: Store, tenant: str, since: datetime, until: datetime) -> list[UsageRow]:
    """The counters of a tenant between two moments, by key and model.

    By hour while hours are kept, else by whole days. Raises StoreUnavailable.
    """
    rows: dict[tuple[str, str], dict[str, int]] = {}
    for period in periods_between(since, until):
        flat = await store.command("HGETALL", names.counters(tenant, period))
        pairs = flat.items() if isinstance(flat, dict) else zip(flat[::2], flat[1::2], strict=True)
        for field, amount in pairs:
            # An alias may hold the separator; a key's id and a counter's name cannot.
            key, _, rest = field.decode().partition("|")
            model, _, name = rest.rpartition("|")
            counts = rows.setdefault((key, model), dict.fromkeys(COUNTED, 0))
            counts[name] = counts.get(name, 0) + int(amount)
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
