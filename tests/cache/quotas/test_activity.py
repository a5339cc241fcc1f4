"""What workers share of their requests: one trip, bounded, and read by whoever looks."""

from __future__ import annotations

from typing import Any

import pytest

from cache.quotas import activity
from cache.quotas.activity import (
    ActivityLog,
    read_activity_counts,
    read_after,
    read_recent,
    read_workers,
)
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.clock import StoreClock
from tests.app.observability.test_activity import NOW, record
from tests.cache.stores import on


def log_of(store: Store, **facts: Any) -> ActivityLog:
    log = ActivityLog(store, StoreClock(own=lambda: NOW), lambda: {"pid": 1, **facts})
    log.wanted = True
    return log


def test_every_worker_hears_of_all_requests(url: str) -> None:
    async def body(store: Store) -> Any:
        for name in ("one", "two"):
            log = log_of(store, host=name)
            log.activity.add(record(request_id=name, status=502, error="upstream_timeout"), NOW)
            await log.share()
        workers = await read_workers(store, NOW)
        recent = await read_recent(store, "+", 10)
        counted = await read_activity_counts(store, NOW - 60, NOW)
        return (
            sorted(word["host"] for word in workers.values()),
            [one["request_id"] for _, records in recent for one in records],
            [(one.kind, one.code, one.key, one.alias, one.amount) for one in counted],
        )

    hosts, recent, counted = on(url, body)
    assert hosts == ["one", "two"]
    assert recent == ["two", "one"]
    assert counted == [("error", "upstream_timeout", "web", "demo", 2)]


def test_a_worker_that_is_silent_or_gone_does_not_live(url: str) -> None:
    async def body(store: Store) -> list[int]:
        log = log_of(store)
        await log.share()
        alive = len(await read_workers(store, NOW + 1)), len(await read_workers(store, NOW + 60))
        await log.leave()
        return [*alive, len(await read_workers(store, NOW))]

    assert on(url, body) == [1, 0, 0]


def test_what_came_after_a_place_is_read_from_there(url: str) -> None:
    async def body(store: Store) -> list[str]:
        log = log_of(store)
        for number in range(3):
            log.activity.add(record(request_id=str(number)), NOW)
            await log.share()
        first = (await read_after(store, "0", 1))[0][0]
        return [one["request_id"] for _, rs in await read_after(store, first, 10) for one in rs]

    assert on(url, body) == ["1", "2"]


def test_different_counts_are_bounded_and_their_sum_stays(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(activity, "MAX_COUNTS", 5)

    async def body(store: Store) -> Any:
        log = log_of(store)
        for number in range(20):
            log.activity.add(record(status=429, error="x", key=f"key-{number}"), NOW)
        await log.share()
        counted = await read_activity_counts(store, NOW - 60, NOW)
        return len(counted), sum(one.amount for one in counted), {one.code for one in counted}

    different, total, codes = on(url, body)
    assert different == 6  # five, and what the rest is added up under
    assert (total, codes) == (20, {"x"})


def test_the_stream_is_bounded(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(activity, "MAX_ENTRIES", 100)

    async def body(store: Store) -> int:
        log = log_of(store)
        for _ in range(400):
            log.activity.add(record(), NOW)
            await log.share()
        return int(await store.command("XLEN", names.ACTIVITY))

    assert on(url, body) <= 200  # Redis cuts whole nodes
