"""How many workers share the store, as each of them counts."""

from __future__ import annotations

import asyncio

import pytest

from cache import replicas
from cache.connection import Store
from cache.names import REPLICAS
from cache.replicas import Heartbeat
from tests.cache.stores import on, until
from tests.redis_server import RedisServer


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


def test_beats_are_one_set(server: RedisServer) -> None:
    async def body(store: Store) -> None:
        await Heartbeat(store, Count()).beat()

    on(server.url, body)
    assert server.cli("KEYS", "*") == REPLICAS
