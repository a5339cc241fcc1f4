"""Who leads holds a lease, who follows may leave, and nothing stays of what is over."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from cache.flights import relay as flight_relay
from cache.store import key_names as names
from tests.cache.flights.working import (
    DIGEST,
    END,
    ERROR,
    USAGE,
    Worker,
    chunks,
    everything,
    over,
    with_workers,
)
from tests.cache.stores import settled, until
from tests.harness.redis_server import RedisServer

# Leaving


def test_the_last_follower_that_leaves_lets_the_leader_go(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        mirror.follow()
        staying = asyncio.create_task(flight.unfollowed())
        mirror.leave()
        await settled(follower.store)
        assert not staying.done()
        began = time.monotonic()
        mirror.leave()
        await staying
        return time.monotonic() - began < 0.4, follower.flights.all(), flight.remotes

    assert with_workers(server, body) == (True, [], 0)


def test_who_gives_up_while_joining_leaves_too(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        follower.lose = lambda _: True
        joining = asyncio.create_task(follower.relay.join(flight.id, DIGEST, "acme"))
        await until(lambda: flight.followers == 1)
        joining.cancel()
        await flight.unfollowed()
        return follower.flights.all()

    assert with_workers(server, body) == []


def test_who_left_can_come_back_and_begins_anew(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        flight.publish(chunks(0))
        mirror = await follower.joins(flight)
        await mirror.reader().next()
        mirror.leave()
        await flight.unfollowed()
        flight.publish(chunks(1))
        again = await follower.joins(flight)
        flight.complete(None, USAGE, 0, END)
        return await everything(again.reader())

    assert with_workers(server, body) == chunks(0, 1)


def test_who_leaves_and_comes_back_at_once_begins_anew(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        flight.publish(chunks(0))
        mirror = await follower.joins(flight)
        mirror.leave()
        again = await follower.joins(flight)
        flight.complete(None, USAGE, 0, END)
        return await everything(again.reader()), again.failure

    assert with_workers(server, body) == (chunks(0), None)


# Leases


def test_whoever_leads_holds_the_lease(server: RedisServer) -> None:
    async def body(leader: Worker, _: Worker) -> Any:
        flight = leader.leads()
        key = names.flight("acme", DIGEST.hex())
        await leader.store.command("SET", key, flight.id, "PX", names.FLIGHT_LEASE_MS // 2)
        leader.relay.beat()
        await settled(leader.store)
        holder = await leader.store.command("GET", key)
        return holder == flight.id.encode(), await leader.store.command("PTTL", key)

    held, left = with_workers(server, body)
    assert held
    assert names.FLIGHT_LEASE_MS // 2 < left <= names.FLIGHT_LEASE_MS


def test_a_lease_that_was_given_back_stays_so(server: RedisServer) -> None:
    async def body(leader: Worker, _: Worker) -> Any:
        leader.leads()
        leader.relay.beat()
        await settled(leader.store)
        return await leader.store.command("EXISTS", names.flight("acme", DIGEST.hex()))

    assert not with_workers(server, body)


def test_nobody_takes_the_lease_of_another(server: RedisServer) -> None:
    async def body(leader: Worker, _: Worker) -> Any:
        leader.leads()
        key = names.flight("acme", DIGEST.hex())
        await leader.store.command("SET", key, "other.1", "PX", 300)
        leader.relay.beat()
        await settled(leader.store)
        return (
            await leader.store.command("GET", key),
            await leader.store.command("PTTL", key) <= 300,
        )

    assert with_workers(server, body) == (b"other.1", True)


def test_a_mirror_holds_no_lease(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        await follower.joins(leader.leads())
        await leader.die()
        await leader.store.command("DEL", names.flight("acme", DIGEST.hex()))
        follower.relay.beat()
        await settled(follower.store)
        return await follower.store.command("EXISTS", names.flight("acme", DIGEST.hex()))

    assert with_workers(server, body) == 0


# What stays


@pytest.mark.parametrize("end", ["complete", "fail", "leave"])
def test_nothing_is_remembered_of_what_is_over(server: RedisServer, end: str) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        mirror = await follower.joins(flight)
        if end == "complete":
            flight.complete(b"{}", USAGE, 0)
        elif end == "fail":
            flight.fail(ERROR)
        else:
            mirror.leave()
            await flight.unfollowed()
            flight.fail()
        await over(mirror)
        leader.flights.end(flight)
        both = (leader.relay, follower.relay)
        return [
            *(state for r in both for state in (r._remotes, r._heard, r._expected)),
            leader.flights.all(),
            follower.flights.all(),
        ]

    assert not any(with_workers(server, body))


def test_a_follower_who_is_heard_after_the_end_is_not_remembered(server: RedisServer) -> None:
    async def body(leader: Worker, follower: Worker) -> Any:
        flight = leader.leads()
        await follower.joins(flight)
        flight.complete(b"{}", USAGE, 0)
        here = flight_relay._Here(flight.id, follower.flights.worker)
        leader.relay.received(flight_relay._encode(here))
        leader.flights.end(flight)
        return leader.relay._remotes

    assert with_workers(server, body) == {}
