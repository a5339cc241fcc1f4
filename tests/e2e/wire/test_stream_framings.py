"""Every legal way to write a stream of events is understood."""

import json

import pytest

from tests.e2e.wire.test_streams import DONE, chunk, event, streaming
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

# Framings.

WHOLE = [chunk("漢字 "), chunk("🦊é", reason="stop")]
EXPECTED = {0: "漢字 🦊é"}


def framed(separator: str = "\n\n", prefix: str = "data: ", between: str = "") -> bytes:
    payloads = [*(json.dumps(one, ensure_ascii=False) for one in WHOLE), "[DONE]"]
    return "".join(f"{between}{prefix}{payload}{separator}" for payload in payloads).encode()


FRAMINGS = {
    "LF": framed(),
    "CRLF": framed("\r\n\r\n"),
    "CR": framed("\r\r"),
    "mixed": framed("\r\n\n"),
    "no space": framed(prefix="data:"),
    "comments": framed(between=": keep-alive\n\n"),
    "comment lines": framed(between=":\n: hi\n"),
    "other fields": framed(between="event: message\nid: 5\nretry: 10\n"),
    "unknown fields": framed(between="foo: bar\nfoo\n"),
    "empty lines": framed("\n\n\n\n\n"),
    "byte order mark": b"\xef\xbb\xbf" + framed(),
    "byte order mark and CRLF": b"\xef\xbb\xbf" + framed("\r\n\r\n"),
    "pretty": b"".join(
        b"".join(
            b"data: %b\n" % line
            for line in json.dumps(one, indent=1, ensure_ascii=False).encode().split(b"\n")
        )
        + b"\n"
        for one in WHOLE
    )
    + DONE,
}


@pytest.mark.parametrize("how", ["together", "bytes", "sevens"])
@pytest.mark.parametrize("data", FRAMINGS.values(), ids=FRAMINGS.keys())
def test_every_legal_framing_is_understood(
    gateway: Gateway, upstream: Upstream, data: bytes, how: str
) -> None:
    size = {"together": len(data), "bytes": 1, "sevens": 7}[how]
    packets = [data[start : start + size] for start in range(0, len(data), size)]
    upstream.on("native", streaming(*packets))
    reply = gateway.complete(stream=True)
    assert reply.streamed_texts() == EXPECTED


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_character_may_be_cut_between_packets(
    gateway: Gateway, upstream: Upstream, cut: int
) -> None:
    gate = upstream.gate()
    fox = "🦊".encode()
    data = event(chunk("x", reason="stop")).replace(b'"x"', b'"%b"' % fox)
    place = data.index(fox) + cut

    async def script(request, wire):
        await wire.begin_stream()
        await wire.packet(event(chunk("before")) + data[:place])
        await gate.wait()
        await wire.packet(data[place:] + DONE)
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        assert json.loads(next(payloads))["choices"][0]["text"] == "🦊"
        assert next(payloads) == b"[DONE]"


@pytest.mark.parametrize("ends", [b"\r", b"\r\n", b"\r\n\r"])
def test_a_line_end_may_be_cut_between_packets(
    gateway: Gateway, upstream: Upstream, ends: bytes
) -> None:
    gate = upstream.gate()
    whole = framed("\r\n\r\n")
    place = whole.index(b"\r\n\r\n", whole.index(b"\r\n\r\n") + 4) + len(ends)

    async def script(request, wire):
        await wire.begin_stream()
        await wire.packet(whole[:place])
        await gate.wait()
        await wire.packet(whole[place:])
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        assert json.loads(next(payloads))["choices"][0]["text"] == "🦊é"
        assert list(payloads) == [b"[DONE]"]


def test_keep_alives_of_the_upstream_are_not_passed_on(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on(
        "native",
        streaming(b": ping\n\n" * 50, chunk(), b": ping\n\n", chunk("", reason="stop"), DONE),
    )
    reply = gateway.complete(stream=True)
    assert b"ping" not in reply.body
    assert len(reply.chunks) == 2


def test_many_events_in_one_packet_stay_events(gateway: Gateway, upstream: Upstream) -> None:
    events = [event(chunk(f"{i} ")) for i in range(500)]
    upstream.on("native", streaming(b"".join(events) + event(chunk("", reason="stop")) + DONE))
    reply = gateway.complete(stream=True)
    assert len(reply.chunks) == 501
    assert reply.streamed_texts() == {0: "".join(f"{i} " for i in range(500))}


def test_a_stream_delimited_by_the_connections_end_is_understood(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        await wire.send(framed())
        wire.close()

    upstream.on("native", script)
    assert gateway.complete(stream=True).streamed_texts() == EXPECTED


def test_a_stream_with_a_length_is_understood(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.answer(framed(), headers=[("content-type", "text/event-stream")])

    upstream.on("native", script)
    assert gateway.complete(stream=True).streamed_texts() == EXPECTED


@pytest.mark.parametrize(
    "kind",
    ["text/event-stream", "text/event-stream; charset=utf-8", "Text/Event-Stream;charset=UTF-8"],
)
def test_the_media_type_of_a_stream_is_read_as_http_says(
    gateway: Gateway, upstream: Upstream, kind: str
) -> None:
    async def script(request, wire):
        await wire.answer(framed(), headers=[("content-type", kind)])

    upstream.on("native", script)
    reply = gateway.complete(stream=True)
    assert reply.status == 200
    assert reply.streamed_texts() == EXPECTED
