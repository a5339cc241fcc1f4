"""Flights between workers that fail, stall or die, and messages that are lost."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from app.core.reply import Chunk
from cache.flights import relay as flight_relay
from cache.flights.flights import Failure, SharedError
from cache.flights.relay import SILENCE_SECONDS, WELCOME_SECONDS
from tests.cache.flights.working import (
    DIGEST,
    END,
    ERROR,
    TAKEN_OVER,
    USAGE,
    Worker,
    chunk,
    chunks,
    everything,
    over,
    with_workers,
)
from tests.cache.stores import settled, stall, until
from tests.harness.redis_server import RedisServer

# Failing


@pytest.mark.parametrize("error", [ERROR, None, ERROR._replace(code=None, headers=())])
def test_a_failure_comes_with_what_may_be_shared_of_it(
    server: RedisServer, error: SharedError | None
) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        flight.publish(chunks(0))
        mirror = await follower.joins(flight)
        flight.fail(error)
        return await everything(mirror.reader()), mirror.failure

    assert with_workers(server, body) == (chunks(0), Failure(error))


def test_a_flight_that_nobody_knows_cannot_be_joined(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        began = time.monotonic()
        mirror = await follower.relay.join(f"{leader.flights.worker}.9", DIGEST, "acme")
        return mirror, time.monotonic() - began < WELCOME_SECONDS, follower.flights.all()

    assert with_workers(server, body) == (None, True, [])


def test_a_flight_whose_beginning_is_gone_cannot_be_joined(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        for _ in range(10):
            flight.publish([Chunk(b"x" * (1 << 20))])
        return await follower.relay.join(flight.id, DIGEST, "acme"), flight.followers

    assert with_workers(server, body) == (None, 0)


def test_a_mirror_is_nobodys_to_join(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker, third: Worker) -> Any:
        mirror = await follower.joins(leader.leads())
        assert not follower.flights.leads(mirror)
        join = flight_relay._Join(mirror.id, third.flights.worker)
        follower.relay.received(flight_relay._encode(join))
        return mirror.followers, mirror.remotes

    assert with_workers(server, body, 3) == (1, 0)


def test_a_worker_that_is_gone_does_not_keep_anybody_waiting(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        await leader.die()
        began = time.monotonic()
        mirror = await follower.relay.join(flight.id, DIGEST, "acme")
        return mirror, time.monotonic() - began, follower.flights.all()

    mirror, seconds, left = with_workers(server, body)
    assert (mirror, left) == (None, [])
    assert seconds < WELCOME_SECONDS + 0.3


def test_the_death_of_a_leader_is_noticed(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        mirror = await follower.joins(leader.leads())
        await leader.die()
        return await over(mirror), mirror.failure

    seconds, failure = with_workers(server, body)
    assert failure == Failure(None)
    assert seconds < TAKEN_OVER


def test_the_death_of_a_follower_is_noticed(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        await follower.joins(flight)
        await follower.die()
        began = time.monotonic()
        await flight.unfollowed()
        return time.monotonic() - began, flight.over, flight.remotes

    seconds, is_over, remotes = with_workers(server, body)
    assert (is_over, remotes) == (False, 0)
    assert seconds < TAKEN_OVER


def test_a_flight_in_which_nothing_happens_is_not_taken_for_dead(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        began = time.monotonic()
        # No race is won here: what is asked is that nothing happens.
        await until(lambda: mirror.over or time.monotonic() - began > SILENCE_SECONDS + 0.8)
        return mirror.over, flight.followers

    assert with_workers(server, body) == (False, 1)


def test_a_loop_that_stalls_does_not_take_others_for_dead(
    server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(flight_relay, "SILENCE_SECONDS", 0.6)

    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        stall(0.9)
        flight.publish(chunks(0))
        flight.complete(None, USAGE, 0, END)
        return await everything(mirror.reader()), mirror.failure

    assert with_workers(server, body) == (chunks(0), None)


def test_a_flight_is_joined_though_the_loop_stalls(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        joining = asyncio.create_task(follower.joins(flight))
        await asyncio.sleep(0)
        stall(WELCOME_SECONDS * 2)
        await joining
        return flight.followers

    assert with_workers(server, body) == 1


def test_a_leader_that_stalls_for_a_second_is_not_given_up(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        follower.lose = lambda _: True
        began = time.monotonic()
        await until(lambda: mirror.over or time.monotonic() - began > 1.3)
        follower.lose = lambda _: False
        flight.publish(chunks(0))
        flight.complete(None, USAGE, 0, END)
        return await everything(mirror.reader()), mirror.failure

    assert with_workers(server, body) == (chunks(0), None)


# Losing messages


@pytest.mark.parametrize("lost", [0, 1, 4])
def test_a_lost_message_is_noticed_and_never_left_out(server: RedisServer, lost: int) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        follower.lose = lambda data: chunk(lost).payload in data
        reading = asyncio.create_task(everything(mirror.reader()))
        for number in range(5):
            flight.publish(chunks(number))
            await settled(leader.store)
        flight.complete(None, USAGE, 0, END)
        return await reading, mirror.completed, mirror.failure, follower.lost

    got, completed, failure, count = with_workers(server, body)
    assert count == 1
    assert got == chunks(*range(lost))
    assert (completed, failure) == (None, Failure(None))


def test_a_lost_end_is_noticed(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        flight.publish(chunks(0))
        await mirror.reader().next()
        follower.lose = lambda _: True
        flight.complete(None, USAGE, 0, END)
        leader.flights.end(flight)
        return await over(mirror), mirror.failure

    seconds, failure = with_workers(server, body)
    assert failure == Failure(None)
    assert seconds < TAKEN_OVER


def test_after_a_lost_message_the_flight_can_be_joined_from_its_beginning(
    server: RedisServer,
) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        follower.lose = lambda data: chunk(0).payload in data and not follower.lost
        flight.publish(chunks(0))
        await until(lambda: follower.lost == 1)
        flight.publish(chunks(1))
        await over(mirror)
        again = await follower.joins(flight)
        flight.publish(chunks(2))
        flight.complete(None, USAGE, 0, END)
        return await everything(again.reader()), again.failure

    assert with_workers(server, body) == (chunks(0, 1, 2), None)


def test_a_mailbox_that_was_cut_off_never_gives_half_an_answer(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        flight.publish(chunks(0))
        await mirror.reader().next()
        await asyncio.to_thread(server.cli, "CLIENT", "KILL", "TYPE", "pubsub")
        await until(lambda: not follower.mailbox.open)
        flight.publish(chunks(1))
        await settled(leader.store)
        await until(lambda: leader.mailbox.open and follower.mailbox.open)
        flight.publish(chunks(2))
        flight.complete(None, USAGE, 0, END)
        await over(mirror)
        return await everything(mirror.reader()), mirror.completed

    got, completed = with_workers(server, body)
    assert (got, completed) == (chunks(0), None)
