"""How many workers share the store, as each of them counts."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cache.quotas import heartbeat as replicas
from cache.quotas.heartbeat import Heartbeat, claim
from cache.store.base import Store
from cache.store.clock import StoreClock
from cache.store.key_names import IDENTITY, REPLICAS
from tests.cache.stores import fails, on, on_spied, until
from tests.harness.redis_server import RedisServer

pytestmark = pytest.mark.alone  # a sign of life must come in its time


class Count:
    def __init__(self) -> None:
        self.told: list[int] = []

    def __call__(self, count: int) -> None:
        self.told.append(count)

    @property
    def last(self) -> int:
        return self.told[-1] if self.told else 0


def test_each_that_beats_is_counted_once(url: str) -> None:
    async def body(store: Store) -> list[int]:
        counts = [Count() for _ in range(3)]
        beats = [Heartbeat(store, count) for count in counts]
        for _ in range(2):
            for beat in beats:
                await beat.beat()
        return [count.last for count in counts]

    assert on(url, body) == [3, 3, 3]


def test_one_that_leaves_is_counted_no_more(url: str) -> None:
    async def body(store: Store) -> int:
        count = Count()
        stays, leaves = Heartbeat(store, count), Heartbeat(store, Count())
        await stays.beat()
        await leaves.beat()
        await leaves.leave()
        await stays.beat()
        return count.last

    assert on(url, body) == 1


def test_one_that_dies_is_counted_no_more(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async def body(store: Store) -> list[int]:
        count = Count()
        dead, alive = Heartbeat(store, Count()), Heartbeat(store, count)
        monkeypatch.setattr(replicas, "BEAT_SECONDS", 0.02)
        await dead.beat()
        await alive.beat()
        beating = asyncio.ensure_future(alive.keep_beating())
        await until(lambda: count.last == 1)
        beating.cancel()
        return count.told

    told = on(url, body)
    assert told[0] == 2
    assert told[-1] == 1


def test_the_last_count_stands_while_the_store_is_out(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(store: Store) -> list[int]:
        count = Count()
        first, second = Heartbeat(store, count), Heartbeat(store, Count())
        await second.beat()
        await first.beat()
        server.kill()
        monkeypatch.setattr(replicas, "BEAT_SECONDS", 0.01)
        beating = asyncio.ensure_future(first.keep_beating())
        await until(lambda: store.breaker.open)
        during = list(count.told)
        server.restart()
        await until(lambda: len(count.told) > len(during))
        beating.cancel()
        await second.leave()
        return [*during, count.told[len(during)]]

    # Empty after its restart, the store counts one; the share stays the smaller, safe one for now.
    assert on(server.url, body, 0.1) == [2, 2]


def test_leaving_a_store_that_is_gone_says_nothing(server: RedisServer) -> None:
    async def body(store: Store) -> None:
        server.kill()
        await Heartbeat(store, Count()).leave()

    on(server.url, body, 0.05)


def test_a_beat_is_one_step_and_two_keys(server: RedisServer) -> None:
    async def body(store: Store, sent: list[Any]) -> list[Any]:
        store.start()
        await Heartbeat(store, Count()).beat()
        return [command[0] for batch in sent for command in batch]

    # Once by its hash, and once with the text that the server had not seen.
    assert on_spied(server.url, body) == ["EVALSHA", "EVAL"]
    assert sorted(server.cli("KEYS", "*").splitlines()) == sorted([REPLICAS, IDENTITY])


# Clocks


def skewed(seconds: float) -> StoreClock:
    return StoreClock(own=lambda: time.time() + seconds)


@pytest.mark.parametrize("ahead", [10, 90_000, -90_000])
def test_workers_count_each_other_by_the_stores_clock(url: str, ahead: float) -> None:
    # As those of the earlier release did not: one ten seconds ahead took all others for dead.
    async def body(store: Store) -> tuple[list[int], list[float]]:
        counts = [Count(), Count()]
        clocks = [skewed(ahead), skewed(0)]
        beats = [Heartbeat(store, *each) for each in zip(counts, clocks, strict=True)]
        for _ in range(2):
            for beat in beats:
                await beat.beat()
        return [count.last for count in counts], [clock.now() for clock in clocks]

    counted, times = on(url, body)
    assert counted == [2, 2]
    assert all(abs(now - time.time()) < 2 for now in times)


# Loss


def test_a_store_that_comes_back_empty_is_told_to_one_worker(server: RedisServer) -> None:
    async def body(store: Store) -> tuple[int, int]:
        told: list[int] = []
        beats = [
            Heartbeat(store, Count(), emptied=lambda place=place: told.append(place))
            for place in range(3)
        ]
        for _ in range(2):
            for beat in beats:
                await beat.beat()
        before = len(told)
        server.cli("FLUSHALL")
        await Heartbeat(store, Count(), emptied=lambda: told.append(9)).beat()  # a new one is first
        for _ in range(2):
            for beat in beats:
                await beat.beat()
        server.kill()
        await until(lambda: store.breaker.open)
        server.restart()
        await until(lambda: not store.breaker.open)
        for beat in beats:
            await beat.beat()
        return before, len(told)

    assert on(server.url, body, 0.5) == (0, 2)


def test_a_store_that_was_out_and_kept_everything_has_lost_nothing(server: RedisServer) -> None:
    async def body(store: Store) -> list[str]:
        told: list[str] = []
        beat = Heartbeat(store, Count(), emptied=lambda: told.append("lost"))
        await beat.beat()
        server.pause()
        await until(lambda: fails(beat.beat()))
        await until(lambda: store.breaker.open)
        server.resume()
        await until(lambda: not store.breaker.open)
        await beat.beat()
        return told

    assert on(server.url, body, 0.05) == []


def test_what_all_see_is_reported_by_one(url: str) -> None:
    async def body(store: Store) -> list[bool]:
        asked = [await claim(store, "warned", 60) for _ in range(3)]
        return [*asked, await claim(store, "another", 60), await claim(store, "warned", 0)]

    assert on(url, body) == [True, False, False, True, True]
