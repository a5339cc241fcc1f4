"""Answers under way: everybody reads them from the beginning, and nobody is kept waiting for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cache.flights.flights import (
    AHEAD_BYTES,
    MAX_BYTES,
    Completed,
    Failure,
    Flight,
    Lagged,
)
from tests.cache.flights.flying import (
    END,
    ERROR,
    MEGABYTE,
    USAGE,
    a_flight,
    everything,
    in_loop,
    one,
    turns,
)

# Reading


def test_everybody_gets_everything_from_the_beginning_in_order() -> None:
    async def body() -> Any:
        flight = a_flight()
        readers = []
        for number in range(20):
            readers.append(asyncio.create_task(everything(flight.reader())))
            await asyncio.sleep(0)
            flight.publish(one(b"%d," % number))
        flight.complete(None, USAGE, 3, END)
        readers.append(asyncio.create_task(everything(flight.reader())))
        return set(await asyncio.gather(*readers))

    assert in_loop(body) == {b"".join(b"%d," % number for number in range(20))}


def test_a_reader_gets_a_chunk_as_it_comes() -> None:
    async def body() -> Any:
        flight = a_flight()
        reader = flight.reader()
        waiting = asyncio.create_task(reader.next())
        await turns()
        flight.publish(one(b"a"))
        return await waiting, flight.over

    assert in_loop(body) == (one(b"a"), False)


def test_what_was_said_before_a_failure_is_read_before_it() -> None:
    async def body() -> Any:
        flight = a_flight()
        flight.publish(one(b"a"))
        flight.fail(ERROR)
        reader = flight.reader()
        return await reader.next(), await reader.next(), flight.failure

    assert in_loop(body) == (one(b"a"), [], Failure(ERROR))


def test_what_happened_first_counts() -> None:
    async def body() -> Any:
        whole, failed = a_flight(), a_flight()
        whole.complete(b"{}", USAGE, 3)
        whole.fail(ERROR)
        failed.fail()
        failed.complete(b"{}", USAGE, 3)
        return (whole.completed, whole.failure), (failed.completed, failed.failure)

    first, second = in_loop(body)
    assert first == (Completed(b"{}", USAGE, 3), None)
    assert second == (None, Failure(None))


def test_one_who_stops_waiting_harms_nobody_else() -> None:
    async def body() -> Any:
        flight = a_flight()
        gone = asyncio.create_task(flight.reader().next())
        stays = asyncio.create_task(flight.reader().next())
        await turns()
        gone.cancel()
        await turns()
        flight.publish(one(b"a"))
        return await stays

    assert in_loop(body) == one(b"a")


# Back-pressure


async def ran_ahead(flight: Flight) -> bool:
    """Whether the upstream may go on now."""
    going = asyncio.create_task(flight.wait_for_readers())
    await turns()
    done = going.done()
    going.cancel()
    return done


def test_a_stream_waits_for_its_fastest_reader() -> None:
    async def body() -> Any:
        flight = a_flight()
        reader = flight.reader()
        seen = [await ran_ahead(flight)]
        flight.publish(one(b"x" * (AHEAD_BYTES - 1)))
        seen.append(await ran_ahead(flight))
        flight.publish(one(b"x"))
        seen.append(await ran_ahead(flight))
        slow = flight.reader()
        await reader.next()
        return [*seen, await ran_ahead(flight), slow.bytes_behind]

    assert in_loop(body) == [True, True, False, True, AHEAD_BYTES]


@pytest.mark.parametrize("what", ["leave", "fail", "complete", "remote"])
def test_whoever_waits_for_readers_goes_on_when_there_is_reason(what: str) -> None:
    async def body() -> None:
        flight = a_flight()
        slow, reader = flight.reader(), flight.reader()
        flight.publish(one(b"x" * AHEAD_BYTES))
        going = asyncio.create_task(flight.wait_for_readers())
        await turns()
        assert not going.done()
        if what == "leave":
            slow.done()
            reader.done()
        elif what == "fail":
            flight.fail()
        elif what == "complete":
            flight.complete(None, USAGE, 0, END)
        else:
            flight.remotes += 1
            flight.follow()
            flight.notify_all()
        await going

    in_loop(body)


def test_reading_alone_makes_room() -> None:
    async def body() -> None:
        flight = a_flight()
        reader = flight.reader()
        flight.publish(one(b"x" * AHEAD_BYTES))
        going = asyncio.create_task(flight.wait_for_readers())
        await turns()
        await reader.next()
        await going

    in_loop(body)


def test_a_stream_that_nobody_reads_goes_on() -> None:
    async def body() -> bool:
        flight = a_flight()
        flight.publish(one(b"x" * AHEAD_BYTES))
        return await ran_ahead(flight)

    assert in_loop(body)


def test_a_reader_that_is_far_behind_lags_and_the_fast_one_does_not() -> None:
    async def body() -> Any:
        flight = a_flight()
        slow, fast = flight.reader(), flight.reader()
        got = 0
        for _ in range(12):
            flight.publish([MEGABYTE])
            got += sum(map(len, await fast.next()))
        with pytest.raises(Lagged):
            await slow.next()
        return got, flight.joinable

    assert in_loop(body) == (12 << 20, False)


def test_a_reader_that_lagged_holds_nobody_up_and_is_nobodys_excuse() -> None:
    async def body() -> bool:
        flight = a_flight()
        flight.reader()
        fast = flight.reader()
        for _ in range(9):
            flight.publish([MEGABYTE])
            await fast.next()
        for _ in range(AHEAD_BYTES // 1024 + 1):
            flight.publish(one(b"x" * 1024))
        return await ran_ahead(flight)

    assert not in_loop(body)


def test_no_more_is_kept_than_may_be_whoever_reads() -> None:
    # Nothing holds back what comes from another worker, or what another worker follows too.
    async def body() -> int:
        flight = a_flight()
        reader = flight.reader()
        flight.remotes = 1
        for _ in range(20):
            flight.publish([MEGABYTE])
            await flight.wait_for_readers()
        return reader.bytes_behind

    assert in_loop(body) <= MAX_BYTES


def test_the_only_reader_of_a_mirror_lags_when_it_is_too_slow() -> None:
    async def body() -> None:
        mirror = a_flight()
        reader = mirror.reader()
        for _ in range(20):
            mirror.publish([MEGABYTE])
        with pytest.raises(Lagged):
            await reader.next()

    in_loop(body)


def test_a_stream_that_nobody_reads_keeps_little() -> None:
    async def body() -> Any:
        flight = a_flight()
        for _ in range(20):
            flight.publish([MEGABYTE])
        return sum(map(len, flight.chunks(flight._first))), flight.end

    kept, end = in_loop(body)
    assert kept <= MAX_BYTES
    assert end == 20
