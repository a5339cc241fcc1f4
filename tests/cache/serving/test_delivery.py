"""An answer on its way to one caller: from what is kept, or from a flight as it comes."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk, Origin, StreamEnd
from app.core.usage import Usage
from cache.flights.flights import Flight, SharedError
from cache.serving.delivery import CannotFollow, Delivery, RelayedError, deliver_stored
from cache.serving.lookup import CacheLookup
from tests.cache.serving.serving import COST, entry_of, lookup_of
from tests.harness.chain import (
    ORIGIN,
    USAGE,
    RecordingWriter,
    answer_of,
    call_of,
    chunk_of,
    header_of,
    in_loop,
    stream_of,
    turns,
)

NOW = 1_000_000
END = stream_of("")[1]
ERROR = SharedError(504, "upstream_timeout", b'{"error":{}}', ((b"retry-after", b"1"),))


def a_flight(name: str = "w.1") -> Flight:
    flight = Flight(name, b"d" * 32, "acme")
    flight.set_origin("up", ORIGIN.model, streamed=True)
    return flight


def said(*texts: str, end: bool = True) -> Flight:
    """A flight that has said these, and is whole or has failed."""
    flight = a_flight()
    flight.publish([chunk_of(text) for text in texts])
    if end:
        flight.publish([chunk_of("", reason="stop")])
        flight.complete(None, USAGE, COST, END)
    else:
        flight.fail(ERROR)
    return flight


def streamed(**members: Any) -> CacheLookup:
    return lookup_of(call_of(stream=True, **members))


# From what is kept


def delivered(lookup: CacheLookup, *entries: Any, status: str = "hit", **found: Any) -> Any:
    async def body() -> RecordingWriter:
        reply = RecordingWriter()
        await deliver_stored(lookup, reply, entries, status, **found)
        return reply

    return in_loop(body)


def test_a_kept_answer_is_sent_as_it_was() -> None:
    entry = entry_of("kept")
    reply = delivered(lookup_of(), entry)
    assert (reply.said, reply.plain.body) == (["answer"], entry.body)
    assert reply.origin == Origin(entry.provider, entry.model)


def test_a_kept_answer_is_a_stream_to_who_asked_for_one() -> None:
    reply = delivered(streamed(), entry_of("kept"))
    assert (reply.said, reply.texts) == (["begin", "finish"], ["kept"])
    assert reply.end.usage == USAGE


def test_a_hit_costs_nothing_and_says_what_it_saved() -> None:
    lookup = streamed()
    delivered(lookup, entry_of())
    assert (lookup.call.outcome.cost, lookup.call.outcome.saved) == (0, COST)
    assert header_of(lookup.call, b"x-headgate-cost-usd") == b"0"


@pytest.mark.parametrize("status", ["hit", "stale"])
def test_a_reply_says_how_it_was_found(status: str) -> None:
    lookup = lookup_of()
    delivered(lookup, entry_of(), status=status)
    assert header_of(lookup.call, b"x-headgate-cache") == status.encode()
    assert header_of(lookup.call, b"x-headgate-cache-layer") == b"exact"


def test_what_was_found_otherwise_says_so() -> None:
    lookup = lookup_of()
    delivered(lookup, entry_of(), found=[(b"x-headgate-cache-layer", b"semantic")])
    assert header_of(lookup.call, b"x-headgate-cache-layer") == b"semantic"


@pytest.mark.parametrize(("age", "header"), [(0, b"0"), (1999, b"1"), (-5000, b"0")])
def test_an_age_is_whole_seconds_and_never_less_than_none(age: int, header: bytes) -> None:
    lookup = lookup_of()
    lookup.now = NOW
    delivered(lookup, entry_of(now=NOW, age=age))
    assert header_of(lookup.call, b"age") == header


@pytest.mark.parametrize("stream", [False, True])
def test_a_batch_is_as_old_as_its_oldest_answer_and_saves_all_of_them(stream: bool) -> None:
    lookup = lookup_of(call_of(prompt=["a", "b"], stream=stream))
    lookup.now = NOW
    reply = delivered(lookup, entry_of("a", NOW, age=1000), entry_of("b", NOW, age=3000))
    assert reply.texts == ["a", "b"]
    assert header_of(lookup.call, b"age") == b"3"
    assert lookup.call.outcome.saved == 2 * COST


# From a flight


def followed(lookup: CacheLookup, flight: Flight) -> tuple[bool, RecordingWriter]:
    async def body() -> Any:
        reply = RecordingWriter()
        return await Delivery(lookup, reply).follow(flight), reply

    return in_loop(body)  # type: ignore[no-any-return]


def test_a_follower_gets_a_stream_from_its_beginning() -> None:
    whole, reply = followed(streamed(), said("a ", "b"))
    assert whole
    assert (reply.said, reply.texts, reply.end) == (["begin", "finish"], ["a b"], END)
    assert reply.origin == Origin("up", ORIGIN.model)


def test_a_follower_gets_chunks_as_they_come_and_the_last_with_the_end() -> None:
    async def body() -> None:
        flight, reply = a_flight(), RecordingWriter()
        following = asyncio.create_task(Delivery(streamed(), reply).follow(flight))
        await turns()
        assert reply.said == []
        flight.publish([chunk_of("a")])
        await turns()
        assert reply.said == ["begin", "write"]
        flight.publish([chunk_of("b", reason="stop")])
        flight.complete(None, USAGE, COST, END)
        assert await following
        assert (reply.said, reply.texts) == (["begin", "write", "finish"], ["ab"])

    in_loop(body)


def test_an_end_that_comes_alone_is_an_end_too() -> None:
    async def body() -> None:
        flight, reply = a_flight(), RecordingWriter()
        following = asyncio.create_task(Delivery(streamed(), reply).follow(flight))
        flight.publish([chunk_of("a", reason="stop")])
        await turns()
        flight.complete(None, USAGE, COST, END)
        assert await following
        assert (reply.said, reply.texts) == (["begin", "write", "finish"], ["a"])

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_follower_may_get_the_other_shape(stream: bool) -> None:
    flight = said("a ", "b")
    if stream:
        flight = a_flight()
        flight.complete(answer_of("a b").body, USAGE, COST)
    whole, reply = followed(lookup_of(call_of(stream=stream)), flight)
    assert (whole, reply.texts) == (True, ["a b"])


@pytest.mark.parametrize("stream", [False, True])
def test_following_costs_nothing_and_says_what_it_saved(stream: bool) -> None:
    lookup = lookup_of(call_of(stream=stream))
    followed(lookup, said("a"))
    outcome = lookup.call.outcome
    assert (outcome.cache, outcome.cost, outcome.saved) == ("coalesced", 0, COST)
    assert header_of(lookup.call, b"x-headgate-cache") == b"coalesced"


@pytest.mark.parametrize("stream", [False, True])
def test_a_follower_of_the_missing_part_gets_the_known_part_too(stream: bool) -> None:
    lookup = lookup_of(call_of(prompt=["a", "b"], stream=stream))
    lookup.found(NOW, [entry_of("known", NOW), None])
    _, reply = followed(lookup, said("fresh"))
    assert reply.texts == ["known", "fresh"]
    assert lookup.call.outcome.saved == 2 * COST


@pytest.mark.parametrize("stream", [False, True])
def test_a_flight_that_fails_before_it_begins_leaves_its_follower_free(stream: bool) -> None:
    flight = a_flight()
    flight.fail(ERROR)
    lookup = lookup_of(call_of(stream=stream))
    whole, reply = followed(lookup, flight)
    assert (whole, reply.said, lookup.call.outcome.cache) == (False, [], None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_flight_that_dropped_its_beginning_cannot_be_followed(stream: bool) -> None:
    flight = said("a ", "b")
    flight._first, flight._chunks = 1, flight._chunks[1:]
    with pytest.raises(CannotFollow):
        followed(lookup_of(call_of(stream=stream)), flight)


def test_a_stream_that_does_not_add_up_cannot_be_followed_by_a_plain_caller() -> None:
    flight = a_flight()
    for number in range(2):
        chunk = chunk_of("a", reason="stop" if number else None)
        chunk.document["choices"][0]["odd"] = {"number": number}
        flight.publish([chunk])
    flight.complete(None, USAGE, COST, END)
    with pytest.raises(CannotFollow):
        followed(lookup_of(), flight)


def test_a_reader_is_given_back_whatever_happens() -> None:
    flight = said("a", end=False)
    followed(streamed(), flight)
    assert flight._readers == []


def test_who_waits_for_all_of_a_stream_does_not_slow_it() -> None:
    async def body() -> tuple[int, int]:
        flight = a_flight()
        following = asyncio.create_task(Delivery(lookup_of(), RecordingWriter()).follow(flight))
        await turns()
        waiting = flight.waiting_for_all
        flight.fail()
        await following
        return waiting, flight.waiting_for_all

    assert in_loop(body) == (1, 0)


# From one flight, and then from another


def two(first: Flight, then: Any) -> RecordingWriter:
    """What a caller gets of a flight that failed and of what took over."""

    async def body() -> RecordingWriter:
        lookup, reply = streamed(), RecordingWriter()
        delivery = Delivery(lookup, reply)
        assert not await delivery.follow(first)
        if isinstance(then, Flight):
            assert await delivery.follow(then)
        else:
            await delivery.known([then])
        return reply

    return in_loop(body)  # type: ignore[no-any-return]


def test_a_stream_goes_on_where_it_broke_off() -> None:
    reply = two(said("a ", "b", end=False), said("a", " b c"))
    assert (reply.said, reply.texts) == (["begin", "write", "finish"], ["a b c"])


def test_a_stream_goes_on_from_what_was_kept_meanwhile() -> None:
    reply = two(said("a ", "b", end=False), entry_of("a b c"))
    assert (reply.said, reply.texts) == (["begin", "write", "finish"], ["a b c"])


def test_a_stream_that_had_not_begun_begins_with_the_next() -> None:
    reply = two(said(end=False), said("b"))
    assert reply.texts == ["b"]


@pytest.mark.parametrize("then", [said("other"), entry_of("other")], ids=["flight", "kept"])
def test_another_text_is_never_mixed_in(then: Any) -> None:
    with pytest.raises(CannotFollow):
        two(said("a ", "b", end=False), then)


def test_more_than_can_be_remembered_cannot_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cache.serving.delivery.MAX_BYTES", 100)
    with pytest.raises(CannotFollow):
        two(said("a ", "b", end=False), said("a b c"))


@pytest.mark.parametrize("found", [[None, None], [entry_of("a", NOW), entry_of("b", NOW)]])
def test_a_batch_whose_missing_part_is_another_now_cannot_go_on(found: Any) -> None:
    async def body() -> None:
        lookup = streamed(prompt=["a", "b"])
        lookup.found(NOW, [entry_of("known", NOW), None])
        delivery = Delivery(lookup, RecordingWriter())
        assert not await delivery.follow(said("fresh", end=False))
        lookup.found(NOW, found)
        await delivery.follow(said("fresh"))

    with pytest.raises(CannotFollow):
        in_loop(body)


def test_a_stream_that_nobody_can_continue_fails() -> None:
    async def body() -> RecordingWriter:
        reply = RecordingWriter()
        await Delivery(streamed(), reply).give_up()
        return reply

    reply = in_loop(body)
    assert reply.said == ["fail"]
    assert isinstance(reply.error, UpstreamInvalid)


def test_a_relayed_error_is_answered_as_the_first_caller_was() -> None:
    error = RelayedError.of(ERROR)
    assert (error.status, error.code, error.body()) == (504, "upstream_timeout", ERROR.body)
    assert error.headers == [(b"retry-after", b"1")]


def test_a_view_of_a_batch_numbers_the_choices_as_the_caller_does() -> None:
    lookup = streamed(prompt=["a", "b"])
    lookup.found(NOW, [entry_of("known", NOW), None])
    _, reply = followed(lookup, said("fresh"))
    indexes = {choice["index"] for chunk in reply.chunks for choice in chunk.document["choices"]}
    assert indexes == {0, 1}
    assert reply.end == StreamEnd(Usage(6, 4), {"usage": Usage(6, 4).document()})
    assert all(isinstance(chunk, Chunk) for chunk in reply.chunks)
