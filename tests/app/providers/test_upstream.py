"""The innermost handler: what it asks, what it writes, and what it notes for those who settle."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import orjson
import pytest

from app.core.call import Call, Handler
from app.core.errors import GatewayError, HeaderList, UpstreamInvalid, UpstreamTimeout
from app.core.reply import Answer, Chunk, Origin, ReplyWriter, StreamEnd
from app.core.usage import Usage
from app.providers.base import ChunkSink, UpstreamCall
from tests.harness.chain import (
    ORIGIN,
    USAGE,
    RecordingWriter,
    answer_of,
    call_of,
    chunk_of,
    in_loop,
    turns,
)
from tests.harness.routing import PRICE, Targeted, failover_of, route_of

COST = PRICE.cost(USAGE)
Act = Callable[[UpstreamCall, ChunkSink], Awaitable[None]]


def usage_chunk() -> Chunk:
    """What an upstream sends last; a new one each, because it is mended in place."""
    return Chunk.of({"choices": [], "usage": USAGE.document()})


class Provider:
    """Answers as the test says: by ``act`` on a stream, with ``plain`` otherwise."""

    def __init__(self, act: Act | None = None, plain: bytes | Exception | None = None) -> None:
        self._act = act
        self._plain = answer_of("yes").body if plain is None else plain
        self.asked: list[UpstreamCall] = []

    async def answer(self, call: UpstreamCall) -> bytes:
        self._note(call)
        if isinstance(self._plain, Exception):
            raise self._plain
        return self._plain

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        self._note(call)
        assert self._act is not None
        await self._act(call, sink)

    def _note(self, call: UpstreamCall) -> None:
        self.asked.append(call)
        call.tally.attempts, call.tally.waited = 1, 0.5


class Counts(list[tuple[str, str, int]]):
    """What was counted of unknown use: name, reason and how many."""

    def add(self, name: str, labels: Mapping[str, str], amount: int = 1) -> None:
        if "reason" in labels:
            self.append((name, labels["reason"], amount))


def upstream_of(provider: Provider, counts: Counts | None = None, **route: Any) -> Handler:
    """The end of the chain over one target."""
    return Targeted(failover_of(counts), [route_of(provider, **route)])


def packets(*writes: Sequence[Chunk], done: bool = False, error: Exception | None = None) -> Act:
    """An upstream that sends these packets, then its end mark, or breaks."""

    async def act(_: UpstreamCall, sink: ChunkSink) -> None:
        for place, chunks in enumerate(writes):
            await sink.write(chunks, done=done and place == len(writes) - 1)
        if error is not None:
            raise error

    return act


def ask(
    provider: Provider, reply: ReplyWriter, call: Call | None = None, **route: Any
) -> tuple[Call, GatewayError | None]:
    """Put one call through; the call, and what was raised."""
    call = call or call_of(stream=provider._act is not None)

    async def body() -> GatewayError | None:
        try:
            await upstream_of(provider, **route)(call, reply)
        except GatewayError as error:
            return error
        return None

    return call, in_loop(body)


# A plain answer


def test_a_plain_answer_is_written_with_who_gave_it() -> None:
    reply = RecordingWriter()
    ask(Provider(), reply)
    assert (reply.said, reply.origin, reply.texts) == (["answer"], ORIGIN, ["yes"])


def test_what_a_plain_call_came_to_is_known_before_it_is_answered() -> None:
    class Looking(RecordingWriter):
        async def answer(self, origin: Origin, answer: Answer) -> None:
            outcome = call.outcome
            noted.append((outcome.usage, outcome.cost, outcome.attempts, outcome.upstream_time))

    noted: list[Any] = []
    call = call_of()
    ask(Provider(), Looking(), call)
    assert noted == [(USAGE, COST, 1, 0.5)]


def test_a_plain_failure_is_raised_and_what_it_used_is_noted() -> None:
    class Metered(Provider):
        async def answer(self, call: UpstreamCall) -> bytes:
            call.tally.usage = Usage(1, 1)
            return await super().answer(call)

    reply = RecordingWriter()
    failure = UpstreamTimeout("late")
    call, raised = ask(Metered(plain=failure), reply)
    assert (raised, reply.said) == (failure, [])
    outcome = call.outcome
    assert (outcome.usage, outcome.cost, outcome.attempts) == (Usage(1, 1), 3, 1)


@pytest.mark.parametrize("act", [None, packets([chunk_of("a", reason="stop")], done=True)])
def test_the_writer_hears_of_the_target_even_if_another_model_answers(act: Act | None) -> None:
    reply = RecordingWriter()
    ask(Provider(act), reply)
    assert reply.origin == ORIGIN


def test_without_a_price_nothing_is_said_to_cost_anything() -> None:
    call, _ = ask(Provider(), RecordingWriter(), price=None)
    assert (call.outcome.usage, call.outcome.cost) == (USAGE, None)


# What is asked


@pytest.mark.parametrize(
    ("names", "sent"),
    [
        ({b"x-team", b"x-request-id"}, [(b"x-team", b"a"), (b"x-request-id", b"id-1")]),
        ({b"x-team"}, [(b"x-team", b"a")]),
        (set(), []),
    ],
    ids=["named, the request's id too", "named", "none is"],
)
def test_a_callers_headers_go_along_where_the_provider_may_see_them(
    names: set[bytes], sent: HeaderList
) -> None:
    provider = Provider()
    call = call_of([(b"x-team", b"a"), (b"x-other", b"b")])
    ask(provider, RecordingWriter(), call, forward_headers=frozenset(names))
    [asked] = provider.asked
    assert asked.headers == sent


def test_the_target_is_asked_for_its_own_model() -> None:
    provider = Provider()
    ask(provider, RecordingWriter())
    assert [asked.model for asked in provider.asked] == ["m-1"]


# A stream


def test_a_stream_is_begun_by_its_first_chunk_and_ends_with_the_last_ones() -> None:
    reply = RecordingWriter()
    act = packets([chunk_of("a ")], [chunk_of("b", reason="stop"), usage_chunk()], done=True)
    ask(Provider(act), reply)
    assert (reply.said, reply.origin) == (["begin", "write", "finish"], ORIGIN)
    assert reply.texts == ["a b"]
    assert reply.end == StreamEnd(USAGE, {"usage": USAGE.document()})


def test_chunks_that_arrived_together_are_written_together() -> None:
    reply = RecordingWriter()
    act = packets([chunk_of("a "), chunk_of("b")], [chunk_of("", reason="stop")], done=True)
    ask(Provider(act), reply)
    assert reply.said == ["begin", "write", "finish"]


def test_a_whole_answer_in_one_packet_is_no_write_and_an_end() -> None:
    reply = RecordingWriter()
    ask(Provider(packets([chunk_of("a", reason="stop")], done=True)), reply)
    assert reply.said == ["begin", "finish"]


def test_an_end_mark_that_is_missing_is_no_loss() -> None:
    reply = RecordingWriter()
    ask(Provider(packets([chunk_of("a", reason="stop")])), reply)
    assert reply.said == ["begin", "write", "finish"]


def test_chunks_that_say_nothing_begin_nothing() -> None:
    reply = RecordingWriter()
    act = packets([usage_chunk()], [chunk_of("a", reason="stop")], done=True)
    ask(Provider(act), reply)
    assert reply.said == ["begin", "finish"]


def test_the_attempts_are_known_when_the_stream_begins() -> None:
    class Looking(RecordingWriter):
        async def begin(self, origin: Origin) -> None:
            noted.append(call.outcome.attempts)

    noted: list[int] = []
    call = call_of(stream=True)
    ask(Provider(packets([chunk_of("a", reason="stop")], done=True)), Looking(), call)
    assert noted == [1]


def test_what_a_stream_came_to_is_known_before_its_end_is_written() -> None:
    class Looking(RecordingWriter):
        async def finish(self, end: StreamEnd, chunks: Sequence[Chunk] = ()) -> None:
            noted.append((call.outcome.usage, call.outcome.cost))

    noted: list[Any] = []
    call = call_of(stream=True)
    act = packets([chunk_of("a", reason="stop"), usage_chunk()], done=True)
    ask(Provider(act), Looking(), call)
    assert noted == [(USAGE, COST)]


def test_a_slow_reader_slows_the_upstream() -> None:
    async def body() -> tuple[int, int]:
        sent = []

        async def act(_: UpstreamCall, sink: ChunkSink) -> None:
            for text in ("a", "b"):
                await sink.write([chunk_of(text)])
                sent.append(text)

        room = asyncio.Event()
        upstream = upstream_of(Provider(act))
        reply = RecordingWriter(room)
        going = asyncio.create_task(upstream(call_of(stream=True), reply))
        await turns()
        before = len(sent)
        room.set()
        await going
        return before, len(sent)

    assert in_loop(body) == (0, 2)


# A stream that breaks


BROKEN = Chunk.of({"error": {"message": "no"}})


@pytest.mark.parametrize(
    ("act", "code"),
    [
        (packets(error=UpstreamTimeout("late")), "upstream_timeout"),
        (packets([usage_chunk()], error=UpstreamTimeout("late")), "upstream_timeout"),
        (packets([BROKEN]), "upstream_invalid_response"),
        (packets([chunk_of(""), BROKEN]), "upstream_invalid_response"),
        (packets(), "upstream_invalid_response"),
        (packets([usage_chunk()], done=True), "upstream_invalid_response"),
    ],
)
def test_a_stream_that_breaks_before_anything_was_sent_is_raised(act: Act, code: str) -> None:
    reply = RecordingWriter()
    _, raised = ask(Provider(act), reply)
    assert raised is not None
    assert (raised.code, reply.said) == (code, [])


@pytest.mark.parametrize(
    ("act", "texts"),
    [
        (packets([chunk_of("a")], error=UpstreamTimeout("late")), ["a"]),
        (packets([chunk_of("a")], [BROKEN]), ["a"]),
        (packets([chunk_of("a"), BROKEN]), ["a"]),
        (packets([chunk_of("a")], [chunk_of("b"), BROKEN]), ["ab"]),
        (packets([chunk_of("a")]), ["a"]),
    ],
)
def test_a_stream_that_breaks_later_fails_after_what_came_before(
    act: Act, texts: list[str]
) -> None:
    reply = RecordingWriter()
    call, raised = ask(Provider(act), reply)
    assert raised is None
    assert (reply.said[-1], reply.texts) == ("fail", texts)
    assert reply.error is not None
    assert call.outcome.error_code == reply.error.code


@pytest.mark.parametrize(("n", "last"), [(1, "finish"), (2, "fail")])
def test_an_end_mark_is_believed_where_one_choice_was_asked_for(n: int, last: str) -> None:
    reply = RecordingWriter()
    act = packets([chunk_of("a")], [], done=True)
    ask(Provider(act), reply, call_of(stream=True, n=n))
    assert reply.said[-1] == last


def test_a_stream_that_breaks_is_paid_for_what_went_by() -> None:
    call, _ = ask(
        Provider(packets([chunk_of("12345678")], error=UpstreamInvalid("no"))), RecordingWriter()
    )
    assert call.outcome.usage == Usage(1, 2, estimated=True)
    assert call.outcome.cost == PRICE.most(1, 2)


def test_a_stream_whose_caller_leaves_is_paid_for_what_went_by() -> None:
    async def body() -> Call:
        async def act(_: UpstreamCall, sink: ChunkSink) -> None:
            await sink.write([chunk_of("12345678")])
            await asyncio.Event().wait()

        call = call_of(stream=True)
        upstream = upstream_of(Provider(act))
        going = asyncio.create_task(upstream(call, RecordingWriter()))
        await turns()
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going
        return call

    outcome = in_loop(body).outcome
    assert (outcome.usage, outcome.attempts) == (Usage(1, 2, estimated=True), 1)
    assert outcome.cost == PRICE.most(1, 2)


# What nobody knows


class Silent(Provider):
    """Is sent one request, and never says what it used."""

    def _note(self, call: UpstreamCall) -> None:
        super()._note(call)
        call.tally.unknown = 1


@pytest.mark.parametrize(
    ("rule", "usage"),
    [
        ("prompt", Usage(2, 0, estimated=True)),
        ("bound", Usage(8 + 4, 16, estimated=True)),
        ("nothing", None),
    ],
)
def test_what_nobody_knows_is_charged_by_rule_and_counted(rule: str, usage: Usage | None) -> None:
    async def body() -> tuple[Call, Counts]:
        call, counts = call_of(prompt="12345678"), Counts()
        upstream = upstream_of(Silent(plain=UpstreamTimeout("late")), counts, unknown_usage=rule)
        with pytest.raises(UpstreamTimeout):
            await upstream(call, RecordingWriter())
        return call, counts

    call, counts = in_loop(body)
    assert call.outcome.usage == usage
    assert call.outcome.cost == (PRICE.cost(usage) if usage else None)
    assert counts == [("headgate_unknown_usage_total", "timeout", 1)]


def test_what_was_said_is_charged_beside_what_nobody_knows() -> None:
    class Half(Silent):
        def _note(self, call: UpstreamCall) -> None:
            super()._note(call)
            call.tally.usage = Usage(5, 5)

    call, _ = ask(
        Half(plain=UpstreamTimeout("late")),
        RecordingWriter(),
        call_of(prompt="12345678"),
        unknown_usage="prompt",
    )
    assert call.outcome.usage == Usage(7, 5, estimated=True)


def test_what_an_answer_says_is_all_that_is_charged() -> None:
    call, _ = ask(Silent(), RecordingWriter())
    assert call.outcome.usage == USAGE


@pytest.mark.parametrize("unknown", [1, 0], ids=["not counted yet", "counted by the provider"])
def test_what_an_unusable_answer_says_is_charged_once(unknown: int) -> None:
    class Odd(Provider):
        def _note(self, call: UpstreamCall) -> None:
            super()._note(call)
            call.tally.unknown = 1
            if not unknown:
                call.tally.used(Usage(4, 4))

    body = orjson.dumps({"choices": [], "usage": Usage(4, 4).document()})
    call, raised = ask(Odd(plain=body), RecordingWriter())
    assert isinstance(raised, UpstreamInvalid)
    assert (call.outcome.attempts, call.outcome.usage) == (1, Usage(8, 8))  # it is asked twice
