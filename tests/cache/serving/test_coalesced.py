"""One call for all who ask the same: who leads, who follows, and what happens when a call breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.core.call import Call, Handler
from app.core.errors import InvalidRequest, UpstreamError, UpstreamOverloaded, UpstreamTimeout
from app.core.reply import Chunk, Origin, ReplyWriter, StreamEnd
from cache.flights.flights import Flight
from cache.serving.coalesced import CoalescedRequest, pack_large
from cache.serving.lookup import CacheLookup
from cache.serving.resolution import Follower, Leader, Miss, Resolution, Stale, StoreDown
from cache.store import key_names as names
from tests.cache.serving.serving import COST, Worker, entry_of, lookup_of, plan_of
from tests.harness.chain import (
    ORIGIN,
    Answering,
    RecordingWriter,
    call_of,
    chunk_of,
    in_loop,
    turns,
)


class Asking:
    """A request on its way through: its look-up, what it got, and its task."""

    def __init__(
        self, lookup: CacheLookup, reply: RecordingWriter, task: asyncio.Task[Any]
    ) -> None:
        self.lookup = lookup
        self.reply = reply
        self.task = task

    @property
    def status(self) -> str | None:
        return self.lookup.call.outcome.cache


async def ask(
    worker: Worker,
    inner: Handler,
    lookup: CacheLookup | None = None,
    resolution: Resolution | None = None,
    reply: RecordingWriter | None = None,
) -> Asking:
    """Begin a request; it goes as far as it can."""
    lookup, reply = lookup or lookup_of(), reply or RecordingWriter()
    if resolution is None:
        resolution = await worker.services.resolver.share(lookup)
    request = CoalescedRequest(inner, worker.services, lookup, reply)
    task = asyncio.create_task(request.run(resolution))
    await turns()
    return Asking(lookup, reply, task)


async def together(
    worker: Worker, inner: Handler, count: int, gate: asyncio.Event, **members: Any
) -> list[Asking]:
    """Several who ask the same while the first one's call runs."""
    asked = [await ask(worker, inner, lookup_of(call_of(**members))) for _ in range(count)]
    gate.set()
    await asyncio.gather(*(one.task for one in asked), return_exceptions=True)
    return asked


def streamed() -> CacheLookup:
    return lookup_of(call_of(stream=True))


# A call for all


