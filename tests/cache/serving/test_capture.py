"""What the cache keeps of an answer that passes by, and what the caller gets meanwhile."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from app.core.call import Handler
from app.core.errors import InvalidRequest, UpstreamInvalid, UpstreamTimeout
from app.core.reply import Origin
from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.flights.flights import AHEAD_BYTES, Completed, Failure, Flight
from cache.serving.capture import ReplyCapture, shared_error
from cache.serving.lookup import CacheLookup
from tests.cache.serving.serving import COST, entry_of, lookup_of, plan_of
from tests.harness.chain import (
    ORIGIN,
    USAGE,
    Answering,
    RecordingWriter,
    answer_of,
    call_of,
    chunk_of,
    header_of,
    in_loop,
    stream_of,
    texts_of,
    turns,
)

NOW = 1_000_000


def a_flight() -> Flight:
    return Flight("w.1", b"d" * 32, "acme")


def passed(
    lookup: CacheLookup, handler: Handler | None = None, flight: Flight | None = None
) -> tuple[ReplyCapture, RecordingWriter, list[tuple[bytes, CacheEntry]]]:
    """An answer that passed by: the capture, what the caller got, and what may be kept."""

    async def body() -> Any:
        reply = RecordingWriter()
        capture = ReplyCapture(lookup, reply, flight)
        await (handler or Answering())(capture.call, capture)
        return capture, reply, await capture.entries()

    return in_loop(body)  # type: ignore[no-any-return]


def kept(lookup: CacheLookup, handler: Handler | None = None) -> list[str]:
    """The texts that may be kept of an answer."""
    return [texts_of(entry.body)[0] for _, entry in passed(lookup, handler)[2]]


def streamed(**members: Any) -> CacheLookup:
    return lookup_of(call_of(stream=True, **members))


def partial(*prompts: str, known: int, **members: Any) -> CacheLookup:
    """A batch of which one prompt has a fresh entry."""
    lookup = lookup_of(call_of(prompt=list(prompts), **members))
    entries = [entry_of("known", NOW) if place == known else None for place in range(len(prompts))]
    lookup.found(NOW, entries)
    return lookup


# What passes


def test_a_plain_answer_passes_as_it_is() -> None:
    _, reply, _ = passed(lookup_of())
    assert (reply.said, reply.origin) == (["answer"], ORIGIN)
    assert reply.plain == answer_of("yes it is")


def test_a_stream_passes_as_it_comes() -> None:
    _, reply, _ = passed(streamed())
    assert (reply.said, reply.origin) == (["begin", "write", "write", "finish"], ORIGIN)
    assert (reply.chunks, reply.end) == (
        [chunk_of("yes "), chunk_of("it "), chunk_of("is", reason="stop")],
        stream_of("")[1],
    )


def test_a_failure_passes() -> None:
    failure = UpstreamTimeout("late")
    _, reply, _ = passed(streamed(), Answering(cut=failure))
    assert (reply.said[-1], reply.error) == ("fail", failure)


# What is kept


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_is_kept_plain_under_the_fingerprint_of_its_prompt(stream: bool) -> None:
    lookup = lookup_of(call_of(stream=stream))
    _, _, [(digest, entry)] = passed(lookup)
    assert digest == lookup.digests[0]
    assert entry.body == answer_of("yes it is").body


def test_an_entry_says_who_gave_it_what_it_cost_and_how_long_it_counts() -> None:
    lookup = lookup_of(plan=plan_of({"stale_while_revalidate": "1s", "stale_if_error": "2s"}))
    lookup.now = NOW
    _, _, [(_, entry)] = passed(lookup)
    assert (entry.provider, entry.model, entry.usage) == (ORIGIN.provider, ORIGIN.model, USAGE)
    assert (entry.cost, entry.asked) == (COST, NOW)
    assert NOW <= entry.stored < NOW + 1000
    ends = (entry.fresh, entry.revalidate, entry.on_error)
    assert [end - entry.stored for end in ends] == [60_000, 61_000, 62_000]


def test_a_caller_may_ask_for_another_time() -> None:
    _, _, [(_, entry)] = passed(lookup_of(headers=[(b"x-headgate-cache-ttl", b"5")]))
    assert entry.fresh - entry.stored == 5000


@pytest.mark.parametrize("stream", [False, True])
def test_each_prompt_of_a_batch_has_an_entry_of_its_own(stream: bool) -> None:
    lookup = lookup_of(call_of(prompt=["a", "b"], n=2, stream=stream))
    _, _, entries = passed(lookup, Answering(lambda prompt: f"re {prompt}"))
    assert [digest for digest, _ in entries] == lookup.digests
    assert [texts_of(entry.body) for _, entry in entries] == [["re a"] * 2, ["re b"] * 2]


def test_a_stream_that_comes_in_many_chunks_adds_up() -> None:
    assert kept(streamed(), Answering(" ".join(["word"] * 200))) == [" ".join(["word"] * 200)]


# What is not kept


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("headers", [b"no-store", b"no-store, no-cache"])
def test_what_the_caller_forbids_is_not_kept(stream: bool, headers: bytes) -> None:
    assert kept(lookup_of(call_of([(b"cache-control", headers)], stream=stream))) == []


@pytest.mark.parametrize("target", [None, ("spare", "m-1"), ("up", "m-2")])
@pytest.mark.parametrize("stream", [False, True])
def test_the_answer_of_another_target_is_not_kept_under_this_alias(
    target: Any, stream: bool
) -> None:
    answering = Answering(origin=Origin("up", "m-1", target))
    assert kept(lookup_of(call_of(stream=stream)), answering) == []


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("reason", ["content_filter", "error"])
def test_an_answer_that_did_not_come_to_its_own_end_is_not_kept(stream: bool, reason: str) -> None:
    async def handler(_: Any, reply: Any) -> None:
        if stream:
            await reply.begin(ORIGIN)
            await reply.finish(stream_of("a")[1], [chunk_of("a", reason=reason)])
        else:
            answer = answer_of("a")
            body = answer.body.replace(b'"stop"', b'"%b"' % reason.encode())
            await reply.answer(ORIGIN, answer._replace(body=body))

    assert kept(lookup_of(call_of(stream=stream)), handler) == []


def test_a_stream_that_broke_is_not_kept() -> None:
    capture, _, entries = passed(streamed(), Answering(cut=UpstreamTimeout("late")))
    assert (capture.whole, entries) == (False, [])


def test_a_stream_without_its_end_is_not_kept() -> None:
    async def handler(_: Any, reply: Any) -> None:
        await reply.begin(ORIGIN)
        await reply.write([chunk_of("a", reason="stop")])

    capture, _, entries = passed(streamed(), handler)
    assert (capture.whole, entries) == (False, [])


def test_where_nothing_was_answered_nothing_is_kept() -> None:
    async def handler(_: Any, reply: Any) -> None:
        return

    capture, _, entries = passed(lookup_of(), handler)
    assert (capture.whole, entries) == (False, [])


def test_a_stream_that_does_not_add_up_is_passed_and_not_kept() -> None:
    async def handler(_: Any, reply: Any) -> None:
        said = [chunk_of("a"), chunk_of("b", reason="stop")]
        for number, chunk in enumerate(said):
            chunk.document["choices"][0]["odd"] = {"number": number}
        await reply.begin(ORIGIN)
        await reply.finish(stream_of("a")[1], said)

    _, reply, entries = passed(streamed(), handler)
    assert (reply.texts, entries) == (["ab"], [])


def test_an_entry_that_is_too_large_is_not_kept_beside_one_that_is_not() -> None:
    plan = plan_of({"max_entry": "2KB"})
    lookup = lookup_of(call_of(prompt=["short", "long"]), plan)
    answering = Answering(lambda prompt: "x" * (3000 if prompt == "long" else 3))
    _, reply, entries = passed(lookup, answering)
    assert [digest for digest, _ in entries] == lookup.digests[:1]
    assert [len(text) for text in reply.texts] == [3, 3000]


def test_a_stream_that_is_too_large_passes_and_is_not_remembered(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cache.serving.capture.MAX_BYTES", 300)
    capture, reply, entries = passed(streamed(), Answering("a b c d"))
    assert (reply.texts, entries) == (["a b c d"], [])
    assert capture._chunks is None


# Part of a batch


@pytest.mark.parametrize("stream", [False, True])
def test_of_a_batch_the_missing_prompts_are_asked_for_and_all_are_answered(stream: bool) -> None:
    lookup = partial("a", "b", "c", known=1, stream=stream)
    answering = Answering(lambda prompt: f"re {prompt}")
    _, reply, entries = passed(lookup, answering)
    assert answering.prompts == [["a", "c"]]
    assert reply.texts == ["re a", "known", "re c"]
    assert [(digest, texts_of(entry.body)) for digest, entry in entries] == [
        (lookup.digests[0], ["re a"]),
        (lookup.digests[2], ["re c"]),
    ]


def test_the_usage_of_a_batch_known_in_part_is_that_of_all_of_it() -> None:
    _, reply, _ = passed(partial("a", "b", known=0, stream=True))
    assert reply.end is not None
    assert reply.end.usage == Usage(6, 4)
    assert reply.end.members["usage"] == Usage(6, 4).document()


# What is said of it


@pytest.mark.parametrize(
    ("lookup", "status", "saved"),
    [(lookup_of(), "miss", 0), (partial("a", "b", known=1), "partial", COST)],
    ids=["miss", "partial"],
)
def test_the_reply_says_what_the_cache_had(lookup: CacheLookup, status: str, saved: int) -> None:
    passed(lookup)
    assert header_of(lookup.call, b"x-headgate-cache") == status.encode()
    assert (lookup.call.outcome.cache, lookup.call.outcome.saved) == (status, saved)


def test_nothing_is_said_before_there_is_an_answer() -> None:
    lookup = lookup_of()
    with pytest.raises(UpstreamInvalid):
        passed(lookup, Answering(refusal=UpstreamInvalid("no")))
    assert header_of(lookup.call, b"x-headgate-cache") is None


# Where others follow


def test_a_stream_goes_to_the_flight_and_not_to_its_caller() -> None:
    flight = a_flight()
    capture, reply, entries = passed(streamed(), flight=flight)
    assert reply.said == []
    assert flight.chunks() == [chunk_of("yes "), chunk_of("it "), chunk_of("is", reason="stop")]
    assert (flight.provider, flight.model, flight.streamed) == ("up", ORIGIN.model, True)
    assert flight.completed == Completed(None, USAGE, COST, stream_of("")[1])
    assert capture.whole
    assert len(entries) == 1


def test_a_plain_answer_goes_to_both() -> None:
    flight = a_flight()
    _, reply, _ = passed(lookup_of(), Answering(cost=COST), flight)
    assert reply.texts == ["yes it is"]
    assert (flight.provider, flight.model, flight.streamed) == ("up", ORIGIN.model, False)
    assert flight.completed == Completed(answer_of("yes it is").body, USAGE, COST)


def test_a_flight_for_the_missing_prompts_has_the_answers_to_those_alone() -> None:
    flight = a_flight()
    lookup = partial("a", "b", known=0)
    _, reply, _ = passed(lookup, Answering(lambda prompt: f"re {prompt}"), flight)
    assert flight.completed is not None
    assert texts_of(flight.completed.body or b"") == ["re b"]
    assert reply.texts == ["known", "re b"]


def test_a_failure_of_a_stream_is_everybodys() -> None:
    flight = a_flight()
    failure = UpstreamTimeout("late", headers=[(b"retry-after", b"1")])
    capture, reply, _ = passed(streamed(), Answering(cut=failure), flight)
    assert (capture.failure, reply.said) == (failure, [])
    assert flight.failure == Failure(shared_error(failure))


def test_an_upstream_waits_for_those_who_read_its_flight() -> None:
    async def body() -> tuple[bool, bool]:
        flight = a_flight()
        reader = flight.reader()
        capture = ReplyCapture(streamed(), RecordingWriter(), flight)
        await capture.begin(ORIGIN)
        writing = asyncio.create_task(capture.write([chunk_of("x" * AHEAD_BYTES)]))
        await turns()
        before = writing.done()
        await reader.next()
        await writing
        return before, writing.done()

    assert in_loop(body) == (False, True)


# What may be shared of a failure


def test_an_upstreams_failure_is_shared_as_it_is_answered() -> None:
    error = UpstreamTimeout("late", headers=[(b"retry-after", b"1")])
    shared = shared_error(error)
    assert shared is not None
    assert (shared.status, shared.code, shared.body) == (504, "upstream_timeout", error.body())
    assert shared.headers == ((b"retry-after", b"1"),)


@pytest.mark.parametrize("error", [InvalidRequest("mine"), asyncio.CancelledError(), None])
def test_what_is_the_callers_own_affair_is_not_shared(error: BaseException | None) -> None:
    assert shared_error(error) is None
