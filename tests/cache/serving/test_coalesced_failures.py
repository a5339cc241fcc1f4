"""Calls for many that break, and callers that leave them."""

from __future__ import annotations

import asyncio

import pytest

from app.core.call import Call
from app.core.errors import InvalidRequest, UpstreamError, UpstreamOverloaded, UpstreamTimeout
from app.core.reply import ReplyWriter
from tests.cache.serving.coalescing import Failing, ask, streamed, together
from tests.cache.serving.serving import Worker, lookup_of
from tests.harness.chain import (
    ORIGIN,
    Answering,
    RecordingWriter,
    call_of,
    chunk_of,
    in_loop,
    turns,
)

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
