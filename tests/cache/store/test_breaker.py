"""When a store counts as out, what it costs while it is, and how it comes back."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import pytest

from cache.store import redis_store
from cache.store.base import ON_FULL_SERVER, Store, StoreUnavailable
from cache.store.command import Pending
from cache.store.key_names import PROBE
from cache.store.opening import open_store
from cache.store.redis_store import Line, RedisStore
from tests.cache.store.test_store import TIMEOUT
from tests.cache.stores import ADD, fails, on, script_of, until
from tests.harness.redis_server import RedisServer

pytestmark = pytest.mark.alone  # timeouts of 50 ms

# Outages


def test_a_store_need_not_be_there_yet(server: RedisServer) -> None:
    server.kill()

    async def body(store: Store) -> Any:
        assert await fails(store.command("GET", "k"))
        assert store.breaker.open
        server.restart()
        await until(lambda: not store.breaker.open)
        return await store.command("INCR", "k")

    assert on(server.url, body, TIMEOUT) == 1


def test_the_breaker_opens_when_the_server_is_killed_and_closes_by_itself(
    server: RedisServer,
) -> None:
    async def body(store: Store) -> Any:
        await store.command("INCR", "k")
        server.kill()
        assert await fails(store.command("INCR", "k"))
        assert store.breaker.open
        assert store.breaker.reason == "unreachable"
        assert store.breaker.opened == 1
        server.restart()
        await until(lambda: not store.breaker.open)
        assert store.breaker.reason is None
        return await store.command("INCR", "k")

    assert on(server.url, body, TIMEOUT) == 1


def test_trips_are_timed_before_an_outage_and_after_it(server: RedisServer) -> None:
    async def body(store: Store) -> list[int]:
        await store.command("INCR", "k")
        timed = [sum(store.trips.counts)]
        server.kill()
        assert await fails(store.command("INCR", "k"))
        server.restart()
        await until(lambda: not store.breaker.open)
        await store.command("INCR", "k")
        return [*timed, sum(store.trips.counts)]

    before, after = on(server.url, body, TIMEOUT)
    assert 0 < before < after


def test_while_the_breaker_is_open_nobody_waits(server: RedisServer) -> None:
    async def body(store: Store) -> float:
        server.kill()
        await fails(store.command("GET", "k"))
        worst = 0.0
        for _ in range(200):
            began = time.perf_counter()
            assert await fails(store.run(script_of(ADD), ["k"], [1]))
            worst = max(worst, time.perf_counter() - began)
        return worst

    assert on(server.url, body, TIMEOUT) < 0.02


def test_a_paused_server_costs_each_at_most_the_timeout(server: RedisServer) -> None:
    async def body(store: Store) -> list[float]:
        await store.command("GET", "k")
        server.pause()
        times = []
        while not store.breaker.open:
            began = time.perf_counter()
            assert await fails(store.command("INCR", "k"))
            times.append(time.perf_counter() - began)
        assert store.breaker.reason == "slow"
        server.resume()
        await until(lambda: not store.breaker.open)
        assert not await fails(store.command("GET", "k"))
        return times

    times = on(server.url, body, TIMEOUT)
    assert len(times) <= 3
    assert max(times) < TIMEOUT + 0.1


def test_a_script_that_must_be_loaded_costs_no_second_timeout() -> None:
    # The first trip, nearly too late, answers that the script is unknown; the second hangs.
    async def run() -> float:
        async def dial(store: RedisStore) -> Line:
            return OnlyNoScript(store)

        store = RedisStore(dial, 0.2)
        store.start()
        began = time.perf_counter()
        assert await fails(store.run(script_of(ADD), ["k"], [1]))
        waited = time.perf_counter() - began
        await store.aclose()
        return waited

    assert asyncio.run(run()) < 0.3


class OnlyNoScript:
    """Knows no script, says so late, and is silent when it is sent one."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            if pending.args[0] == "EVALSHA":
                error = Exception("NOSCRIPT No matching script.")
                loop = asyncio.get_running_loop()
                loop.call_later(0.15, self._store.answered, pending, error)

    def close(self) -> None:
        return

    async def closed(self) -> None:
        return


def test_one_slow_answer_opens_nothing(server: RedisServer) -> None:
    async def body(store: Store) -> bool:
        await store.command("GET", "k")
        server.pause()
        assert await fails(store.command("GET", "k"))
        server.resume()
        assert not await fails(store.command("GET", "k"))
        return store.breaker.opened == 0

    assert on(server.url, body, 0.1)


def test_what_is_told_to_a_store_that_is_gone_is_called_failed(server: RedisServer) -> None:
    failures: list[int] = []

    async def body(store: Store) -> None:
        await store.command("GET", "k")
        server.kill()
        store.tell(script_of(ADD), ["k"], [1], lambda: failures.append(1))
        await until(lambda: failures == [1])
        assert store.breaker.open
        store.tell(script_of(ADD), ["k"], [1], lambda: failures.append(2))
        store.tell(script_of(ADD), ["k"], [1])

    on(server.url, body, TIMEOUT)
    assert failures == [1, 2]