@pytest.mark.parametrize("stream", [False, True])
def test_one_call_answers_all_who_ask_the_same(stream: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        asked = await together(worker, inner, 4, gate, stream=stream)
        assert len(inner.calls) == 1
        assert [one.reply.texts for one in asked] == [["yes it is"]] * 4
        assert [one.status for one in asked] == ["miss", *["coalesced"] * 3]
        assert worker.idle

    in_loop(body)


@pytest.mark.parametrize("first", [False, True])
def test_plain_and_streamed_callers_share_a_call(first: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        asked = [
            await ask(worker, inner, lookup_of(call_of(stream=stream)))
            for stream in (first, not first)
        ]
        gate.set()
        await asyncio.gather(*(one.task for one in asked))
        assert [one.reply.texts for one in asked] == [["yes it is"]] * 2
        assert len(inner.calls) == 1

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_what_a_call_brought_is_kept(stream: bool) -> None:
    async def body() -> None:
        worker = Worker()
        asked = await ask(worker, Answering(), lookup_of(call_of(stream=stream)))
        await asked.task
        [entry] = await worker.kept(asked.lookup)
        assert entry is not None
        assert entry.cost == COST

    in_loop(body)


def test_who_asks_for_what_is_under_way_in_part_does_not_wait_for_it() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        asked = [
            await ask(worker, inner, lookup_of(call_of(prompt=prompts)))
            for prompts in (["a", "b"], ["b", "c"])
        ]
        assert len(inner.calls) == 2
        gate.set()
        await asyncio.gather(*(one.task for one in asked))

    in_loop(body)


def test_a_slow_leader_does_not_hold_up_those_who_follow() -> None:
    async def body() -> None:
        worker, room, gate = Worker(), asyncio.Event(), asyncio.Event()
        inner = Answering("a b c", gate=gate)
        slow = await ask(worker, inner, streamed(), reply=RecordingWriter(room))
        follower = await ask(worker, inner, streamed())
        gate.set()
        await follower.task
        assert follower.reply.texts == ["a b c"]
        assert not slow.task.done()
        room.set()
        await slow.task
        assert slow.reply.texts == ["a b c"]

    in_loop(body)


def test_what_was_brought_is_kept_before_a_slow_caller_has_read_it() -> None:
    async def body() -> None:
        worker, room = Worker(), asyncio.Event()
        slow = await ask(worker, Answering("a b"), streamed(), reply=RecordingWriter(room))
        assert not slow.task.done()
        assert await worker.kept(slow.lookup) != [None]
        assert worker.idle
        room.set()
        await slow.task

    in_loop(body)


# A call that breaks


@pytest.mark.parametrize("stream", [False, True])
def test_the_error_of_a_lone_leader_is_its_callers(stream: bool) -> None:
    async def body() -> None:
        worker, failure = Worker(), UpstreamTimeout("late")
        asked = await ask(worker, Answering(refusal=failure), lookup_of(call_of(stream=stream)))
        assert asked.task.exception() is failure
        assert asked.reply.said == []
        assert worker.idle

    in_loop(body)


class Failing(Answering):
    """Fails the first calls, once they are let go."""

    def __init__(self, times: int, gate: asyncio.Event, error: Exception | None = None) -> None:
        super().__init__(gate=gate)
        self.left = times
        self.error = error or UpstreamOverloaded("no", headers=[(b"retry-after", b"7")])

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        if self.left:
            self.left -= 1
            self.calls.append(call)
            await self._wait()
            await turns()  # as long as an upstream takes at least
            raise self.error
        await super().__call__(call, reply)


@pytest.mark.parametrize("stream", [False, True])
def test_one_of_those_who_wait_tries_again(stream: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Failing(1, gate)
        leader, *others = await together(worker, inner, 3, gate, stream=stream)
        assert isinstance(leader.task.exception(), UpstreamOverloaded)
        assert [one.reply.texts for one in others] == [["yes it is"]] * 2
        assert len(inner.calls) == 2
        assert worker.idle

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_if_the_retry_fails_too_all_who_wait_get_the_error(stream: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Failing(9, gate)
        asked = await together(worker, inner, 4, gate, stream=stream)
        errors = [one.task.exception() for one in asked]
        assert all(isinstance(error, UpstreamError) for error in errors)
        assert {(e.status, e.code, e.body()) for e in errors} == {  # type: ignore[union-attr]
            (503, "upstream_overloaded", inner.error.body())  # type: ignore[attr-defined]
        }
        assert all(dict(e.headers)[b"retry-after"] == b"7" for e in errors)  # type: ignore[union-attr]
        assert len(inner.calls) == 2
        assert worker.idle

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_leaders_own_refusal_is_nobody_elses(stream: bool) -> None:
    # Its budget, for instance: each of the others asks on its own account.
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Failing(2, gate, InvalidRequest("your budget is spent"))
        asked = await together(worker, inner, 4, gate, stream=stream)
        refused = [one for one in asked if one.task.exception() is not None]
        assert len(refused) == 2
        assert sum(one.reply.texts == ["yes it is"] for one in asked) == 2
        assert worker.idle

    in_loop(body)


class BreakingOnce(Answering):
    """Says the beginning of an answer and breaks off; the next time it gives all of it."""

    def __init__(self, gate: asyncio.Event, then: str = "yes it is") -> None:
        super().__init__(then)
        self._until = gate

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        if self.calls:
            await super().__call__(call, reply)
            return
        self.calls.append(call)
        await reply.begin(ORIGIN)
        await reply.write([chunk_of("yes ")])
        await self._until.wait()
        await reply.fail(UpstreamTimeout("late"))


def test_a_follower_goes_on_where_the_leaders_stream_broke_off() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = BreakingOnce(gate)
        leader, follower = await together(worker, inner, 2, gate, stream=True)
        assert (leader.reply.said[-1], leader.reply.texts) == ("fail", ["yes "])
        assert (follower.reply.said[-1], follower.reply.texts) == ("finish", ["yes it is"])
        assert follower.reply.said.count("begin") == 1
        assert worker.idle

    in_loop(body)


def test_a_stream_that_cannot_be_continued_fails() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        _, follower = await together(worker, BreakingOnce(gate, "no never"), 2, gate, stream=True)
        assert (follower.reply.said[-1], follower.reply.texts) == ("fail", ["yes "])
        assert worker.idle

    in_loop(body)


def test_a_stream_that_broke_is_not_kept() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        gate.set()
        asked = await ask(worker, BreakingOnce(gate), streamed())
        await asked.task
        assert await worker.kept(asked.lookup) == [None]

    in_loop(body)


# A caller that leaves


def test_a_leaders_caller_is_kept_while_others_follow() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        leader, follower = await ask(worker, inner), await ask(worker, inner)
        linger = leader.lookup.call.caller.linger
        assert linger is not None
        lingering = asyncio.ensure_future(linger())
        await turns()
        assert not lingering.done()
        follower.task.cancel()
        await lingering
        leader.task.cancel()
        await asyncio.gather(leader.task, follower.task, return_exceptions=True)
        assert worker.idle

    in_loop(body)


def test_a_follower_that_leaves_is_not_kept() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        leader, follower = await ask(worker, inner), await ask(worker, inner)
        linger = follower.lookup.call.caller.linger
        assert linger is not None
        await linger()
        gate.set()
        await asyncio.gather(leader.task, follower.task)

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_leader_that_is_cancelled_ends_its_call_and_another_takes_over(stream: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        inner = Answering(gate=gate)
        leader = await ask(worker, inner, lookup_of(call_of(stream=stream)))
        follower = await ask(worker, inner, lookup_of(call_of(stream=stream)))
        leader.task.cancel()
        gate.set()
        await asyncio.gather(leader.task, follower.task, return_exceptions=True)
        assert leader.task.cancelled()
        assert inner.cancelled == 1
        assert follower.reply.texts == ["yes it is"]
        assert worker.idle

    in_loop(body)


def test_a_leader_that_is_cancelled_after_all_came_has_it_kept() -> None:
    async def body() -> None:
        worker, room = Worker(), asyncio.Event()
        leader = await ask(worker, Answering("a b"), streamed(), reply=RecordingWriter(room))
        leader.task.cancel()
        await asyncio.gather(leader.task, return_exceptions=True)
        assert await worker.kept(leader.lookup) != [None]

    in_loop(body)


def test_what_runs_on_after_all_came_is_not_cancelled_with_its_caller() -> None:
    # It settles what was held, and keeps what came.
    async def body() -> None:
        worker, gate, room = Worker(), asyncio.Event(), asyncio.Event()
        settled = []

        async def inner(call: Call, reply: ReplyWriter) -> None:
            await Answering("a b")(call, reply)
            await gate.wait()
            settled.append(True)

        leader = await ask(worker, inner, streamed(), reply=RecordingWriter(room))
        leader.task.cancel()
        await turns()
        gate.set()
        await asyncio.gather(leader.task, return_exceptions=True)
        assert settled
        assert await worker.kept(leader.lookup) != [None]

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_nobody_waits_for_a_call_that_ended_without_an_answer(stream: bool) -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()

        async def inner(call: Call, reply: ReplyWriter) -> None:
            await gate.wait()

        asked = await together(worker, inner, 3, gate, stream=stream)
        assert all(one.task.done() for one in asked)
        assert worker.idle

    in_loop(body)


# An old answer


STALE = {"age": 60_001, "on_error": 60_000}


@pytest.mark.parametrize("stream", [False, True])
def test_an_expired_answer_is_served_where_a_new_one_cannot_be_had(stream: bool) -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of(call_of(stream=stream))
        await worker.keep(lookup, "old", **STALE)
        asked = await ask(worker, Answering(refusal=UpstreamTimeout("late")), lookup)
        await asked.task
        assert (asked.reply.texts, asked.status) == (["old"], "stale")
        assert lookup.call.outcome.error_code == "upstream_timeout"
        assert worker.idle

    in_loop(body)


def test_an_expired_answer_is_no_excuse_for_a_wrong_request() -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of()
        await worker.keep(lookup, "old", **STALE)
        asked = await ask(worker, Answering(refusal=InvalidRequest("wrong")), lookup)
        assert isinstance(asked.task.exception(), InvalidRequest)

    in_loop(body)


def test_an_answer_that_was_purged_meanwhile_is_not_served_for_one() -> None:
    async def body() -> None:
        worker, lookup, gate = Worker(), lookup_of(), asyncio.Event()
        await worker.keep(lookup, "old", **STALE)
        asked = await ask(worker, Failing(1, gate), lookup)
        await worker.services.responses.purge("acme", None, None)
        gate.set()
        await asyncio.gather(asked.task, return_exceptions=True)
        assert isinstance(asked.task.exception(), UpstreamOverloaded)

    in_loop(body)


def test_all_who_wait_get_the_expired_answer_if_the_retry_fails_too() -> None:
    async def body() -> None:
        worker, gate = Worker(), asyncio.Event()
        await worker.keep(lookup_of(), "old", **STALE)
        asked = await together(worker, Failing(9, gate), 4, gate)
        assert [one.reply.texts for one in asked] == [["old"]] * 4
        assert [one.status for one in asked] == ["stale"] * 4

    in_loop(body)


# For itself alone


def test_who_asks_alone_is_answered_and_what_came_is_kept() -> None:
    async def body() -> None:
        worker, lookup = Worker(), lookup_of()
        missed = await worker.services.resolver.look_up(lookup)
        asked = await ask(worker, Answering(), lookup, missed)
        await asked.task
        assert (asked.reply.texts, asked.status) == (["yes it is"], "miss")
        assert await worker.kept(asked.lookup) != [None]

    in_loop(body)


def test_without_the_store_a_request_just_passes() -> None:
    async def body() -> None:
        worker = Worker()
        asked = await ask(worker, Answering(), resolution=StoreDown())
        await asked.task
        assert (asked.reply.texts, asked.status) == (["yes it is"], "bypass")
        assert await worker.kept(asked.lookup) == [None]

    in_loop(body)


@pytest.mark.parametrize("then", [Miss(), StoreDown()], ids=["miss", "store down"])
def test_a_stream_that_began_elsewhere_is_not_begun_again(
    then: Resolution, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body() -> None:
        worker, flight = Worker(), Flight("w.1", b"d" * 32, "acme")
        flight.set_origin("up", "m", streamed=True)
        flight.publish([chunk_of("yes ")])
        flight.fail()
        flight.follow()

        async def share(*_: Any) -> Resolution:
            return then

        monkeypatch.setattr(worker.services.resolver, "share", share)
        inner = Answering()
        asked = await ask(worker, inner, streamed(), Follower(flight))
        await asked.task
        assert (asked.reply.said, inner.calls) == (["begin", "write", "fail"], [])

    in_loop(body)


def test_what_was_kept_while_a_leader_was_waited_for_is_served() -> None:
    async def body() -> None:
        worker, flight = Worker(), Flight("w.1", b"d" * 32, "acme")
        flight.follow()
        flight.fail()
        lookup = lookup_of()
        await worker.keep(lookup, "kept")
        asked = await ask(worker, Answering(), lookup, Follower(flight))
        await asked.task
        assert (asked.reply.texts, asked.status) == (["kept"], "hit")

    in_loop(body)


def test_a_stale_answer_found_while_waiting_is_served_and_its_renewal_left_to_others() -> None:
    async def body() -> None:
        worker = Worker()
        lookup = lookup_of(plan=plan_of({"stale_while_revalidate": "60s"}))
        led = await worker.services.resolver.share(lookup)
        assert isinstance(led, Leader)
        asked = await ask(worker, Answering(), lookup, Stale([entry_of("old")], led.flight))
        await asked.task
        assert (asked.reply.texts, asked.status) == (["old"], "stale")
        assert worker.idle

    in_loop(body)


# Large answers


def test_a_large_answer_is_packed_beside_the_loop_and_a_small_one_is_not() -> None:
    large, small = entry_of("x" * (200 << 10)), entry_of("x")
    responses, place = Worker().services.responses, lookup_of().place
    packed = in_loop(lambda: pack_large(responses, place, [(b"1", large), (b"2", small)]))
    assert list(packed) == [b"1"]
    assert responses.decoded(names.answer(place.tenant, b"1".hex()), packed[b"1"]) == large


def test_a_flight_ends_when_its_answer_could_not_be_delivered() -> None:
    class Broken(RecordingWriter):
        async def answer(self, origin: Origin, answer: Any) -> None:
            raise ConnectionError

        async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
            raise ConnectionError

    async def body() -> None:
        for stream in (False, True):
            worker = Worker()
            asked = await ask(
                worker, Answering(), lookup_of(call_of(stream=stream)), reply=Broken()
            )
            await asyncio.gather(asked.task, return_exceptions=True)
            assert isinstance(asked.task.exception(), ConnectionError)
            assert worker.idle

    in_loop(body)
