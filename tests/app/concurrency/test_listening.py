"""Time limits that a stalled loop cannot break, on both of the loops that there are."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
import uvloop

from app.concurrency.listening import TURNS, ListeningClock, listening_timeout
from tests.cache.stores import stall, until

Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    return asyncio.run if request.param == "asyncio" else uvloop.run


class Pair:
    """A connection to nobody but the test: what is said to it lies in the kernel at once."""

    def __init__(self) -> None:
        self._ours, self._theirs = socket.socketpair()
        self.heard = asyncio.Event()
        self.got = 0

    async def open(self) -> None:
        pair = self

        class Listener(asyncio.Protocol):
            def data_received(self, data: bytes) -> None:
                pair.got += len(data)
                pair.heard.set()

        await asyncio.get_running_loop().create_connection(Listener, sock=self._ours)

    def say(self) -> None:
        self._theirs.send(b"x")

    def close(self) -> None:
        self._theirs.close()


def with_pair(run: Run, body: Callable[[Pair], Awaitable[Any]]) -> Any:
    async def work() -> Any:
        pair = Pair()
        await pair.open()
        try:
            return await body(pair)
        finally:
            pair.close()
            await asyncio.sleep(0)

    return run(work())


def test_a_clock_counts_what_the_loop_listened(run: Run) -> None:
    async def body() -> tuple[float, float]:
        clock = ListeningClock(0.1, lambda: None)
        began = time.monotonic()
        clock.start()
        await until(lambda: clock.now >= 0.1)
        clock.stop()
        return clock.now, time.monotonic() - began

    counted, passed = run(body())
    assert 0.1 <= counted <= passed


def test_a_stall_counts_for_less_than_two_turns(run: Run) -> None:
    async def body() -> float:
        turns = []
        clock = ListeningClock(0.4, lambda: turns.append(clock.now))
        clock.start()
        stall(0.5)
        await until(lambda: len(turns) == 1)
        clock.stop()
        return turns[0]

    assert run(body()) < 0.4 / TURNS * 2


def test_a_stopped_clock_stands_still(run: Run) -> None:
    async def body() -> bool:
        clock = ListeningClock(0.02, lambda: None)
        clock.start()
        await until(lambda: clock.now > 0)
        clock.stop()
        stood = clock.now
        await asyncio.sleep(0.02)
        return clock.now == stood

    assert run(body())


def test_whatever_is_there_is_read_within_two_turns(run: Run) -> None:
    # Said while the loop stalls in a timer, so that the next timer is due before it has polled.
    async def body(pair: Pair) -> list[int]:
        seen: list[int] = []

        def turned() -> None:
            seen.append(pair.got)
            pair.say()
            stall(0.02)

        clock = ListeningClock(0.04, turned)
        clock.start()
        await until(lambda: len(seen) >= 10)
        clock.stop()
        return seen

    seen = with_pair(run, body)
    assert all(got >= turn - 1 for turn, got in enumerate(seen))


def test_a_limit_ends_what_takes_longer(run: Run) -> None:
    async def body() -> float:
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            async with listening_timeout(0.1):
                await asyncio.sleep(5)
        return time.monotonic() - began

    assert 0.1 <= run(body()) < 2


def test_a_limit_lets_pass_what_is_in_time(run: Run) -> None:
    async def body() -> str:
        async with listening_timeout(5):
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.01)
        return "passed"

    assert run(body()) == "passed"


def test_a_limit_does_not_hold_up_a_cancellation(run: Run) -> None:
    async def body() -> bool:
        async def work() -> None:
            async with listening_timeout(5):
                await asyncio.sleep(5)

        task = asyncio.create_task(work())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return task.cancelled()

    assert run(body())


def test_what_came_while_the_loop_stalled_came_in_time(run: Run) -> None:
    async def body(pair: Pair) -> bool:
        async with listening_timeout(0.1):
            pair.say()
            stall(0.3)
            await pair.heard.wait()
        return True

    assert with_pair(run, body)