def test_a_read_only_server_opens_the_breaker_until_it_takes_writes(server: RedisServer) -> None:
    async def body(store: Store) -> Any:
        await store.command("SET", "k", 1)
        server.cli("REPLICAOF", "127.0.0.1", "1")
        assert await fails(store.run(script_of(ADD), ["k"], [1]))
        assert store.breaker.open
        assert store.breaker.reason == "readonly"
        server.cli("REPLICAOF", "NO", "ONE")
        await until(lambda: not store.breaker.open)
        return await store.run(script_of(ADD), ["k"], [1])

    assert on(server.url, body) == 2


def test_a_full_server_refuses_what_must_not_be_written_and_goes_on(server: RedisServer) -> None:
    async def body(store: Store) -> list[Any]:
        await store.command("SET", "k", 1)
        server.cli("CONFIG", "SET", "maxmemory", "1")
        said: list[str] = []
        store.tell(script_of(ADD), ["k"], [1], lambda: said.append("not done"))
        refused = await fails(store.run(script_of(ADD), ["k"], [1]))
        counted = await store.run(script_of(ON_FULL_SERVER + ADD), ["k"], [5])
        return [refused, said, counted, store.full, store.breaker.open]

    assert on(server.url, body) == [True, ["not done"], 6, 2, False]


def test_the_breaker_closes_on_a_full_server_too(server: RedisServer) -> None:
    async def body(store: Store) -> Any:
        await store.command("SET", "k", 1)
        server.cli("CONFIG", "SET", "maxmemory", "1")
        server.pause()
        await until(lambda: fails(store.command("GET", "k")))
        await until(lambda: store.breaker.open or fails(store.command("GET", "k")))
        store.breaker.failed("slow", at_once=True)
        server.resume()
        await until(lambda: not store.breaker.open)
        return await store.run(script_of(ON_FULL_SERVER + ADD), ["k"], [1])

    assert on(server.url, body, TIMEOUT) == 2


def test_a_server_that_forbids_config_is_no_outage(server: RedisServer) -> None:
    server.cli("ACL", "SETUSER", "default", "-config")

    async def body(store: Store) -> bool:
        with pytest.raises(Exception, match="NOPERM"):
            await store.command("CONFIG", "GET", "save")
        return store.breaker.open

    assert not on(server.url, body)


def test_a_wrong_password_is_an_outage(server: RedisServer) -> None:
    server.cli("CONFIG", "SET", "requirepass", "sesame")

    async def body(store: Store) -> bool:
        return await fails(store.command("GET", "k")) and store.breaker.open

    assert on(server.url.replace("redis://", "redis://:wrong@"), body)
    assert on(server.url, body)

    async def right(store: Store) -> Any:
        return await store.command("INCR", "k")

    assert on(server.url.replace("redis://", "redis://:sesame@"), right) == 1


def test_after_an_outage_every_waiter_has_an_answer(server: RedisServer) -> None:
    async def body(store: Store) -> list[Any]:
        await store.command("GET", "k")
        asked = []
        for turn in range(40):
            asked += [asyncio.ensure_future(store.command("INCR", "k")) for _ in range(5)]
            if turn == 20:
                server.kill()
            await asyncio.sleep(0)
        async with asyncio.timeout(2):
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = on(server.url, body, TIMEOUT)
    assert all(isinstance(answer, int | StoreUnavailable) for answer in answers)


def test_closing_a_store_that_is_paused_does_not_hang(server: RedisServer) -> None:
    async def run() -> float:
        store = open_store(server.url, TIMEOUT)
        store.start()
        await store.command("GET", "k")
        server.pause()
        asked = asyncio.ensure_future(store.command("GET", "k"))
        store.tell(script_of(ADD), ["k"], [1])
        await asyncio.sleep(0)
        began = time.perf_counter()
        await store.aclose()
        assert await fails(asked)
        return time.perf_counter() - began

    assert asyncio.run(run()) < redis_store.CLOSE_SECONDS + 0.5
    server.resume()


def test_the_breaker_tries_a_write_and_leaves_nothing_behind(server: RedisServer) -> None:
    async def body(store: Store) -> None:
        await store.command("GET", "k")
        server.restart()
        await fails(store.command("GET", "k"))
        await until(lambda: not store.breaker.open)

    on(server.url, body, TIMEOUT)
    assert server.cli("KEYS", "*") in ("", PROBE)
    if server.cli("EXISTS", PROBE) == "1":
        assert 0 < int(server.cli("PTTL", PROBE)) <= 1000
