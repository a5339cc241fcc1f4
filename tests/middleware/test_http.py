"""How is it answered over HTTP? What a caller gets of each thing that a handler can do."""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.asgi import PIECE_BYTES
from app.core.call import Call
from app.core.errors import InvalidRequest, UpstreamInvalid, UpstreamTimeout
from app.core.exchange import CLIENT_CLOSED_REQUEST
from app.core.pricing import NANO
from app.core.reply import Chunk, ReplyWriter, StreamEnd
from app.openai import sse
from tests.harness.chain import (
    ORIGIN,
    USAGE,
    Answering,
    Door,
    answer_of,
    chunk_of,
    in_loop,
    on_the_wire,
    stream_of,
    turns,
)

ASKED = {"include_usage": True}
CONTINUOUS = {"include_usage": True, "continuous_usage_stats": True}
ENVELOPE = ("id", "object", "created", "model")


@pytest.fixture(autouse=True)
def _watched_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller's leaving is noticed in a turn of the loop."""
    monkeypatch.setattr("middleware.http.WATCH_AFTER_SECONDS", 0)


def through(handler: Any, **members: Any) -> Door:
    async def body() -> Door:
        return await Door(**members).through(handler)

    door: Door = in_loop(body)
    return door


def streamed(handler: Any, **options: Any) -> Door:
    return through(handler, stream=True, stream_options=options)


def events(door: Door) -> list[Any]:
    """The events of a stream that was ended, its end mark as text."""
    assert door.ended
    payloads = sse.EventParser().feed(door.body)
    return ["[DONE]" if data == sse.DONE else orjson.loads(data) for data in payloads]


async def says_nothing(_: Call, reply: ReplyWriter) -> None:
    await asyncio.Event().wait()


# A plain answer


def test_a_plain_answer_is_sent_as_it_is() -> None:
    async def handler(_: Call, reply: ReplyWriter) -> None:
        await reply.answer(ORIGIN, answer_of("yes")._replace(body=b'{ "odd" : 1e0 }'))

    door = through(handler)
    assert (door.status, door.body) == (200, b'{ "odd" : 1e0 }')
    assert door.headers[b"content-type"] == b"application/json"
    assert door.headers[b"content-length"] == b"15"


@pytest.mark.parametrize("stream", [False, True])
def test_the_reply_and_the_record_say_who_answered(stream: bool) -> None:
    door = through(Answering(), stream=stream)
    assert door.headers[b"x-provider"] == ORIGIN.provider.encode()
    assert door.headers[b"x-model"] == ORIGIN.model.encode()
    assert door.headers[b"x-headgate-attempts"] == b"1"
    outcome = door.exchange.outcome
    assert (outcome.provider, outcome.model) == (ORIGIN.provider, ORIGIN.model)


def test_a_models_name_cannot_break_the_headers() -> None:
    door = through(Answering(origin=ORIGIN._replace(model="m\r\nset-cookie: x é")))
    assert door.headers[b"x-model"] == b"m??set-cookie: x ?"


