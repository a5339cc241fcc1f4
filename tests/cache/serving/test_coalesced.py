"""One call for all who ask the same: who leads, who follows, and what happens when a call breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from app.core.errors import InvalidRequest, UpstreamOverloaded, UpstreamTimeout
from app.core.reply import Chunk, Origin, StreamEnd
from cache.flights.flights import Flight
from cache.serving.coalesced import pack_large
from cache.serving.resolution import Follower, Leader, Miss, Resolution, Stale, StoreDown
from cache.store import key_names as names
from tests.cache.serving.coalescing import Failing, ask, streamed, together
from tests.cache.serving.serving import COST, Worker, entry_of, lookup_of, plan_of
from tests.harness.chain import (
    Answering,
    RecordingWriter,
    call_of,
    chunk_of,
    in_loop,
)

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
