"""How the tests of the cache get at a store: embedded, Redis 7 or Redis 8, by one door."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

import pytest

from cache.store.base import Script, Store, StoreUnavailable
from cache.store.command import Pending
from cache.store.opening import open_store
from cache.store.redis_store import Line, RedisStore
from cache.store.redis_urls import dial_for
from tests.harness.redis_install import problems
from tests.harness.redis_server import RedisServer, servers

T = TypeVar("T")

ADD = "return redis.call('INCRBY', KEYS[1], ARGV[1])"
PATIENCE = 5.0


def server_of(major: str, args: tuple[str, ...] = ()) -> RedisServer:
    """A fresh server; without Redis 7 the test fails, without Redis 8 it is skipped."""
    found = servers()
    if major not in found:
        reason = f"NO REDIS {major} ON THIS MACHINE: {problems.get(major)}"
        if major == "7":
            pytest.fail(reason)
        pytest.skip(reason)
    return RedisServer.start(found[major], args)


def of_servers(*names: str) -> list[Any]:
    """Parameters whose tests run a real server, so that `make check` can leave them out."""
    return [pytest.param(name, marks=pytest.mark.server) for name in names]


def script_of(text: str) -> Script:
    return Script("a_test", text, hashlib.sha1(text.encode()).hexdigest())


def on(url: str, body: Callable[[Store], Awaitable[T]], timeout: float = 2.0) -> T:
    """What ``body`` returns, given a store that is open while it runs."""

    async def run() -> T:
        store = open_store(url, timeout)
        store.start()
        try:
            return await body(store)
        finally:
            await store.aclose()

    return asyncio.run(run())


async def until(
    condition: Callable[[], bool | Awaitable[bool]], patience: float = PATIENCE
) -> None:
    """Returns once it is so; fails when it does not come to be."""
    deadline = time.monotonic() + patience
    while True:
        answer = condition()
        if answer if isinstance(answer, bool) else await answer:
            return
        assert time.monotonic() < deadline, "it did not come to be"
        await asyncio.sleep(0.005)


async def fails(asked: Awaitable[Any]) -> bool:
    """Whether the store says that it is unavailable."""
    try:
        await asked
    except StoreUnavailable:
        return True
    return False


def stall(seconds: float) -> None:
    """Hold the event loop up, as work that takes long does."""
    time.sleep(seconds)


async def settled(store: Store) -> None:
    """Returns when everything told so far was done."""
    if isinstance(store, RedisStore):
        await until(lambda: not store._waiting)


def on_spied(url: str, body: Callable[[Store, list[Any]], Awaitable[T]], timeout: float = 2.0) -> T:
    """As ``on``; ``body`` also gets the batches of commands that were sent, as they are sent."""
    dial = dial_for(url)
    sent: list[Any] = []

    async def spied(store: RedisStore) -> Line:
        line = await dial(store)
        send = line.send

        def noted(batch: Sequence[Pending]) -> None:
            sent.append([pending.args for pending in batch])
            send(batch)

        line.send = noted  # type: ignore[method-assign]
        return line

    async def run() -> T:
        store = RedisStore(spied, timeout)
        try:
            return await body(store, sent)
        finally:
            await store.aclose()

    return asyncio.run(run())
