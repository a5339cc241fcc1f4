"""An OpenAI-compatible server: what is asked of it, and how its streams are read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import orjson
import pytest

from app.core.completions import parse
from app.core.errors import UpstreamInvalid
from app.providers.base import Batch, Call
from app.providers.client import Client
from app.providers.openai import OpenAIProvider
from app.settings import OpenAIProvider as Settings

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


def call(**members: Any) -> Call:
    return Call(parse(orjson.dumps({"model": "m", "prompt": "p"} | members)), "up-model", [])


def batches(upstream: Upstream, made: Call | None = None, **settings: Any) -> list[Batch]:
    async def run() -> list[Batch]:
        stream = upstream.provider(**settings).stream(made or call(stream=True))
        found = [batch async for batch in stream]
        for batch in found:
            if batch.broken is not None:
                raise batch.broken
        return found

    return asyncio.run(run())


def test_a_stream_is_read_to_its_end_mark() -> None:
    upstream = Upstream(b'data: {"a":1}\r\n\r\n: ping\n\nda', b'ta: {"a":2}\n\ndata: [DONE]\n\n')
    assert batches(upstream) == [Batch([{"a": 1}]), Batch([{"a": 2}], True)]


def test_what_follows_the_end_mark_is_not_read() -> None:
    upstream = Upstream(b'data: [DONE]\n\ndata: {"a":1}\n\n', httpx.ReadError("late"))
    assert batches(upstream) == [Batch([], True)]


def test_a_stream_without_an_end_mark_just_ends() -> None:
    assert batches(Upstream(b'data: {"a":1}\n\n')) == [Batch([{"a": 1}])]


@pytest.mark.parametrize("payload", [b"{", b"nonsense", b'{"a":nan}', b'{"a":"\xff"}'])
def test_an_event_that_is_no_json_breaks_the_stream(payload: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        batches(Upstream(b"data: " + payload + b"\n\n"))


def test_a_connection_that_breaks_breaks_the_stream() -> None:
    with pytest.raises(UpstreamInvalid):
        batches(Upstream(b'data: {"a":1}\n\n', httpx.ReadError("cut")))


@pytest.mark.parametrize("kind", ["application/json", "text/plain", ""])
def test_an_answer_that_is_no_stream_is_refused(kind: str) -> None:
    with pytest.raises(UpstreamInvalid, match="without a stream"):
        batches(Upstream(b"{}", headers={"content-type": kind}))


@pytest.mark.parametrize("kind", ["text/event-stream; charset=utf-8", "Text/Event-Stream"])
def test_a_stream_is_known_by_its_media_type(kind: str) -> None:
    assert batches(Upstream(b"data: [DONE]\n\n", headers={"content-type": kind}))[-1].done


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
    batches(upstream, call(stream=True, **members))
    assert orjson.loads(upstream.asked[0].content)["stream_options"] == sent


def test_a_server_that_cannot_count_streams_is_not_asked() -> None:
    upstream = Upstream(b"data: [DONE]\n\n")
    batches(upstream, stream_usage=False)
    assert "stream_options" not in orjson.loads(upstream.asked[0].content)


def test_one_message_is_sent_as_a_prompt() -> None:
    upstream = Upstream(b"data: [DONE]\n\n")
    made = call(prompt=None, messages=[{"role": "user", "content": "hi"}], stream=True)
    made.request.prompts = ["hi"]  # as routing leaves it for a native target
    batches(upstream, made)
    body = orjson.loads(upstream.asked[0].content)
    assert body["prompt"] == "hi"
    assert "messages" not in body


@pytest.mark.parametrize("answer", [b"", b"[]", b"null", b"5", b"{", b"<html>"])
def test_a_chat_answer_that_is_no_object_is_refused(answer: bytes) -> None:
    upstream = Upstream(answer, headers={"content-type": "application/json"})
    with pytest.raises(UpstreamInvalid):
        asyncio.run(upstream.provider().chat(call(), b"{}"))
