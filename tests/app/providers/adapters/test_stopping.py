"""A provider that takes fewer stop sequences than the caller sends."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.core.reply import Chunk
from app.openai.completions.request import parse
from app.providers.adapters.stopping import Stopping
from app.providers.base import Traits, UpstreamCall

STOPS = ["1", "2", "3", "4", "END", "\n\n"]


class Provider:
    """Says a text, in pieces; keeps what it was asked, and how far it was listened to."""

    slug = "p"

    def __init__(self, *pieces: str, **traits) -> None:
        self.traits = Traits(frozenset({"completions"}), None, **traits)  # type: ignore[arg-type]
        self._pieces = pieces
        self.sent: dict = {}
        self.said = 0
        self.closed = False

    async def answer(self, call):
        self.sent = orjson.loads(call.request.body_for(call.model))
        choice = {"index": 0, "text": "".join(self._pieces), "finish_reason": "length"}
        return orjson.dumps({"choices": [choice]})

    async def stream(self, call, sink):
        self.sent = orjson.loads(call.request.body_for(call.model))
        try:
            for piece in self._pieces:
                self.said += 1
                await sink.write([Chunk.of({"choices": [{"index": 0, "text": piece}]})])
            last = {"choices": [{"index": 0, "text": "", "finish_reason": "length"}]}
            await sink.write([Chunk.of(last)], done=True)
        finally:
            self.closed = True

    async def aclose(self):
        return


class Sink:
    def __init__(self) -> None:
        self.choices: list = []
        self.done = False

    async def write(self, chunks, *, done=False):
        self.choices += [choice for chunk in chunks for choice in chunk.document["choices"]]
        self.done = self.done or done

    @property
    def text(self) -> str:
        return "".join(choice["text"] for choice in self.choices)


def call(**members):
    request = parse(orjson.dumps({"model": "m", "prompt": "p", "stop": STOPS} | members))
    return UpstreamCall("completions", request, "up")


def test_the_provider_is_sent_as_many_as_it_takes_and_the_others_are_applied():
    provider = Provider("abc E", "ND def", stop_limit=4)
    document = orjson.loads(asyncio.run(Stopping(provider).answer(call())))
    assert provider.sent["stop"] == ["1", "2", "3", "4"]
    assert document["choices"] == [{"index": 0, "text": "abc ", "finish_reason": "stop"}]


def test_a_stream_is_cancelled_once_it_has_stopped():
    provider, sink = Provider("abc E", "ND def", "ghi", "jkl", stop_limit=4), Sink()
    asyncio.run(Stopping(provider).stream(call(stream=True), sink))
    assert (sink.text, sink.done) == ("abc ", True)
    assert [c["finish_reason"] for c in sink.choices if c.get("finish_reason")] == ["stop"]
    assert (provider.said, provider.closed) == (2, True)


def test_a_stream_that_never_stops_is_given_out_whole():
    provider, sink = Provider("abc E", "N", stop_limit=4), Sink()
    asyncio.run(Stopping(provider).stream(call(stream=True), sink))
    assert sink.text == "abc EN"
    assert sink.choices[-1]["finish_reason"] == "length"


def test_white_space_is_the_gateways_where_the_provider_takes_none():
    provider = Provider("a\n\nb", blank_stops=False)
    document = orjson.loads(asyncio.run(Stopping(provider).answer(call())))
    assert provider.sent["stop"] == STOPS[:-1]
    assert document["choices"][0]["text"] == "a"


def test_as_many_as_the_provider_takes_are_its_own_business():
    provider = Provider("END", stop_limit=6)
    document = orjson.loads(asyncio.run(Stopping(provider).answer(call())))
    assert provider.sent["stop"] == STOPS
    assert document["choices"][0]["text"] == "END"


@pytest.mark.parametrize("members", [{"echo": True}, {"logprobs": 1, "stream": True}])
def test_what_cannot_be_cut_truly_is_refused(members):
    provider = Provider("x", stop_limit=4)
    stopping = Stopping(provider)
    work = stopping.stream if members.get("stream") else lambda c, _: stopping.answer(c)
    with pytest.raises(InvalidRequest) as caught:
        asyncio.run(work(call(**members), Sink()))
    assert caught.value.param == "stop"
    assert provider.sent == {}
