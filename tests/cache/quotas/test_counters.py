"""Counts of events over all replicas, over every kind of store."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from cache.quotas import counters as module
from cache.quotas.counters import Counters
from cache.store import key_names as names
from cache.store.base import Store, StoreUnavailable
from tests.cache.stores import on, server_of, until


def over(url: str, body: Callable[[Store, Counters], Awaitable[Any]], timeout: float = 2.0) -> Any:
    async def run(store: Store) -> Any:
        return await body(store, Counters(store))

    return on(url, run, timeout)


def test_an_empty_store_has_no_series(url: str) -> None:
    assert over(url, lambda _, counters: counters.read()) == {}


def test_what_is_added_is_read_once_it_is_written(url: str) -> None:
    async def body(store: Store, counters: Counters) -> Any:
        counters.add("a_total", {})
        counters.add("a_total", {"b": "x"}, 3)
        counters.add("a_total", {"b": "x"}, 4)
        before = await counters.read()
        await counters.flush()
        await counters.flush()
        return before, await counters.read()

    assert over(url, body) == ({}, {"a_total": 1, 'a_total{b="x"}': 7})


def test_labels_come_in_one_order(url: str) -> None:
    async def body(store: Store, counters: Counters) -> Any:
        counters.add("a_total", {"x": "1", "b": "2"})
        counters.add("a_total", {"b": "2", "x": "1"})
        await counters.flush()
        return await counters.read()

    assert over(url, body) == {'a_total{b="2",x="1"}': 2}


def test_labels_are_escaped(url: str) -> None:
    async def body(store: Store, counters: Counters) -> Any:
        counters.add("a_total", {"b": '\\ " \n \u00e9'})
        await counters.flush()
        return await counters.read()

    assert over(url, body) == {'a_total{b="\\\\ \\" \\n \u00e9"}': 1}


def test_replicas_add_up(url: str) -> None:
    async def body(store: Store, counters: Counters) -> Any:
        replicas = [counters, Counters(store)]
        for replica in replicas:
            replica.add("a_total", {}, 5)
        await asyncio.gather(*(replica.flush() for replica in replicas))
        return await counters.read()

    assert over(url, body) == {"a_total": 10}


def test_counts_do_not_expire(url: str) -> None:
    # There are no more of them than the code and the configuration name.
    async def body(store: Store, counters: Counters) -> Any:
        counters.add("a_total", {})
        await counters.flush()
        await store.command("EXPIRE", names.COUNTERS, 60)  # as an earlier release did
        counters.add("a_total", {})
        await counters.flush()
        return await store.command("TTL", names.COUNTERS)

    assert over(url, body) == -1


def test_a_batch_is_bounded_and_what_is_in_it_goes_on_counting(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MOST", 10)

    async def body(store: Store, counters: Counters) -> Any:
        for number in range(25):
            counters.add("a_total", {"n": str(number)})
        counters.add("a_total", {"n": "0"})
        await counters.flush()
        found = await counters.read()
        return len(found), found['a_total{n="0"}']

    assert over(url, body) == (10, 2)


def test_as_many_as_there_may_be_are_written_at_once(url: str) -> None:
    async def body(store: Store, counters: Counters) -> Any:
        for number in range(module.MOST):
            counters.add("a_total", {"n": str(number)})
        await counters.flush()
        return len(await counters.read())

    assert over(url, body) == module.MOST


def test_what_a_dead_store_does_not_take_stays() -> None:
    with server_of("7") as server:

        async def body(store: Store, counters: Counters) -> Any:
            await counters.read()
            server.kill()
            counters.add("a_total", {}, 2)
            with pytest.raises(StoreUnavailable):
                await counters.flush()
            counters.add("a_total", {}, 3)
            return counters._waiting

        assert over(server.url, body) == {"a_total": 5}


def test_the_task_writes_by_itself(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FLUSH_SECONDS", 0.005)

    async def body(store: Store, counters: Counters) -> Any:
        task = asyncio.create_task(counters.keep_writing())
        counters.add("a_total", {})

        async def written() -> bool:
            return await counters.read() == {"a_total": 1}

        await until(written)
        task.cancel()

    over(url, body)
