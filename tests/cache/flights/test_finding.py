"""How a flight is found, and who follows it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from cache.flights.flights import (
    Flight,
    Flights,
    worker_name,
    worker_of,
)
from tests.cache.flights.flying import DIGEST, END, MEGABYTE, USAGE, a_flight, in_loop, turns

# Following


def test_a_flight_is_unfollowed_when_the_last_one_leaves() -> None:
    async def body() -> None:
        flight = a_flight()
        flight.follow()
        flight.follow()
        stays = asyncio.create_task(flight.unfollowed())
        flight.leave()
        await turns()
        assert not stays.done()
        flight.leave()
        await stays

    in_loop(body)


@pytest.mark.parametrize("end", [lambda f: f.fail(), lambda f: f.complete(None, USAGE, 0, END)])
def test_nobody_waits_for_the_followers_of_what_is_over(end: Callable[[Flight], None]) -> None:
    async def body() -> None:
        flight = a_flight()
        flight.follow()
        stays = asyncio.create_task(flight.unfollowed())
        await turns()
        end(flight)
        await stays

    in_loop(body)


def test_a_flight_without_followers_is_unfollowed() -> None:
    in_loop(a_flight().unfollowed)


# Finding


def test_a_flight_is_found_by_what_was_asked_and_by_its_name() -> None:
    flights = Flights("w")
    flight = flights.begin("w.1", DIGEST, "acme")
    assert flights.find(DIGEST) is flight is flights.by_id("w.1")
    assert flights.find(b"other") is flights.by_id("w.2") is None


def test_a_flight_that_failed_is_not_found() -> None:
    flights = Flights("w")
    flights.begin("w.1", DIGEST, "acme").fail()
    assert flights.find(DIGEST) is None


def test_a_flight_that_is_whole_is_found_until_it_ends() -> None:
    flights = Flights("w")
    flight = flights.begin("w.1", DIGEST, "acme")
    flight.complete(b"{}", USAGE, 0)
    assert flights.find(DIGEST) is flight
    flights.end(flight)
    assert flights.find(DIGEST) is flights.by_id("w.1") is None


def test_a_flight_whose_beginning_is_gone_is_not_found() -> None:
    flights = Flights("w")
    flight = flights.begin("w.1", DIGEST, "acme")
    for _ in range(12):
        flight.publish([MEGABYTE])
    assert flights.find(DIGEST) is None


def test_the_end_of_an_old_flight_does_not_hide_a_new_one() -> None:
    flights = Flights("w")
    old, new = (flights.begin(name, DIGEST, "acme") for name in ("w.1", "w.2"))
    flights.end(old)
    assert flights.find(DIGEST) is new
    assert flights.all() == [new]


def test_names_say_who_leads() -> None:
    flights = Flights(worker_name(42))
    first, second = flights.new_id(), flights.new_id()
    assert first != second
    assert worker_of(first) == flights.worker
    assert flights.leads(flights.begin(first, DIGEST, ""))
    assert not flights.leads(flights.begin("other.1", DIGEST, ""))


def test_no_two_workers_have_one_name() -> None:
    assert len({worker_name(7) for _ in range(1000)}) == 1000
