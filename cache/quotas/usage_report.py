"""Usage over any span for people who look at it, at a cost that does not grow with the keys.

Where few keys were in use, every key's counters are read. Where there are too many, only the sums
over all keys are, which stand beside them, and one key's own if it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from app.concurrency.together import run_together
from cache.quotas.past_counts import PastCounts
from cache.quotas.usage import COUNTED, OF_ALL_KEYS, UsageRow, fold_settled
from cache.store import key_names as names
from cache.store.base import Store, read_counts

READS_AT_ONCE = 4
MOST_FIELDS = 4_000  # of one period: about 2 ms of the store's time
MOST_FIELDS_IN_ALL = 40_000
UNSETTLED_PERIODS = 2  # the one that runs, and the one before, which is still being written
HOURLY = timedelta(days=7)  # hours are kept for eight
STEPS = timedelta(days=3)  # spans up to this are shown by the hour

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


class Period(NamedTuple):
    """An hour or a day that has counters; ``name`` is how the store calls it."""

    start: datetime
    name: str


class Reading(NamedTuple):
    """What one tenant used: rows by key and model, sums by the time of each period's start.

    ``folded``: there are too many keys, so the rows are by model, with an empty key.
    """

    rows: list[UsageRow]
    series: dict[datetime, dict[str, int]]
    folded: bool


def periods_of(since: datetime, until: datetime, now: datetime) -> list[Period]:
    """The periods that cover a span, as few as possible; whole days where hours are not kept.

    The first begins with the hour of ``since``; ``until`` itself is not in the last.
    """
    floor = since.replace(minute=0, second=0, microsecond=0)
    hourly = floor > now - HOURLY
    moment = floor if hourly else floor.replace(hour=0)
    found = []
    while moment < until:
        whole_day = moment.hour == 0 and (not hourly or moment + DAY <= until)
        by_day = whole_day and (not hourly or until - floor > STEPS)
        found.append(Period(moment, moment.strftime("%Y-%m-%d" if by_day else "%Y-%m-%dT%H")))
        moment += DAY if by_day else HOUR
    return found


async def read_tenant(
    store: Store,
    tenant: str,
    periods: Iterable[Period],
    key: str | None = None,
    model: str | None = None,
    past: PastCounts | None = None,
) -> Reading:
    """One tenant's use, or the part of a key, of a model. Raises StoreUnavailable.

    Periods before the last two are over, so what ``past`` knows of them is not read again.
    """
    await fold_settled(store, tenant)
    periods = list(periods)
    past = past or PastCounts()
    over = {period.name for period in periods[:-UNSETTLED_PERIODS]}
    sizes: list[int] = []

    async def measure(period: Period) -> None:
        name = names.counters(tenant, period.name)
        known = past.known(name) if period.name in over else None
        sizes.append(int(await store.command("HLEN", name)) if known is None else len(known))

    await run_together(periods, measure, at_a_time=READS_AT_ONCE)
    folded = max(sizes, default=0) > MOST_FIELDS or sum(sizes) > MOST_FIELDS_IN_ALL
    rows: dict[tuple[str, str], dict[str, int]] = {}
    series: dict[datetime, dict[str, int]] = {}

    async def read(period: Period) -> None:
        of_all = names.counters(tenant, period.name + OF_ALL_KEYS)
        if folded and key is not None:
            found = await _of_key(store, tenant, period, key, await read_counts(store, of_all))
        else:
            name = of_all if folded else names.counters(tenant, period.name)
            found = await past.read(store, name, over=period.name in over)
        _add(rows, series.setdefault(period.start, {}), found, key, model)

    await run_together(periods, read, at_a_time=READS_AT_ONCE)
    kept = [UsageRow(tenant, of, model, counts) for (of, model), counts in sorted(rows.items())]
    return Reading(kept, series, folded and key is None)


async def _of_key(
    store: Store, tenant: str, period: Period, key: str, of_all: dict[bytes, int]
) -> dict[bytes, int]:
    """One key's counters, among too many to read: its fields have the names of the sums' fields."""
    fields = [key.encode() + field for field in of_all]
    if not fields:
        return {}
    found: list[Any] = await store.command("HMGET", names.counters(tenant, period.name), *fields)
    return {
        field: int(value) for field, value in zip(fields, found, strict=True) if value is not None
    }


def _add(
    rows: dict[tuple[str, str], dict[str, int]],
    sums: dict[str, int],
    found: dict[bytes, int],
    only_key: str | None,
    only_model: str | None,
) -> None:
    for key, model, name, amount in _parsed(found):
        if only_key not in (None, key) or only_model not in (None, model):
            continue
        counts = rows.setdefault((key, model), dict.fromkeys(COUNTED, 0))
        counts[name] = counts.get(name, 0) + amount
        sums[name] = sums.get(name, 0) + amount


def _parsed(found: dict[bytes, int]) -> Iterator[tuple[str, str, str, int]]:
    for field, amount in found.items():
        # An alias may hold the separator; a key's id and a counter's name cannot.
        key, _, rest = field.decode().partition("|")
        model, _, name = rest.rpartition("|")
        yield key, model, name, amount
