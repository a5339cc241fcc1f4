"""Flights across workers: two relays, two mailboxes and one real server, in one loop."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cache.flights import relay as flight_relay
from cache.flights.flights import Completed, Failure, Flights
from cache.flights.relay import Relay
from cache.store import key_names as names
from cache.store.opening import open_store
from cache.store.sealing import Seal
from tests.cache.flights.working import (
    DIGEST,
    END,
    USAGE,
    Worker,
    chunk,
    chunks,
    everything,
    over,
    with_workers,
)
from tests.harness.redis_server import RedisServer

# Following


def test_a_late_follower_gets_everything_from_the_beginning_in_order(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        flight.set_origin("up", "m", streamed=True)
        for number in range(10):
            flight.publish(chunks(number))
        mirror = await follower.joins(flight)
        reading = asyncio.create_task(everything(mirror.reader()))
        for number in range(10, 300):
            flight.publish(chunks(number))
            await asyncio.sleep(0)
        flight.complete(None, USAGE, 7, END)
        return await reading, mirror

    got, mirror = with_workers(server, body)
    assert got == chunks(*range(300))
    assert (mirror.provider, mirror.model, mirror.streamed) == ("up", "m", True)
    assert mirror.completed == Completed(None, USAGE, 7, END)


def test_every_worker_gets_everything(server: RedisServer) -> None:
    async def body(leader: Worker, *followers: Worker) -> Any:
        flight = leader.leads()
        readings = []
        for number, follower in enumerate(followers):
            flight.publish(chunks(number))
            mirror = await follower.joins(flight)
            readings.append(asyncio.create_task(everything(mirror.reader())))
        flight.complete(None, USAGE, 7, END)
        return await asyncio.gather(*readings)

    assert with_workers(server, body, 5) == [chunks(0, 1, 2, 3)] * 4


def test_a_plain_answer_comes_whole(server: RedisServer) -> None:
    whole = bytes(range(256)) * 4096

    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        flight.complete(whole, USAGE, 7)
        await over(mirror)
        return mirror.completed

    assert with_workers(server, body) == Completed(whole, USAGE, 7)


def test_a_flight_that_is_whole_can_still_be_joined(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        flight.publish(chunks(0))
        flight.complete(None, USAGE, 7, END)
        mirror = await follower.joins(flight)
        return await everything(mirror.reader()), mirror.completed

    assert with_workers(server, body) == (chunks(0), Completed(None, USAGE, 7, END))


def test_others_in_the_worker_find_the_mirror(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> bool:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        return follower.flights.find(DIGEST) is mirror is follower.flights.by_id(flight.id)

    assert with_workers(server, body)


def test_two_flights_do_not_mix(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flights = [leader.leads(b"1" * 32), leader.leads(b"2" * 32)]
        mirrors = [await follower.joins(flight) for flight in flights]
        readings = [asyncio.create_task(everything(mirror.reader())) for mirror in mirrors]
        for number in range(50):
            flights[number % 2].publish(chunks(number))
        for flight in flights:
            flight.complete(None, USAGE, 0, END)
        return await asyncio.gather(*readings)

    evens, odds = with_workers(server, body)
    assert evens == chunks(*range(0, 50, 2))
    assert odds == chunks(*range(1, 50, 2))


def test_rubbish_in_the_mail_harms_nobody(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        for rubbish in ("", "rubbish", "\x91\x01", "\x95"):
            for worker in (leader, follower):
                channel = names.mailbox(worker.flights.worker)
                await asyncio.to_thread(server.cli, "PUBLISH", channel, rubbish)
        flight.publish(chunks(0))
        flight.complete(None, USAGE, 0, END)
        return await everything(mirror.reader())

    assert with_workers(server, body) == chunks(0)


@settings(deadline=None)  # a busy machine says nothing about messages
@given(st.binary(max_size=60))
def test_no_message_is_too_strange(data: bytes) -> None:
    Relay(open_store("memory://", 1), Flights("w")).received(data)


@settings(deadline=None)
@given(st.data())
def test_no_message_is_too_spoilt(data: st.DataObject) -> None:
    messages = [
        flight_relay._Join("w.1", "other"),
        flight_relay._Named("x.1", "up", "m", True),
        flight_relay._Chunks("x.1", 0, b'{"number":1}\n{"number":2}'),
        flight_relay._Completed("x.1", 0, b"{}", 1, 2, False, 3, b""),
        flight_relay._Completed("x.1", 0, None, 1, 2, False, 3, b'{"usage":{}}'),
        flight_relay._Failed("x.1", 503, "code", b"{}", [(b"a", b"b")]),
    ]
    whole = flight_relay._encode(data.draw(st.sampled_from(messages)))
    place = data.draw(st.integers(0, len(whole) - 1))
    spoilt = whole[:place] + data.draw(st.binary(max_size=2)) + whole[place + 1 :]
    mirroring("x.1").received(spoilt)


def mirroring(flight_id: str) -> Relay:
    """The relay of a worker that mirrors another's flight."""
    relay = Relay(open_store("memory://", 1), Flights("w"))
    relay._flights.begin(flight_id, DIGEST, "acme").on_change = relay._look_after
    relay._heard[flight_id] = None
    relay._expected[flight_id] = 0
    return relay


@pytest.mark.parametrize("end", [b"{", b"nonsense", b"[]", b"5", b'{"a":"\xff"}'])
def test_an_end_that_cannot_be_read_is_no_end(end: bytes) -> None:
    relay = mirroring("x.1")
    mirror = relay._flights.by_id("x.1")
    assert mirror is not None
    message = flight_relay._Completed("x.1", 0, None, 1, 2, False, 3, end)
    relay.received(flight_relay._encode(message))
    assert (mirror.completed, mirror.failure) == (None, Failure(None))


# Encrypted


def test_what_workers_say_to_each_other_can_be_encrypted(server: RedisServer) -> None:
    said: list[bytes] = []

    async def body(leader: Worker, follower: Worker) -> Any:
        follower.lose = lambda data: said.append(data) is not None
        flight = leader.leads()
        mirror = await follower.joins(flight)
        flight.set_origin("up", "private-model", streamed=True)
        flight.publish([chunk(0)])
        flight.complete(None, USAGE, 0, END)
        return await everything(mirror.reader())

    seals = [Seal([b"1" * 32]) for _ in range(2)]
    assert with_workers(server, body, seals=seals) == [chunk(0)]
    assert said
    assert not any(word in data for data in said for word in (chunk(0).payload, b"private-model"))


@pytest.mark.parametrize("strangers", [None, Seal([b"2" * 32])], ids=["in clear", "other key"])
def test_who_has_another_key_is_not_followed(server: RedisServer, strangers: Seal | None) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        joined = await follower.relay.join(flight.id, flight.digest, flight.tenant)
        return joined, flight.followers

    assert with_workers(server, body, seals=[Seal([b"1" * 32]), strangers]) == (None, 0)
