"""A loop that stalls is not a store that is out; a store that is out is, however the loop does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import Any

import pytest
import uvloop

from cache.store import redis_store
from cache.store.base import Store
from cache.store.command import TURN_SECONDS, Pending
from cache.store.opening import open_store
from cache.store.redis_store import Line, RedisStore
from tests.cache.stores import ADD, fails, script_of, server_of, stall
from tests.harness.redis_server import RedisServer

pytestmark = pytest.mark.alone  # it measures how long others wait

TIMEOUT = 0.05
STALL = 0.3  # of the loop; several timeouts


@pytest.fixture(scope="module")
def one_server() -> Iterator[RedisServer]:
    with server_of("7") as server:
        yield server


@pytest.fixture
def server(one_server: RedisServer) -> RedisServer:
    one_server.cli("FLUSHALL")
    one_server.cli("SCRIPT", "FLUSH")
    return one_server


@pytest.fixture(params=["asyncio", "uvloop"])
def on_store(
    request: pytest.FixtureRequest, server: RedisServer
) -> Callable[[Callable[[Store], Awaitable[Any]]], Any]:
    """What a body returns, given a store of the default timeout, on either loop."""

    def on(body: Callable[[Store], Awaitable[Any]]) -> Any:
        async def run() -> Any:
            store = open_store(server.url, TIMEOUT)
            store.start()
            try:
                return await body(store)
            finally:
                await store.aclose()

        return asyncio.run(run()) if request.param == "asyncio" else uvloop.run(run())

    return on


OnStore = Callable[[Callable[[Store], Awaitable[Any]]], Any]


async def a_crowd(store: Store, count: int = 100) -> list[asyncio.Future[Any]]:
    """So many commands, asked in one turn of the loop."""
    asked = [asyncio.ensure_future(store.command("INCR", "k")) for _ in range(count)]
    await asyncio.sleep(0)
    return asked


@pytest.mark.parametrize("turns", [0, 1, 2])
def test_a_stall_costs_no_answer(on_store: OnStore, turns: int) -> None:
    # Before the commands are sent, before the answers are there, or with both in the kernel.
    async def body(store: Store) -> tuple[list[Any], int]:
        await store.command("GET", "k")
        asked = await a_crowd(store)
        for _ in range(turns):
            await asyncio.sleep(0)
        stall(STALL)
        return await asyncio.gather(*asked), store.breaker.opened

    assert on_store(body) == (list(range(1, 101)), 0)


def test_a_loop_that_always_stalls_gets_every_answer(on_store: OnStore) -> None:
    async def body(store: Store) -> tuple[list[Any], int]:
        asked = []
        for _ in range(8):
            asked += await a_crowd(store, 20)
            stall(TIMEOUT * 2)
        return await asyncio.gather(*asked), store.breaker.opened

    assert on_store(body) == (list(range(1, 161)), 0)


def test_a_script_that_must_be_loaded_stands_a_stall(on_store: OnStore) -> None:
    async def body(store: Store) -> tuple[list[Any], int]:
        await store.command("GET", "k")
        add = script_of(ADD)
        asked = [asyncio.ensure_future(store.run(add, ["k"], [1])) for _ in range(50)]
        for _ in range(4):
            await asyncio.sleep(0)
            stall(TIMEOUT * 2)
        return sorted(await asyncio.gather(*asked)), store.breaker.opened

    assert on_store(body) == (list(range(1, 51)), 0)


def test_a_stall_while_connecting_is_no_outage(
    on_store: OnStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "CONNECT_SECONDS", 0.1)

    async def body(store: Store) -> tuple[Any, int]:
        asked = asyncio.ensure_future(store.command("INCR", "k"))
        for _ in range(3):
            await asyncio.sleep(0)
            stall(STALL)
        return await asked, store.breaker.opened

    assert on_store(body) == (1, 0)


def test_a_probe_stands_stalls(on_store: OnStore) -> None:
    async def body(store: Store) -> Any:
        await store.command("GET", "k")
        store.breaker.failed("readonly", at_once=True)
        deadline = time.monotonic() + 5
        while store.breaker.open and time.monotonic() < deadline:
            await asyncio.sleep(0)
            stall(TIMEOUT * 2)
        return await store.command("INCR", "k")

    assert on_store(body) == 1


def test_a_paused_store_is_out_for_a_loop_that_stalls_too(
    on_store: OnStore, server: RedisServer
) -> None:
    async def body(store: Store) -> tuple[bool, str | None]:
        await store.command("GET", "k")
        server.pause()
        try:
            while not store.breaker.open:
                asked = asyncio.ensure_future(store.command("INCR", "k"))
                await asyncio.sleep(0)
                stall(TIMEOUT * 2)
                async with asyncio.timeout(2):
                    assert await fails(asked)
            return store.breaker.open, store.breaker.reason
        finally:
            server.resume()

    assert on_store(body) == (True, "slow")


@pytest.mark.alone
def test_a_paused_store_fails_a_crowd_after_the_timeout(
    on_store: OnStore, server: RedisServer
) -> None:
    # Nobody waits for the turns of all the others where nothing comes at all.
    async def body(store: Store) -> float:
        await store.command("GET", "k")
        server.pause()
        try:
            asked = await a_crowd(store, 9000)
            began, worked = time.monotonic(), time.process_time()
            answers = await asyncio.gather(*asked, return_exceptions=True)
            assert all(isinstance(answer, Exception) for answer in answers)
            # Without the work of failing so many, which takes longer on a slower machine.
            return time.monotonic() - began - (time.process_time() - worked)
        finally:
            server.resume()

    assert on_store(body) < TIMEOUT + 9000 * TURN_SECONDS / 2


def test_a_store_that_works_through_a_crowd_is_not_late() -> None:
    async def run() -> tuple[list[Any], int]:
        async def dial(store: RedisStore) -> Line:
            return Steady(store, 10_000)

        store = RedisStore(dial, TIMEOUT)
        store.start()
        asked = await a_crowd(store, 2000)
        answers = await asyncio.gather(*asked)
        await store.aclose()
        return answers, store.breaker.opened

    assert asyncio.run(run()) == ([b"1"] * 2000, 0)


class Steady:
    """Answers so many commands a second, one after the other."""

    def __init__(self, store: RedisStore, rate: float) -> None:
        self._store = store
        self._rate = rate
        self._queue: list[Pending] = []
        self._working: asyncio.Task[None] | None = None

    def send(self, batch: Sequence[Pending]) -> None:
        self._queue += batch
        if self._working is None:
            self._working = asyncio.get_running_loop().create_task(self._work())

    def close(self) -> None:
        if self._working is not None:
            self._working.cancel()

    async def closed(self) -> None:
        return

    async def _work(self) -> None:
        began, done = time.monotonic(), 0
        while self._queue:
            await asyncio.sleep(0.005)
            due = min(int((time.monotonic() - began) * self._rate), done + len(self._queue))
            ready, self._queue = self._queue[: due - done], self._queue[due - done :]
            done = due
            for pending in ready:
                self._store.answered(pending, b"1")
        self._working = None


# Closing.


def test_what_was_told_arrives_though_the_loop_stalls(
    on_store: OnStore, server: RedisServer
) -> None:
    async def body(store: Store) -> None:
        for _ in range(100):
            store.tell(script_of(ADD), ["k"], [1])
        await asyncio.sleep(0)
        stall(STALL)

    on_store(body)
    assert server.cli("GET", "k") == "100"


def test_what_was_told_arrives_though_the_store_is_late(
    on_store: OnStore, server: RedisServer
) -> None:
    async def body(store: Store) -> None:
        await store.command("GET", "k")
        server.pause()
        for _ in range(100):
            store.tell(script_of(ADD), ["k"], [1])
        asyncio.get_running_loop().call_later(TIMEOUT * 8, server.resume)
        await store.aclose()

    try:
        on_store(body)
    finally:
        server.resume()
    assert server.cli("GET", "k") == "100"


def test_a_script_that_must_be_loaded_is_waited_for_in_closing() -> None:
    async def run() -> list[str]:
        lines: list[Learning] = []

        async def dial(store: RedisStore) -> Line:
            lines.append(Learning(store))
            return lines[-1]

        store = RedisStore(dial, TIMEOUT)
        store.start()
        for _ in range(3):
            store.tell(script_of(ADD), ["k"], [1])
        await store.aclose()
        return lines[0].done

    assert asyncio.run(run()) == ["EVAL"] * 3 + ["closed"]


class Learning:
    """Knows no script, says so at once, and takes its time to do what it is sent whole."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store
        self.done: list[str] = []

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            if pending.args[0] == "EVALSHA":
                self._store.answered(pending, Exception("NOSCRIPT No matching script."))
            elif pending.args[0] == "EVAL":
                asyncio.get_running_loop().call_later(TIMEOUT / 2, self._do, pending)
            else:
                self._store.answered(pending, b"PONG")

    def _do(self, pending: Pending) -> None:
        self.done.append("EVAL")
        self._store.answered(pending, 1)

    def close(self) -> None:
        self.done.append("closed")

    async def closed(self) -> None:
        return


def test_a_store_that_is_closing_takes_no_more(server: RedisServer) -> None:
    failed: list[int] = []

    async def run() -> None:
        store = open_store(server.url, TIMEOUT)
        await store.command("GET", "k")
        await store.aclose()
        assert await fails(store.command("GET", "k"))
        store.tell(script_of(ADD), ["k"], [1], lambda: failed.append(1))

    asyncio.run(run())
    assert failed == [1]
