"""What was used: written in batches, counted by hour and by day, bounded, kept in an outage."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import pytest

from cache.quotas import usage
from cache.quotas.usage import UsageLog, read_usage
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.clock import StoreClock
from tests.cache.stores import on, settled, until
from tests.harness.redis_server import RedisServer

MOMENT = datetime(2026, 3, 4, 5, 59, 59, tzinfo=UTC)


def record(**members: Any) -> dict[str, Any]:
    return {
        "tenant": "acme",
        "key": "web",
        "alias": "demo",
        "status": 200,
        "prompt_tokens": 3,
        "completion_tokens": 2,
        "cost": 7,
        **members,
    }


async def records(store: Store, tenant: str = "acme") -> list[Any]:
    """What the stream holds, oldest first; an entry holds several."""
    found: list[Any] = []
    for _, fields in await store.command("XRANGE", names.records(tenant), "-", "+"):
        for value in fields.values() if isinstance(fields, dict) else fields[1::2]:
            found += orjson.loads(value)
    return found


async def rows(store: Store, since: datetime, until_: datetime) -> dict[tuple[str, str], Any]:
    found = await read_usage(store, "acme", since, until_)
    return {(row.key, row.model): row.counts for row in found}


def test_counters_are_kept_by_key_model_hour_and_day(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        log = UsageLog(store)
        log.add(record(), MOMENT.timestamp())
        log.add(record(status=502, completion_tokens=None, cost=None), MOMENT.timestamp())
        more = {"cached_tokens": 2, "cache_write_tokens": 1, "reasoning_tokens": 4}
        log.add(record(alias="other", saved=5, **more), MOMENT.timestamp() + 1)  # the next hour
        log.add(record(key="ci", alias=None, prompt_tokens=None), MOMENT.timestamp())
        await log.flush()
        hour = await rows(store, MOMENT, MOMENT)
        day = await rows(store, MOMENT - timedelta(days=20), MOMENT)
        return [hour, day]

    def counts(*numbers: int) -> dict[str, int]:
        return dict.fromkeys(usage.COUNTED, 0) | dict(zip(usage.COUNTED, numbers, strict=False))

    hour, day = on(url, body)
    assert hour == {
        ("web", "demo"): counts(2, 1, 6, 2, 7, 0),
        ("ci", ""): counts(1, 0, 0, 2, 7, 0),
    }
    assert day == {**hour, ("web", "other"): counts(1, 0, 3, 2, 7, 5, 0, 0, 2, 1, 4)}


def test_a_model_may_be_named_as_the_counters_are(url: str) -> None:
    async def body(store: Store) -> Any:
        log = UsageLog(store)
        for alias in ("a|cost", "|", "b", "é:{x}"):
            log.add(record(alias=alias), MOMENT.timestamp())
        await log.flush()
        return await rows(store, MOMENT, MOMENT)

    found = on(url, body)
    assert {model for _, model in found} == {"a|cost", "|", "b", "é:{x}"}
    assert all(counts["cost"] == 7 for counts in found.values())


def test_many_records_are_many_batches_and_none_is_lost(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "BATCH", 50)

    async def body(store: Store) -> tuple[Any, list[Any], int]:
        log = UsageLog(store)
        for number in range(220):
            log.add(record(alias=f"m{number % 7}", cost=number), MOMENT.timestamp())
        await log.flush()
        return await rows(store, MOMENT, MOMENT), await records(store), log.dropped

    found, kept, dropped = on(url, body)
    assert sum(counts["requests"] for counts in found.values()) == 220
    assert sum(counts["cost"] for counts in found.values()) == sum(range(220))
    assert [record["cost"] for record in kept] == list(range(220))
    assert dropped == 0


def test_a_full_batch_is_one_command(url: str) -> None:
    # 500 records of as many keys and models: the most that one script is given.
    async def body(store: Store) -> int:
        log = UsageLog(store)
        for number in range(usage.BATCH):
            log.add(record(key=f"k{number}", saved=1), MOMENT.timestamp() + number * 3600)
        await log.flush()
        return len(await records(store))

    assert on(url, body) == usage.BATCH


def test_the_stream_of_records_holds_what_was_seen(url: str) -> None:
    async def body(store: Store) -> Any:
        log = UsageLog(store)
        log.add(record(extra="…"), MOMENT.timestamp())
        await log.flush()
        return await records(store)

    assert on(url, body) == [{"time": MOMENT.timestamp(), **record(extra="…")}]


def test_the_stream_of_records_is_capped(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "MAX_ENTRIES", 300)
    monkeypatch.setattr(usage, "RECORDS_IN_ENTRY", 2)

    async def body(store: Store) -> tuple[int, Any]:
        log = UsageLog(store)
        for number in range(2000):
            log.add(record(cost=number), MOMENT.timestamp())
        await log.flush()
        return await store.command("XLEN", names.records("acme")), (await records(store))[-1]

    entries, last = on(url, body)
    assert 300 <= entries <= 400  # Redis trims by whole nodes of a hundred
    assert last["cost"] == 1999


def test_counters_do_not_expire_by_themselves(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        log = UsageLog(store)
        periods = ("2026-03-04T05", "2026-03-04")
        keys = [names.records("acme"), *(names.counters("acme", name) for name in periods)]
        log.add(record(), MOMENT.timestamp())
        await log.flush()
        for key in keys:
            await store.command("EXPIRE", key, 60)  # as an earlier release did
        log.add(record(), MOMENT.timestamp())
        await log.flush()
        keys.append(names.written("acme"))
        return [await store.command("TTL", key) for key in keys[1:]]

    assert on(url, body) == [-1, -1, -1]


def test_the_index_says_when_counters_may_go(url: str) -> None:
    async def body(store: Store) -> list[float]:
        log = UsageLog(store)
        log.add(record(), MOMENT.timestamp())
        await log.flush()
        index, now = names.index("acme"), time.time()
        periods = ("2026-03-04T05", "2026-03-04")
        keys = [names.counters("acme", name) for name in periods] + [names.records("acme")]
        scores = [await store.command("ZSCORE", index, key) for key in keys]
        return [float(score) / 1e6 + names.EPOCH - now for score in scores]

    hour, day, records_ = on(url, body)
    assert abs(hour - usage.HOURS_KEPT) < 5
    assert abs(day - usage.DAYS_KEPT) < 5
    assert abs(records_ - usage.DAYS_KEPT) < 5


def test_a_batch_that_comes_again_counts_nothing(url: str) -> None:
    async def body(store: Store) -> list[int]:
        log, other = UsageLog(store), UsageLog(store)
        log.add(record(), MOMENT.timestamp())
        log._form_batches()
        [batch] = log._batches
        for _ in range(3):
            await log._write(batch)
        for one in (other, log):  # another worker's, and the next of the same
            one.add(record(), MOMENT.timestamp())
            await one.flush()
        found = await rows(store, MOMENT, MOMENT)
        return [found["web", "demo"]["requests"], len(await records(store))]

    assert on(url, body) == [3, 3]


def test_what_was_written_is_remembered_by_worker_for_a_day(url: str) -> None:
    async def body(store: Store) -> int:
        for back in (90_000, 0, 0):
            log = UsageLog(store, StoreClock(own=lambda back=back: time.time() - back))
            for _ in range(3):
                log.add(record(), MOMENT.timestamp())
                await log.flush()
        return await store.command("ZCARD", names.written("acme"))

    assert on(url, body) == 2


def test_of_what_was_charged_only_errors_and_savings_are_counted_here(url: str) -> None:
    async def body(store: Store) -> Any:
        log = UsageLog(store)
        log.add(record(saved=5), MOMENT.timestamp(), charged=True)
        log.add(record(status=502), MOMENT.timestamp(), charged=True)
        await log.flush()
        return await rows(store, MOMENT, MOMENT), len(await records(store))

    found, kept = on(url, body)
    assert found == {("web", "demo"): dict.fromkeys(usage.COUNTED, 0) | {"errors": 1, "saved": 5}}
    assert kept == 2


def test_what_waits_is_bounded_and_the_rest_is_counted(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MAX_BUFFERED", 10)

    async def body(store: Store) -> tuple[int, int]:
        log = UsageLog(store)
        for _ in range(15):
            log.add(record(), MOMENT.timestamp())
        await log.flush()
        return len(await records(store)), log.dropped

    assert on(url, body) == (10, 5)


def test_what_the_store_does_not_take_is_kept_for_the_next_time(server: RedisServer) -> None:
    async def body(store: Store) -> list[int]:
        log = UsageLog(store)
        server.kill()
        for number in range(700):
            tenant = "acme" if number % 2 else "other"
            log.add(record(tenant=tenant), MOMENT.timestamp())
        await log.flush()
        await log.flush()
        server.restart()
        await until(lambda: not store.breaker.open)
        await log.flush()
        await log.flush()
        lengths = [len(await records(store, tenant)) for tenant in ("acme", "other")]
        return [*lengths, log.dropped]

    assert on(server.url, body, 0.1) == [350, 350, 0]


def test_in_a_long_outage_the_buffer_stays_bounded(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(usage, "MAX_BUFFERED", 100)
    monkeypatch.setattr(usage, "BATCH", 7)
    server.kill()

    async def body(store: Store) -> tuple[int, int]:
        log = UsageLog(store)
        for _ in range(5):
            for _ in range(60):
                log.add(record(), MOMENT.timestamp())
            await log.flush()
        kept = len(log._waiting) + sum(len(batch.items) for batch in log._batches)
        return kept, log.dropped

    assert on(server.url, body, 0.05) == (100, 200)


def test_on_a_full_server_uses_are_counted_and_records_are_not_kept(server: RedisServer) -> None:
    async def body(store: Store) -> list[Any]:
        log = UsageLog(store)
        await store.command("PING")
        server.cli("CONFIG", "SET", "maxmemory", "1")
        for _ in range(usage.BATCH + 1):
            log.add(record(), MOMENT.timestamp())
        await log.flush()
        found = await rows(store, MOMENT, MOMENT)
        during = [found["web", "demo"]["requests"], len(await records(store)), log.dropped]
        server.cli("CONFIG", "SET", "maxmemory", "0")
        log.add(record(), MOMENT.timestamp())
        await log.flush()
        return [*during, len(await records(store))]

    assert on(server.url, body) == [usage.BATCH + 1, 0, usage.BATCH + 1, 1]


def test_it_writes_by_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "FLUSH_SECONDS", 0.01)

    async def body(store: Store) -> None:
        log = UsageLog(store)
        writing = asyncio.ensure_future(log.keep_writing())
        log.add(record(), MOMENT.timestamp())

        async def written() -> bool:
            return await store.command("XLEN", names.records("acme")) == 1

        await until(written)
        writing.cancel()

    on(url, body)


def test_a_stop_in_the_middle_of_writing_loses_nothing(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A worker that ends cancels its tasks, then flushes what is left.
    monkeypatch.setattr(usage, "FLUSH_SECONDS", 0.001)

    async def body(store: Store) -> list[int]:
        await store.command("PING")
        log = UsageLog(store)
        server.pause()
        for tenant in ("a", "b", "c"):
            log.add(record(tenant=tenant), MOMENT.timestamp())
        writing = asyncio.ensure_future(log.keep_writing())
        await until(lambda: not log._waiting)  # it has begun to write
        writing.cancel()
        server.resume()
        await asyncio.gather(writing, return_exceptions=True)
        await log.flush()
        await settled(store)
        return [len(await records(store, tenant)) for tenant in ("a", "b", "c")]

    assert on(server.url, body) == [1, 1, 1]
