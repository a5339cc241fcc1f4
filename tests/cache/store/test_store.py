"""The contract of a store, over every kind of it, and what a real server may do to it."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Sequence
from typing import Any

import pytest

from cache.store import redis_store
from cache.store.base import ON_FULL_SERVER, Store, StoreUnavailable, script
from cache.store.command import Pending
from cache.store.key_names import PROBE
from cache.store.opening import open_store
from cache.store.redis_store import Line, RedisStore
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


@pytest.mark.parametrize(
    "error",
    [
        "LOADING Redis is loading the dataset in memory",
        "MASTERDOWN Link with MASTER is down and replica-serve-stale-data is set to 'no'.",
        "MISCONF Redis is configured to save RDB snapshots, but it cannot persist to disk",
        "NOREPLICAS Not enough good replicas to write.",
        "BUSY Redis is busy running a script.",
        "CLUSTERDOWN The cluster is down",
        "TRYAGAIN Multiple keys request during rehashing of slot",
        "NOAUTH Authentication required.",
        "READONLY You can't write against a read only replica.",
    ],
    ids=lambda error: error.partition(" ")[0],
)
def test_what_a_server_says_when_it_cannot_is_an_outage(error: str) -> None:
    async def run() -> None:
        async def dial(store: RedisStore) -> Line:
            return Answering(store, error)

        store = RedisStore(dial, 1.0)
        assert await fails(store.command("GET", "k"))
        assert store.breaker.open
        await store.aclose()

    asyncio.run(run())


class Answering:
    """Says one thing, whatever it is asked."""

    def __init__(self, store: RedisStore, error: str) -> None:
        self._store = store
        self._error = error

    def send(self, batch: Sequence[Pending]) -> None:
        for pending in batch:
            self._store.answered(pending, Exception(self._error))

    def close(self) -> None:
        return

    async def closed(self) -> None:
        return


def test_a_server_with_no_room_for_a_client_is_an_outage() -> None:
    with server_of("7", ("--maxclients", "1")) as server:

        async def body(store: Store) -> bool:
            return await fails(store.command("GET", "k"))

        with socket.create_connection(("127.0.0.1", server.port)) as other:
            other.sendall(b"PING\r\n")
            other.recv(7)  # the one place is taken
            assert on(server.url, body, TIMEOUT)


def test_a_connection_that_was_cut_is_made_again(server: RedisServer) -> None:
    # By a firewall, or by a server that has had enough of an idle client.
    async def body(store: Store) -> Any:
        await store.command("SET", "k", 1)
        server.cli("CLIENT", "KILL", "TYPE", "normal")
        await until(lambda: _answers(store, "PING"), patience=1)
        return await store.command("INCR", "k")

    assert on(server.url, body, TIMEOUT) == 2


def test_the_reason_of_an_outage_stays_what_it_was(server: RedisServer) -> None:
    # Whoever looks at the health page must read what is wrong with the store.
    async def body(store: Store) -> list[str | None]:
        await store.command("SET", "k", 1)
        server.cli("REPLICAOF", "127.0.0.1", "1")
        await fails(store.command("SET", "k", 2))
        reasons = []
        for _ in range(6):
            await asyncio.sleep(redis_store.PROBE_SECONDS / 3)
            reasons.append(store.breaker.reason)
        return reasons

    assert set(on(server.url, body)) == {"readonly"}


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
