"""Flights across workers: two relays, two mailboxes and one real server, in one loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from cache.flights import relay as flight_relay
from cache.flights.flights import Completed, Failure, Flight, Flights, Reader, SharedError
from cache.flights.relay import SILENCE_SECONDS, WELCOME_SECONDS, Relay
from cache.store import key_names as names
from cache.store.opening import open_store
from cache.store.redis_urls import finder_for
from cache.store.sealing import Seal
from cache.store.subscriber import Mailbox
from tests.cache.stores import settled, stall, until
from tests.harness.redis_server import RedisServer

DIGEST = b"d" * 32
USAGE = Usage(11, 22, estimated=True)
END = StreamEnd(USAGE, {"usage": USAGE.document(), "system_fingerprint": "fp"})
ERROR = SharedError(503, "upstream_overloaded", b'{"error":{}}', ((b"retry-after", b"1"),))
TAKEN_OVER = 3.0  # seconds after which somebody must have noticed that another is gone


class Worker:
    """What a worker has of all this. ``lose`` says which messages get lost on their way to it."""

    def __init__(self, name: str, url: str, seal: Seal | None = None) -> None:
        self.store = open_store(url, 2.0)
        self.flights = Flights(name)
        self.relay = Relay(self.store, self.flights, seal)
        self.mailbox = Mailbox(finder_for(url), names.mailbox(name), self._received)
        self.lose: Callable[[bytes], bool] = lambda _: False
        self.lost = 0
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        self.store.start()
        self._tasks = [
            asyncio.create_task(self.mailbox.keep_listening()),
            asyncio.create_task(self.relay.keep_beating()),
        ]

    async def die(self) -> None:
        """Neither speak nor hear any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def aclose(self) -> None:
        await self.die()
        await self.store.aclose()

    def leads(self, digest: bytes = DIGEST) -> Flight:
        """A flight of its own, under way."""
        flight = self.flights.begin(self.flights.new_id(), digest, "acme")
        self.relay.lead(flight)
        return flight

    async def joins(self, flight: Flight) -> Flight:
        mirror = await self.relay.join(flight.id, flight.digest, flight.tenant)
        assert mirror is not None
        return mirror

    def _received(self, data: bytes) -> None:
        if self.lose(data):
            self.lost += 1
        else:
            self.relay.received(data)


@asynccontextmanager
async def at_work(
    url: str, count: int = 2, seals: Sequence[Seal | None] = (None, None)
) -> AsyncIterator[list[Worker]]:
    seals = [*seals, *[None] * (count - len(seals))]
    workers = [Worker(f"{number}-w", url, seals[number]) for number in range(count)]
    try:
        for worker in workers:
            worker.start()
        await until(lambda: all(worker.mailbox.open for worker in workers))
        yield workers
    finally:
        for worker in workers:
            await worker.aclose()


def with_workers(
    server: RedisServer,
    body: Callable[..., Awaitable[Any]],
    count: int = 2,
    seals: Sequence[Seal | None] = (None, None),
) -> Any:
    """What ``body`` returns, given workers on one server."""

    async def run() -> Any:
        async with asyncio.timeout(10), at_work(server.url, count, seals) as workers:
            return await body(*workers)

    return asyncio.run(run())


async def everything(reader: Reader) -> list[Chunk]:
    got = []
    while chunks := await reader.next():
        got += chunks
    return got


async def over(flight: Flight) -> float:
    """Seconds until it is."""
    began = time.monotonic()
    await until(lambda: flight.over)
    return time.monotonic() - began


def chunk(number: int) -> Chunk:
    return Chunk(b'{"number":%d}' % number)


def chunks(*numbers: int) -> list[Chunk]:
    return [chunk(number) for number in numbers]


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
