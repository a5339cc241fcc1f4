"""The contract of a store, over every kind of it, and what a real server may do to it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cache.store import redis_store
from cache.store.base import Store, StoreUnavailable, script
from cache.store.opening import open_store
from tests.cache.stores import ADD, fails, on, on_spied, script_of, server_of, settled, until
from tests.harness.redis_server import RedisServer

TIMEOUT = 0.05
SCRIPTS = (
    *("account", "admit", "adopt", "beat", "claim", "count_events", "fold_settled", "probe"),
    *("record", "renew", "reserve", "settle_budget", "settle_limits", "sweep", "take_turn"),
)


# The contract


def test_a_script_gets_its_keys_and_arguments(url: str) -> None:
    text = "return {KEYS[1], KEYS[2], ARGV[1], tonumber(ARGV[2]), {1, 'x'}, false}"

    async def body(store: Store) -> Any:
        return await store.run(script_of(text), ["{t}a", "{t}b"], ["c", 7])

    assert on(url, body) == [b"{t}a", b"{t}b", b"c", 7, [1, b"x"], None]


def test_a_float_arrives_as_the_same_float(url: str) -> None:
    interval = 60_000_000 / 7

    async def body(store: Store) -> Any:
        text = "return string.format('%.17g', tonumber(ARGV[1]))"
        return await store.run(script_of(text), ["{t}a"], [interval])

    assert float(on(url, body)) == interval


def test_a_script_runs_as_often_as_it_is_asked(url: str) -> None:
    add = script_of(ADD)

    async def body(store: Store) -> list[Any]:
        return [await store.run(add, ["k"], [2]) for _ in range(3)]

    assert on(url, body) == [2, 4, 6]


@pytest.mark.parametrize("name", SCRIPTS)
def test_every_script_of_ours_loads(name: str, server: RedisServer) -> None:
    # What one server compiles: the contract's other tests run them.
    ours = script(name, on_full_server=True)
    assert server.cli("SCRIPT", "LOAD", ours.text) == ours.sha


def test_a_plain_command_answers_as_redis_does(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        return [
            await store.command("SET", "k", "v"),
            await store.command("GET", "k"),
            await store.command("GET", "none"),
            await store.command("INCRBY", "n", 5),
            await store.command("ZADD", "z", 1.5, "a"),
            await store.command("ZRANGE", "z", 0, -1),
        ]

    answers = on(url, body)
    assert answers[0] in (b"OK", "OK", True)
    assert answers[1:] == [b"v", None, 5, 1, [b"a"]]


def test_what_was_told_is_done(url: str) -> None:
    add = script_of(ADD)

    async def body(store: Store) -> Any:
        for _ in range(10):
            store.tell(add, ["k"], [1])
        await settled(store)
        return await store.command("GET", "k")

    assert on(url, body) == b"10"


def test_what_was_told_is_sent_before_a_store_is_closed(server: RedisServer) -> None:
    async def body(store: Store) -> None:
        for _ in range(100):
            store.tell(script_of(ADD), ["k"], [1])

    on(server.url, body)
    assert server.cli("GET", "k") == "100"


def test_a_told_script_that_was_done_is_not_called_failed(url: str) -> None:
    failures: list[int] = []

    async def body(store: Store) -> None:
        store.tell(script_of(ADD), ["k"], [1], lambda: failures.append(1))
        await settled(store)

    on(url, body)
    assert failures == []


def test_a_mistake_of_ours_is_seen_and_is_no_outage(url: str) -> None:
    async def body(store: Store) -> tuple[type[Exception], bool]:
        await store.command("SET", "text", "x")
        try:
            await store.run(script_of(ADD), ["text"], [1])
        except Exception as error:  # noqa: BLE001 - which it is, is the question
            return type(error), store.breaker.open
        raise AssertionError("it must fail")

    kind, opened = on(url, body)
    assert not opened
    assert not issubclass(kind, StoreUnavailable)


def test_a_mistake_in_a_batch_harms_nobody_else_in_it(url: str) -> None:
    async def body(store: Store) -> list[Any]:
        await store.command("SET", "text", "x")
        add = script_of(ADD)
        return await asyncio.gather(
            store.run(add, ["n"], [1]),
            store.run(add, ["text"], [1]),
            store.run(add, ["n"], [1]),
            return_exceptions=True,
        )

    first, second, third = on(url, body)
    assert (first, third) == (1, 2)
    assert isinstance(second, Exception)


def test_one_who_stops_waiting_harms_nobody_else(url: str) -> None:
    add = script_of(ADD)

    async def body(store: Store) -> Any:
        tasks = [asyncio.ensure_future(store.run(add, ["k"], [1])) for _ in range(3)]
        await asyncio.sleep(0)
        tasks[1].cancel()
        return await asyncio.gather(tasks[0], tasks[2], return_exceptions=True)

    first, last = on(url, body)
    assert isinstance(first, int)
    assert isinstance(last, int)


# One pipeline a turn


def test_the_commands_of_one_turn_travel_in_one_pipeline(server: RedisServer) -> None:
    async def body(store: Store, sent: list[Any]) -> None:
        add = script_of(ADD)
        await store.run(add, ["k"], [0])  # the script is known from here on
        sent.clear()

        async def tell() -> None:
            store.tell(add, ["k"], [1])

        answers = await asyncio.gather(
            tell(), *(store.run(add, ["k"], [1]) for _ in range(50)), store.command("GET", "k")
        )
        assert [len(batch) for batch in sent] == [52]
        assert answers == [None, *range(2, 52), b"51"]

    on_spied(server.url, body)


def test_the_pipeline_reaches_the_server_in_few_reads(server: RedisServer) -> None:
    async def body(store: Store, sent: list[Any]) -> int:
        await store.command("PING")
        before = int(server.info("stats")["total_reads_processed"])
        await asyncio.gather(*(store.command("INCR", "k") for _ in range(200)))
        return int(server.info("stats")["total_reads_processed"]) - before

    assert on_spied(server.url, body) < 20  # those that ask for these numbers read too


def test_a_crowd_in_one_turn_is_answered(server: RedisServer) -> None:
    async def body(store: Store) -> list[Any]:
        return await asyncio.gather(*(store.command("INCR", "k") for _ in range(5000)))

    assert on(server.url, body) == list(range(1, 5001))


def test_commands_in_flight_are_bounded(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis_store, "MAX_WAITING", 10)

    async def body(store: Store) -> list[Any]:
        asked = [store.command("INCR", "k") for _ in range(15)]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        assert not store.breaker.open
        assert await store.command("INCR", "k") == 11  # there is room again
        return answers

    answers = on(server.url, body)
    assert answers[:10] == list(range(1, 11))
    assert all(isinstance(answer, StoreUnavailable) for answer in answers[10:])


def test_a_store_that_is_only_slow_stands_many_turns_in_flight(server: RedisServer) -> None:
    # Each turn of the loop is a pipeline of its own. That many of them are on their way at once
    # says nothing about the store, which answers all of them within the timeout.
    async def body(store: Store) -> tuple[list[Any], bool]:
        await store.command("PING")
        server.pause()
        asked = []
        for _ in range(200):
            asked.append(asyncio.ensure_future(store.command("INCR", "k")))
            await asyncio.sleep(0)
        server.resume()
        return await asyncio.gather(*asked, return_exceptions=True), store.breaker.open

    answers, opened = on(server.url, body, timeout=5.0)
    assert [a for a in answers if isinstance(a, Exception)][:1] == []
    assert not opened


# Scripts are loaded once, and again where they are gone


def test_a_script_is_sent_once(server: RedisServer) -> None:
    async def body(store: Store, sent: list[Any]) -> list[str]:
        for _ in range(5):
            await store.run(script_of(ADD), ["k"], [1])
        commands = [command[0] for batch in sent for command in batch]
        return [name for name in commands if name != "EVALSHA"]

    assert on_spied(server.url, body) == ["EVAL"]


def test_forgotten_scripts_are_loaded_again(server: RedisServer) -> None:
    async def body(store: Store) -> list[Any]:
        add = script_of(ADD)
        first = await store.run(add, ["k"], [1])
        server.cli("SCRIPT", "FLUSH")
        store.tell(add, ["k"], [10])
        return [first, *await asyncio.gather(*(store.run(add, ["k"], [1]) for _ in range(3)))]

    answers = on(server.url, body)
    assert (answers[0], sorted(answers[1:])) == (1, [12, 13, 14])


def test_a_restarted_server_is_taught_anew(server: RedisServer) -> None:
    async def body(store: Store) -> Any:
        add = script_of(ADD)
        await store.run(add, ["k"], [5])
        server.restart()
        await until(lambda: _answers(store, "GET", "k"))
        return await store.run(add, ["k"], [1])

    assert on(server.url, body) == 1


async def _answers(store: Store, *command: Any) -> bool:
    return not await fails(store.command(*command))


def test_the_embedded_store_lives_as_long_as_it_is_open() -> None:
    async def body(store: Store) -> Any:
        return await store.run(script_of(ADD), ["k"], [1])

    assert [on("memory://", body) for _ in range(2)] == [1, 1]


def test_a_real_store_says_that_it_is_shared_and_an_embedded_one_that_it_is_not() -> None:
    assert not open_store("memory://", 1.0).shared
    with server_of("7") as server:

        async def body(store: Store) -> bool:
            return store.shared

        assert on(server.url, body)
