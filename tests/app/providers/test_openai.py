"""An OpenAI-compatible server: what is asked of it, and how its streams are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

import httpx
import orjson
import pytest

from app.config.providers import OpenAIProvider as Settings
from app.core.errors import UpstreamInvalid
from app.core.reply import Chunk
from app.openai.completions.request import parse
from app.providers.base import UpstreamCall
from app.providers.client.client import Client
from app.providers.openai import OpenAIProvider
from tests.harness.chain import in_loop, turns

EVENTS = {"content-type": "text/event-stream"}


class Packets(httpx.AsyncByteStream):
    def __init__(self, *packets: bytes | Exception) -> None:
        self._packets = packets

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for packet in self._packets:
            if isinstance(packet, Exception):
                raise packet
            yield packet


class Upstream:
    """A server that gives one answer and keeps what it was asked."""

    def __init__(self, *packets: bytes | Exception, headers: dict[str, str] | None = None) -> None:
        self.asked: list[httpx.Request] = []
        self._response = httpx.Response(200, headers=headers or EVENTS, stream=Packets(*packets))

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        return self._response

    def provider(self, **settings: Any) -> OpenAIProvider:
        section = Settings(base_url="http://h/v1", **settings)
        return OpenAIProvider("up", section, Client(section, httpx.MockTransport(self)))


def call(**members: Any) -> UpstreamCall:
    request = parse(orjson.dumps({"model": "m", "prompt": "p"} | members))
    return UpstreamCall("completions", request, "up-model")


class Sink:
    """Takes what a provider writes: the chunks of each write, and whether its end mark followed."""

    def __init__(self) -> None:
        self.written: list[tuple[list[Any], bool]] = []
        self.chunks: list[Chunk] = []

    async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
        self.written.append(([chunk.document for chunk in chunks], done))
        self.chunks += chunks


def stream(
    upstream: Upstream, made: UpstreamCall | None = None, sink: Sink | None = None, **settings: Any
) -> list[tuple[list[Any], bool]]:
    """What a provider writes of an upstream's stream; raises what it raises."""
    sink = sink or Sink()
    asyncio.run(upstream.provider(**settings).stream(made or call(stream=True), sink))
    return sink.written


def test_a_stream_is_read_to_its_end_mark() -> None:
    upstream = Upstream(b'data: {"a":1}\r\n\r\n: ping\n\nda', b'ta: {"a":2}\n\ndata: [DONE]\n\n')
    assert stream(upstream) == [([{"a": 1}], False), ([{"a": 2}], True)]


def test_chunks_that_arrived_together_are_written_together() -> None:
    packet = b'data: {"a":1}\n\ndata: {"a":2}\n\n'
    assert stream(Upstream(packet)) == [([{"a": 1}, {"a": 2}], False)]


def test_what_follows_the_end_mark_is_not_read() -> None:
    upstream = Upstream(b'data: [DONE]\n\ndata: {"a":1}\n\n', httpx.ReadError("late"))
    assert stream(upstream) == [([], True)]


def test_a_stream_without_an_end_mark_just_ends() -> None:
    assert stream(Upstream(b'data: {"a":1}\n\n')) == [([{"a": 1}], False)]


def test_a_chunk_keeps_the_bytes_that_it_came_with() -> None:
    sink = Sink()
    stream(Upstream(b'data:{ "a" : 1e0 }\n\n'), sink=sink)
    assert sink.chunks[0].payload == b'{ "a" : 1e0 }'


def test_an_event_of_several_lines_has_no_bytes_to_keep() -> None:
    sink = Sink()
    stream(Upstream(b'data: {"a":\ndata: 1}\n\n'), sink=sink)
    assert (sink.chunks[0].payload, sink.chunks[0].document) == (b"", {"a": 1})


def test_what_came_before_a_broken_event_is_written() -> None:
    sink = Sink()
    with pytest.raises(UpstreamInvalid):
        stream(Upstream(b'data: {"a":1}\n\ndata: nonsense\n\n'), sink=sink)
    assert sink.written == [([{"a": 1}], False)]


def test_a_sink_without_room_holds_up_the_reading() -> None:
    class Full(Sink):
        room = asyncio.Event()

        async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
            await super().write(chunks, done=done)
            await self.room.wait()

    async def run() -> tuple[int, int]:
        sink = Full()
        upstream = Upstream(b'data: {"a":1}\n\n', b'data: {"a":2}\n\n')
        reading = asyncio.create_task(upstream.provider().stream(call(stream=True), sink))
        await turns()
        before = len(sink.written)
        sink.room.set()
        await reading
        return before, len(sink.written)

    assert in_loop(run) == (1, 2)


def test_a_sink_that_cannot_use_a_chunk_ends_the_reading() -> None:
    class Refusing(Sink):
        async def write(self, chunks: Sequence[Chunk], *, done: bool = False) -> None:
            await super().write(chunks, done=done)
            raise UpstreamInvalid("no")

    sink = Refusing()
    with pytest.raises(UpstreamInvalid):
        stream(Upstream(b'data: {"a":1}\n\n', b'data: {"a":2}\n\n'), sink=sink)
    assert len(sink.written) == 1


@pytest.mark.parametrize("payload", [b"{", b"nonsense", b'{"a":nan}', b'{"a":"\xff"}'])
def test_an_event_that_is_no_json_breaks_the_stream(payload: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        stream(Upstream(b"data: " + payload + b"\n\n"))


def test_a_connection_that_breaks_breaks_the_stream() -> None:
    with pytest.raises(UpstreamInvalid):
        stream(Upstream(b'data: {"a":1}\n\n', httpx.ReadError("cut")))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_an_answer_that_is_no_stream_is_refused(kind: str) -> None:
    with pytest.raises(UpstreamInvalid, match="without a stream"):
        stream(Upstream(b"{}", headers={"content-type": kind}))


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream"])
def test_a_stream_is_known_by_its_media_type(kind: str) -> None:
    assert stream(Upstream(b"data: [DONE]\n\n", headers={"content-type": kind}))[-1][1]


@pytest.mark.parametrize(
    ("members", "sent"),
    [
        ({}, {"include_usage": True}),
        ({"stream_options": {"include_usage": False}}, {"include_usage": True}),
        ({"stream_options": {"x": 1}}, {"x": 1, "include_usage": True}),
    ],
)
def test_usage_is_always_asked_for(members: dict[str, Any], sent: dict[str, Any]) -> None:
    upstream = Upstream(b"data: [DONE]\n\n")
    stream(upstream, call(stream=True, **members))
    assert orjson.loads(upstream.asked[0].content)["stream_options"] == sent


def test_a_server_that_cannot_count_streams_is_not_asked() -> None:
    upstream = Upstream(b"data: [DONE]\n\n")
    stream(upstream, stream_usage=False)
    assert "stream_options" not in orjson.loads(upstream.asked[0].content)


@pytest.mark.parametrize(
    ("operation", "path"),
    [
        ("completions", "/v1/completions"),
        ("chat", "/v1/chat/completions"),
        ("embeddings", "/v1/embeddings"),
    ],
)
def test_each_operation_has_its_path(operation: str, path: str) -> None:
    upstream = Upstream(b'{"a":1}', headers={"content-type": "application/json"})
    made = call().asking(operation, call().request)
    assert asyncio.run(upstream.provider().answer(made)) == b'{"a":1}'
    assert upstream.asked[0].url.path == path