@pytest.mark.parametrize(("cost", "said"), [(None, None), (0, b"0"), (NANO // 2, b"0.5")])
def test_a_plain_reply_says_what_it_cost_where_that_is_known(
    cost: int | None, said: bytes | None
) -> None:
    assert through(Answering(cost=cost)).headers.get(b"x-headgate-cost-usd") == said


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("logged", [False, True])
def test_the_text_is_kept_for_the_log_only_where_that_is_wanted(stream: bool, logged: bool) -> None:
    async def body() -> list[str] | None:
        door = Door(stream=stream)
        door.exchange.outcome.text = [] if logged else None
        await door.through(Answering("a word"))
        return door.exchange.outcome.text

    text = in_loop(body)
    assert ("word" in "".join(text)) if logged else text is None


# A stream


def test_a_stream_has_the_headers_of_one() -> None:
    headers = streamed(Answering()).headers
    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-cache"
    assert headers[b"x-accel-buffering"] == b"no"


def test_chunks_leave_as_they_come_and_the_last_with_the_end() -> None:
    door = streamed(Answering("a b c"))
    texts = [message["body"] for message in door.sent[1:]]
    assert [message["more_body"] for message in door.sent[1:]] == [True, True, False]
    assert texts[0] == b"data: %b\n\n" % chunk_of("a ").payload
    assert texts[2] == b"data: %b\n\ndata: [DONE]\n\n" % chunk_of("c", reason="stop").payload


def test_the_bytes_of_a_chunk_are_passed_on_as_they_are() -> None:
    payload = b'{ "id":"cmpl-1", "choices" : [] , "odd":1e0}'
    chunks, end = stream_of("a")
    wire = on_the_wire([Chunk(payload), *chunks], end, usage=False)
    assert wire.startswith(b"data: %b\n\n" % payload)


def test_a_write_of_nothing_sends_nothing() -> None:
    async def handler(_: Call, reply: ReplyWriter) -> None:
        chunks, end = stream_of("a")
        await reply.begin(ORIGIN)
        await reply.write([])
        await reply.finish(end, chunks)

    assert len(streamed(handler).sent) == 2


# Usage


def test_usage_comes_only_where_it_was_asked_for() -> None:
    *chunks, mark = events(streamed(Answering("a b")))
    assert mark == "[DONE]"
    assert not any("usage" in chunk for chunk in chunks)


def test_usage_comes_in_an_event_of_its_own_at_the_end() -> None:
    *chunks, last, mark = events(streamed(Answering("a b"), **ASKED))
    assert mark == "[DONE]"
    assert [chunk["usage"] for chunk in chunks] == [None, None]
    assert (last["choices"], last["usage"]) == ([], USAGE.document())
    assert [last[name] for name in ENVELOPE] == [chunks[0][name] for name in ENVELOPE]


def test_the_usage_event_has_what_else_the_end_says() -> None:
    chunks, end = stream_of("a")
    members = {**end.members, "system_fingerprint": "f"}
    wire = on_the_wire(chunks, StreamEnd(USAGE, members))
    assert orjson.loads(sse.EventParser().feed(wire)[-2])["system_fingerprint"] == "f"


def test_usage_that_comes_with_every_chunk_stays_there() -> None:
    async def handler(_: Call, reply: ReplyWriter) -> None:
        await reply.begin(ORIGIN)
        await reply.write([chunk_of("a", usage={"total_tokens": 1})])
        await reply.finish(StreamEnd(USAGE, {"usage": USAGE.document()}))

    first, last, _ = events(streamed(handler, **CONTINUOUS))
    assert (first["usage"], last["usage"]) == ({"total_tokens": 1}, USAGE.document())


def test_a_chunk_without_usage_says_null_to_who_asked_for_it_in_every_chunk() -> None:
    first, *_ = events(streamed(Answering("a b"), **CONTINUOUS))
    assert first["usage"] is None


TEXTS = st.lists(st.text(max_size=5), min_size=1, max_size=4)


@settings(max_examples=60, deadline=None)
@given(TEXTS, st.booleans(), st.sampled_from([None, 2]))
def test_every_stream_is_legal(texts: list[str], usage: bool, indent: int | None) -> None:
    chunks, end = stream_of(*texts)
    if indent is not None:  # bytes as another encoder may have made them
        chunks = [Chunk(chunk.payload.replace(b":[", b": [")) for chunk in chunks]
    wire = on_the_wire(chunks, end, usage=usage)
    *found, mark = sse.EventParser().feed(wire)
    assert mark == sse.DONE
    assert wire == b"".join(b"data: %b\n\n" % payload for payload in [*found, mark])
    documents = [orjson.loads(payload) for payload in found]
    expected = [chunk.document | ({"usage": None} if usage else {}) for chunk in chunks]
    assert documents[: len(chunks)] == expected
    assert [document["usage"] for document in documents[len(chunks) :]] == (
        [USAGE.document()] if usage else []
    )


# Errors


@pytest.mark.parametrize("stream", [False, True])
def test_an_error_before_the_answer_has_a_status(stream: bool) -> None:
    refusal = InvalidRequest("no", code="odd", headers=[(b"retry-after", b"1")])
    door = through(Answering(refusal=refusal), stream=stream)
    assert (door.status, door.body, door.ended) == (400, refusal.body(), True)
    assert door.headers[b"retry-after"] == b"1"
    assert door.exchange.outcome.error_code == "odd"


async def raises_late(_: Call, reply: ReplyWriter) -> None:
    await reply.begin(ORIGIN)
    await reply.write([chunk_of("half")])
    raise InvalidRequest("blocked", code="blocked")


@pytest.mark.parametrize(
    ("handler", "code"),
    [
        (Answering("half an answer", cut=UpstreamTimeout("late")), "upstream_timeout"),
        (raises_late, "blocked"),
    ],
    ids=["told", "raised"],
)
def test_an_error_after_the_beginning_ends_the_stream_without_its_end_mark(
    handler: Any, code: str
) -> None:
    door = streamed(handler, **ASKED)
    *chunks, error = events(door)
    assert door.status == 200
    assert chunks
    assert error["error"]["code"] == door.exchange.outcome.error_code == code


def test_what_is_no_refusal_is_somebody_elses_affair() -> None:
    async def handler(_: Call, reply: ReplyWriter) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        through(handler)


# Leaving


def left(door: Door) -> bool:
    """Whether the record says that the caller closed its connection."""
    outcome = door.exchange.outcome
    return (outcome.status, outcome.error_code) == (499, "client_closed_request")


def test_a_caller_that_leaves_ends_its_call() -> None:
    async def body() -> None:
        door = Door()
        handler = Answering(gate=asyncio.Event())
        going = asyncio.create_task(door.through(handler))
        await turns()
        door.leave.set()
        await going
        assert handler.cancelled == 1
        assert left(door)
        assert not door.sent

    in_loop(body)


def test_a_caller_that_leaves_within_a_stream_ends_it() -> None:
    async def body() -> None:
        door = Door(stream=True)
        handler = Answering(gate=asyncio.Event())
        going = asyncio.create_task(door.through(handler))
        await turns()
        door.leave.set()
        await going
        assert handler.cancelled == 1
        assert left(door)
        assert not door.ended

    in_loop(body)


@pytest.mark.parametrize("stream", [False, True])
def test_a_caller_that_has_everything_leaves_nothing_undone(stream: bool) -> None:
    # A server reports a disconnect too when it has sent everything.
    async def body() -> Door:
        done = []
        door = Door(stream=stream)

        async def handler(call: Call, reply: ReplyWriter) -> None:
            await Answering()(call, reply)
            door.leave.set()
            await turns()
            done.append(True)

        await door.through(handler)
        assert done
        return door

    assert not left(in_loop(body))


def test_an_error_that_was_sent_is_everything_too() -> None:
    async def body() -> Door:
        door = Door()
        door.room = asyncio.Event()
        going = asyncio.create_task(door.through(Answering(refusal=UpstreamInvalid("no"))))
        await turns()
        assert door.sent
        door.room.set()
        door.leave.set()
        return await going

    door = in_loop(body)
    assert (door.status, door.exchange.outcome.error_code) == (502, "upstream_invalid_response")


@pytest.mark.parametrize("stream", [False, True])
def test_a_call_that_others_wait_for_goes_on_after_its_caller_left(stream: bool) -> None:
    async def body() -> None:
        others = asyncio.Event()
        door = Door(stream=stream)
        inner = Answering(gate=asyncio.Event())

        async def handler(call: Call, reply: ReplyWriter) -> None:
            async def linger() -> None:
                await others.wait()

            call.caller.linger = linger
            await inner(call, reply)

        going = asyncio.create_task(door.through(handler))
        await turns()
        door.leave.set()
        await turns()
        assert not inner.cancelled
        others.set()
        await going
        assert inner.cancelled
        assert left(door)

    in_loop(body)


def test_a_caller_that_reads_nothing_of_a_stream_is_given_up() -> None:
    async def body() -> Door:
        door = Door(stream=True)
        door.room = asyncio.Event()
        return await door.through(Answering(), send_timeout=0.01)

    assert left(in_loop(body))


class Cut(Door):
    """Its caller stops reading within a large event: the piecewise delivery notes it and returns."""

    async def _send(self, message: Any) -> None:
        await super()._send(message)
        if len(message.get("body", b"")) > PIECE_BYTES:
            self.exchange.outcome.status = CLIENT_CLOSED_REQUEST


def test_a_caller_that_stops_within_a_large_event_ends_its_call() -> None:
    inner = Answering("x" * PIECE_BYTES + " and more", gate=asyncio.Event())

    async def body() -> Door:
        return await Cut(stream=True).through(inner)

    assert left(in_loop(body))
    assert inner.cancelled


def test_one_that_stops_within_the_last_large_event_leaves_nothing_to_end() -> None:
    async def body() -> bool:
        await Cut(stream=True).through(Answering("x" * PIECE_BYTES))
        await asyncio.sleep(0)  # where a cancellation that is still due would arrive
        return True

    assert in_loop(body)


def test_a_caller_that_reads_slowly_is_not_given_up() -> None:
    async def body() -> Door:
        door = Door(stream=True)
        door.room = asyncio.Event()
        going = asyncio.create_task(door.through(Answering(), send_timeout=60))
        await turns()
        assert not door.ended
        door.room.set()
        return await going

    door = in_loop(body)
    assert door.ended
    assert not left(door)


def test_a_slow_upstream_is_no_slow_caller() -> None:
    async def body() -> Door:
        door = Door(stream=True)
        gate = asyncio.Event()
        asyncio.get_running_loop().call_later(0.05, gate.set)
        return await door.through(Answering(gate=gate), send_timeout=0.01)

    assert in_loop(body).ended


def test_a_cancelled_request_is_no_caller_that_left() -> None:
    async def body() -> Door:
        door = Door()
        going = asyncio.create_task(door.through(says_nothing))
        await turns()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        return door

    assert not left(in_loop(body))
