"""Usage over a span: as few periods as cover it, and a total that does not grow with the keys."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import Any

import pytest

from cache.quotas import usage_report
from cache.quotas.usage import OF_ALL_KEYS, UsageLog, read_usage
from cache.quotas.usage_report import Reading, periods_of, read_tenant
from cache.store import key_names as names
from cache.store.base import Store
from tests.cache.quotas.test_usage import record
from tests.cache.stores import on
from tests.harness.redis_server import RedisServer

NOW = datetime(2026, 3, 14, 5, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("back", "hours", "days"),
    [
        (timedelta(minutes=5), 1, 0),
        (timedelta(hours=24), 25, 0),
        (timedelta(days=5), 19 + 6, 4),  # hours at both ends, and whole days between
        (timedelta(days=30), 0, 31),
    ],
)
def test_periods_cover_a_span_once(back: timedelta, hours: int, days: int) -> None:
    periods = periods_of(NOW - back, NOW, NOW)
    by_hour = [one for one in periods if "T" in one.name]
    assert (len(by_hour), len(periods) - len(by_hour)) == (hours, days)
    length = {True: timedelta(hours=1), False: timedelta(days=1)}
    for one, following in pairwise(periods):
        assert one.start + length["T" in one.name] == following.start
    assert periods[-1].start < NOW <= periods[-1].start + length["T" in periods[-1].name]


def test_a_day_that_begins_at_the_end_is_not_in_it() -> None:
    midnight = NOW.replace(hour=0, minute=0)
    names = [one.name for one in periods_of(midnight - timedelta(days=5), midnight, NOW)]
    assert names == [f"2026-03-{day:02}" for day in range(9, 14)]


async def filled(store: Store, keys: int) -> None:
    log = UsageLog(store)
    for number in range(keys):
        for back in (0, 20, 100):
            at = NOW - timedelta(hours=back)
            one = record(key=f"key-{number}", alias=f"m{number % 2}", cost=10**6 + number)
            log.add(one | {"estimated": number == 0}, at.timestamp())
    await log.flush()


def summed(reading: Reading) -> dict[str, int]:
    total: dict[str, int] = {}
    for row in reading.rows:
        for name, amount in row.counts.items():
            total[name] = total.get(name, 0) + amount
    return total


def test_rows_and_sums_are_what_the_command_reads(url: str) -> None:
    async def body(store: Store) -> Any:
        await filled(store, 4)
        since = NOW - timedelta(days=6)
        ours = await read_tenant(store, "acme", periods_of(since, NOW, NOW))
        return ours, await read_usage(store, "acme", since, NOW)

    ours, theirs = on(url, body)
    assert ours.rows == theirs
    assert sum(sums.get("cost", 0) for sums in ours.series.values()) == summed(ours)["cost"]
    assert (summed(ours)["estimated_tokens"], summed(ours)["estimated_cost"]) == (15, 3 * 10**6)


def test_with_too_many_keys_the_total_is_the_same_and_rows_are_by_model(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store) -> list[Reading]:
        await filled(store, 30)
        periods = periods_of(NOW - timedelta(days=6), NOW, NOW)
        whole = await read_tenant(store, "acme", periods)
        one = await read_tenant(store, "acme", periods, key="key-7")
        monkeypatch.setattr(usage_report, "MOST_FIELDS", 50)
        return [
            whole,
            one,
            await read_tenant(store, "acme", periods),
            await read_tenant(store, "acme", periods, key="key-7"),
        ]

    whole, one, folded, one_of_many = on(url, body)
    assert [(row.key, row.model) for row in folded.rows] == [("", "m0"), ("", "m1")]
    assert (whole.folded, folded.folded) == (False, True)
    assert summed(folded) == summed(whole)
    assert one_of_many.rows == one.rows
    assert [row.key for row in one.rows] == ["key-7"]


class Counting:
    """A store that counts what is read of it."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.commands = 0
        self.most = 0  # fields in one answer
        self.together = self._running = 0  # the most commands that ran at once

    async def command(self, *args: Any) -> Any:
        self.commands += 1
        self._running += 1
        self.together = max(self.together, self._running)
        found = await self._store.command(*args)
        self._running -= 1
        self.most = max(self.most, len(found) if isinstance(found, dict | list) else 1)
        return found

    async def run(self, *args: Any) -> Any:
        return await self._store.run(*args)


def test_a_hundred_thousand_keys_take_no_more_reads_than_ten(server: RedisServer) -> None:
    """Whatever is read at once stays within the bound, so the store is never held up either."""

    async def body(store: Store) -> list[tuple[int, ...]]:
        await filled(store, 10)
        periods = periods_of(NOW - timedelta(hours=24), NOW, NOW)
        found = []
        for keys in (10, 100_000):
            counted = Counting(store)
            reading = await read_tenant(counted, "acme", periods)
            found.append(
                (summed(reading)["requests"], counted.commands, counted.most, counted.together)
            )
            if keys == 10:
                await many_more(store, 99_990)
        return found

    few, many = on(server.url, body)
    assert (few[0], many[0]) == (20, 20 + 99_990)
    assert many[1] == few[1]
    assert many[2] <= usage_report.MOST_FIELDS
    assert many[3] == usage_report.READS_AT_ONCE == 4


async def many_more(store: Store, keys: int) -> None:
    """One request of each, as the usage log would have counted it in the last hour."""
    hour = NOW.strftime("%Y-%m-%dT%H")
    for start in range(0, keys, 10_000):
        pairs: list[Any] = []
        for number in range(start, min(start + 10_000, keys)):
            pairs += (f"more-{number}|m0|requests", 1)
        await store.command("HSET", names.counters("acme", hour), *pairs)
    await store.command("HINCRBY", names.counters("acme", hour + OF_ALL_KEYS), "|m0|requests", keys)
