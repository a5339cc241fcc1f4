"""Upstreams that cut, lie, stall or are not there: never passed off as good."""

import asyncio
import json
import time
from typing import Any

import pytest

from tests.e2e.wire.test_answers import choice, completion, saying, without
from tests.e2e.wire.test_streams import DONE, USAGE, chunk, event, streaming, usage_chunk
from tests.harness.exchange import head
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream

GOOD = json.dumps(completion()).encode()


def is_upstream_error(reply: Reply, status: int = 502, code: str | None = None) -> bool:
    return (reply.status, reply.error["type"], reply.error["code"]) == (
        status,
        "upstream_error",
        code or {502: "upstream_invalid_response", 504: "upstream_timeout"}[status],
    )


def ends_with_an_error(reply: Reply, code: str = "upstream_invalid_response") -> bool:
    """Whether a stream that had begun ends with an error event and without the end mark."""
    error = json.loads(reply.payloads[-1])["error"]
    assert {"message", "type", "code", "param"} <= set(error)
    return (
        reply.status == 200
        and b"[DONE]" not in reply.body
        and (error["type"], error["code"]) == ("upstream_error", code)
    )


# Plain answers.

RUBBISH = {
    "empty": b"",
    "html": b"<html>502 Bad Gateway</html>",
    "cut json": GOOD[:-10],
    "two objects": GOOD + GOOD,
    "NaN for a text": GOOD.replace(b'"%b"' % PRIVATE.encode(), b"NaN"),
    "NaN for everything": b"NaN",
    "invalid utf-8": GOOD.replace(PRIVATE.encode(), b"\xff\xfe"),
    "a surrogate as bytes": GOOD.replace(PRIVATE.encode(), b"\xed\xa0\x80"),
    "null": b"null",
    "list": b"[]",
    "string": b'"hello"',
    "number": b"5",
    "empty object": b"{}",
    "deep": b"[" * 100_000,
    "an error with status 200": b'{"error": {"message": "out of memory"}}',
    "an error beside choices": json.dumps(completion(error={"message": "oops"})).encode(),
    "a stream": event(chunk(reason="stop")) + DONE,
}

MALFORMED = {
    "no choices": without(completion(), "choices"),
    "null choices": completion(choices=None),
    "empty choices": completion(choices=[]),
    "choices an object": completion(choices={"0": choice()}),
    "a choice no object": completion(choices=["text"]),
    "no text": completion(without(choice(), "text")),
    "null text": completion(choice(text=None)),
    "text a number": completion(choice(text=5)),
    "a chat answer": completion(
        {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
    ),
    "index a string": completion(choice("0")),
    "index negative": completion(choice(-1)),
    "index out of range": completion(choice(1)),
    "index a boolean": completion(choice(False)),
    "finish reason a number": completion(choice(finish_reason=5)),
    "logprobs a list": completion(choice(logprobs=[1])),
    "too many choices": completion(choice(0), choice(1)),
}


@pytest.mark.parametrize("body", RUBBISH.values(), ids=RUBBISH.keys())
def test_rubbish_is_a_502(gateway: Gateway, upstream: Upstream, body: bytes) -> None:
    upstream.on("native", saying(body))
    assert is_upstream_error(gateway.complete())


@pytest.mark.parametrize("document", MALFORMED.values(), ids=MALFORMED.keys())
def test_what_is_no_completion_is_a_502(
    gateway: Gateway, upstream: Upstream, document: Any
) -> None:
    upstream.on("native", saying(document))
    assert is_upstream_error(gateway.complete())


@pytest.mark.parametrize("indexes", [[0, 0], [0, 2], [0], [0, 1, 2]])
def test_choices_that_could_be_anothers_are_a_502(
    gateway: Gateway, upstream: Upstream, indexes: list[int]
) -> None:
    upstream.on("native", saying(completion(*map(choice, indexes))))
    assert is_upstream_error(gateway.complete(prompt=["a", "b"]))


def test_a_plain_answer_that_did_not_finish_does_not_say_that_it_did(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying(completion(choice(finish_reason=None))))
    reply = gateway.complete()
    assert reply.status == 502 or reply.document["choices"][0]["finish_reason"] is None


FRAMES = {
    "cut body": head(200, [("content-length", str(len(GOOD) + 5))]) + GOOD,
    "cut head": b"HTTP/1.1 200 OK\r\ncontent-type: appl",
    "no answer": b"",
    "cut chunked": b'HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"id',
    "chunked without an end": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n"
    % (len(GOOD), GOOD),
    "bad chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n" + GOOD,
    "not http": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "http/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "two lengths": head(200, [("content-length", str(len(GOOD))), ("content-length", "3")]) + GOOD,
    "length and chunked": head(200, [("content-length", "5"), ("transfer-encoding", "chunked")])
    + b"0\r\n\r\n",
    "negative length": head(200, [("content-length", "-5")]) + GOOD,
    "longer than its length": head(200, [("content-length", str(len(GOOD)))]) + GOOD + b"more",
    "switching protocols": b"HTTP/1.1 101 Switching\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n",
    "endless head": b"HTTP/1.1 200 OK\r\n" + b"x-filler: yes\r\n" * 20_000,
    "gzip": head(200, [("content-encoding", "gzip"), ("content-length", str(len(GOOD)))]) + GOOD,
}


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("data", FRAMES.values(), ids=FRAMES.keys())
def test_broken_http_is_a_502(
    gateway: Gateway, upstream: Upstream, data: bytes, stream: bool
) -> None:
    async def script(request, wire):
        await wire.send(data)
        wire.close()

    upstream.on("native", script)
    reply = gateway.complete(stream=stream)
    assert reply.status == 502
    assert reply.error["type"] == "upstream_error"
    assert "[DONE]" not in reply.body.decode()


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_reset_before_the_answer_is_a_502(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    async def script(request, wire):
        wire.reset()

    upstream.on("native", script)
    reply = gateway.complete(stream=stream)
    assert reply.status == 502


def test_an_interim_answer_is_passed_over(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")
        await wire.answer(completion())

    upstream.on("native", script)
    assert gateway.complete().status == 200


@pytest.mark.parametrize("status", [201, 202, 204, 206])
def test_only_200_is_success(gateway: Gateway, upstream: Upstream, status: int) -> None:
    upstream.on("native", saying(b"" if status == 204 else GOOD, status=status))
    assert is_upstream_error(gateway.complete())


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_refused(
    gateway: Gateway, upstream: Upstream, status: int, stream: bool
) -> None:
    async def script(request, wire):
        place = f"http://{upstream.address}/elsewhere"
        await wire.answer(b"", status=status, headers=[("location", place)])

    upstream.on("native", script)
    reply = gateway.complete(stream=stream)
    assert is_upstream_error(reply)
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_an_upstream_that_is_not_there_is_a_502(gateway: Gateway, stream: bool) -> None:
    reply = gateway.complete(model="nobody", stream=stream)
    assert is_upstream_error(reply, 502, "upstream_unreachable")


# Too much.


def test_an_answer_over_the_cap_is_a_502(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("small", saying(completion(choice(text=PRIVATE * 1000))))
    reply = gateway.complete(model="small")
    assert is_upstream_error(reply)
    assert reply.headers["x-should-retry"] == "false"


def test_a_chunked_answer_over_the_cap_is_a_502(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            await wire.packet(b" " * 1000)

    upstream.on("small", script)
    assert is_upstream_error(gateway.complete(model="small"))
    assert upstream.request.connection.closed.wait(5)


def test_a_stream_over_the_cap_ends_with_an_error(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        while True:
            await wire.event(chunk())

    upstream.on("small", script)
    body = {"model": "small", "prompt": "x", "stream": True}
    with gateway.stream(**body) as payloads:
        next(payloads)
        gate.open()
        *_, last = payloads
    assert json.loads(last)["error"]["type"] == "upstream_error"
    assert upstream.request.connection.closed.wait(5)


def test_an_answer_under_the_cap_is_good(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.complete(model="small").status == 200


def test_an_endless_event_ends_the_stream(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await wire.packet(b"data: ")
        while True:
            await wire.packet(b"x" * 500_000)

    upstream.on("native", script)
    with gateway.stream() as payloads:
        *_, last = payloads
    assert json.loads(last)["error"]["type"] == "upstream_error"


# Streams that fail before anything was sent still have a status.

BAD_FIRST = {
    "nothing": [],
    "only comments": [b": ping\n\n"],
    "only done": [DONE],
    "only usage": [usage_chunk(), DONE],
    "an error": [{"error": {"message": "out of memory", "code": 500}}],
    "an error event": [b'event: error\ndata: {"error": "out of memory"}\n\n'],
    "not json": [b"data: {\n\n"],
    "a string": [b'data: "x"\n\n'],
    "no choices": [{"id": "cmpl-1", "object": "text_completion"}, DONE],
    "choices a string": [chunk(choices="x"), DONE],
    "choices an object": [chunk(choices={"0": 1}), DONE],
    "a choice no object": [chunk(choices=["x"]), DONE],
    "text a number": [chunk(5), DONE],
    "index a string": [chunk(index="0"), DONE],
    "index out of range": [chunk(index=1), DONE],
    "index negative": [chunk(index=-1), DONE],
    "a finish reason a number": [chunk(reason=5), DONE],
    "invalid utf-8": [b'data: {"choices":[{"text":"\xff","index":0}]}\n\n'],
    "an event that is cut": [event(chunk(reason="stop"))[:-1]],
}


@pytest.mark.parametrize("packets", BAD_FIRST.values(), ids=BAD_FIRST.keys())
def test_a_stream_that_fails_at_once_is_a_502(
    gateway: Gateway, upstream: Upstream, packets: list[Any]
) -> None:
    upstream.on("native", streaming(*packets))
    assert is_upstream_error(gateway.complete(stream=True))


def test_a_plain_answer_to_a_streamed_request_is_a_502(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying(completion()))
    assert is_upstream_error(gateway.complete(stream=True))


# Streams that fail later end with an error event and never say that they are done.

BAD_LATER = {
    "ends": [],
    "says done": [DONE],
    "says usage and done": [usage_chunk(), DONE],
    "NaN for a text": [b'data: {"choices":[{"text":NaN,"index":NaN}]\n\n'],
    "an error": [{"error": {"message": "out of memory", "type": "x", "code": 500}}],
    "a bare error": [{"error": "out of memory"}],
    "not json": [b"data: {\n\n"],
    "a list": [b"data: []\n\n"],
    "text a number": [chunk(5)],
    "index out of range": [chunk(index=7)],
    "choices a string": [chunk(choices="x")],
    "a choice null": [chunk(choices=[None])],
    "logprobs a list": [chunk(choices=[{"text": "x", "index": 0, "logprobs": [1]}])],
    "invalid utf-8": [b'data: {"choices":[{"text":"\xff","index":0}]}\n\n'],
    "a cut event": [event(chunk("", reason="stop"))[:-3]],
    "a finishing event without its empty line": [event(chunk("", reason="stop"))[:-1]],
    "another choice finishes": [chunk("", index=1, reason="stop"), DONE],
    "null finish reasons": [chunk("", reason=""), DONE],
}


@pytest.mark.parametrize("packets", BAD_LATER.values(), ids=BAD_LATER.keys())
def test_a_broken_stream_never_says_done(
    gateway: Gateway, upstream: Upstream, packets: list[Any]
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        for packet in packets:
            await wire.packet(packet if isinstance(packet, bytes) else event(packet))
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream(n=2) as payloads:
        first, *between = [next(payloads)]
        gate.open()
        *between, last = payloads
    assert json.loads(first)["choices"][0]["text"] == PRIVATE
    error = json.loads(last)["error"]
    assert (error["type"], error["code"]) == ("upstream_error", "upstream_invalid_response")
    assert b"[DONE]" not in between
    assert not any("error" in json.loads(payload) for payload in between)


@pytest.mark.parametrize("how", ["close", "reset", "bad chunk"])
def test_a_cut_stream_never_says_done(gateway: Gateway, upstream: Upstream, how: str) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        if how == "bad chunk":
            await wire.send(b"zzz\r\n")
        elif how == "close":
            wire.close()
        else:
            wire.reset()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        rest = list(payloads)
    assert len(rest) == 1
    assert json.loads(rest[0])["error"]["type"] == "upstream_error"


def test_a_stream_whose_chunks_and_break_come_together_loses_no_chunk(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", streaming(chunk("a"), event(chunk("b")) + event({"error": "broken"})))
    reply = gateway.complete(stream=True)
    assert reply.status == 502 or ends_with_an_error(reply)


def test_the_good_events_of_a_packet_come_before_the_error(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("a"))
        await gate.wait()
        await wire.packet(event(chunk("b")) + event({"error": "broken"}))
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        second, last = payloads
    assert json.loads(second)["choices"][0]["text"] == "b"
    assert "error" in json.loads(last)


def test_the_good_events_before_rubbish_in_one_packet_are_not_lost(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk("a"))
        await gate.wait()
        await wire.packet(event(chunk("b")) + b"data: {rubbish\n\n")
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.stream() as payloads:
        next(payloads)
        gate.open()
        second, last = payloads
    assert json.loads(second)["choices"][0]["text"] == "b"
    assert "error" in json.loads(last)


@pytest.mark.parametrize("finished", [0, 1])
def test_a_stream_of_two_prompts_needs_both_to_finish(
    gateway: Gateway, upstream: Upstream, finished: int
) -> None:
    upstream.on("native", streaming(chunk("x", index=finished, reason="stop"), usage_chunk(), DONE))
    reply = gateway.complete(prompt=["a", "b"], stream=True)
    assert b"[DONE]" not in reply.body


def test_what_a_broken_stream_used_is_metered(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", streaming(chunk(usage=USAGE), chunk()))
    reply = gateway.complete(stream=True)
    line = gateway.line(reply.headers["x-request-id"])
    assert line["error"] == "upstream_invalid_response"
    assert line["prompt_tokens"] == USAGE["prompt_tokens"]
    assert line["completion_tokens"] == USAGE["completion_tokens"]


# Time.


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["quick", "quick-chat"])
def test_an_upstream_that_says_nothing_is_a_504(
    gateway: Gateway, upstream: Upstream, model: str, stream: bool
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("quick", script)
    began = time.monotonic()
    reply = gateway.complete(model=model, stream=stream)
    assert is_upstream_error(reply, 504)
    assert time.monotonic() - began < 2
    assert upstream.request.connection.closed.wait(5)


def test_a_stream_that_begins_and_says_nothing_is_a_504(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await upstream.gate().wait()

    upstream.on("quick", script)
    assert is_upstream_error(gateway.complete(model="quick", stream=True), 504)


def test_a_stream_that_falls_silent_ends_with_an_error(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await upstream.gate().wait()

    upstream.on("quick", script)
    reply = gateway.complete(model="quick", stream=True)
    assert ends_with_an_error(reply, "upstream_timeout")
    assert upstream.request.connection.closed.wait(5)


def test_an_answer_that_stalls_is_a_504(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(head(200, [("content-length", str(len(GOOD)))]) + GOOD[:20])
        await upstream.gate().wait()

    upstream.on("quick", script)
    assert is_upstream_error(gateway.complete(model="quick"), 504)


def test_the_total_time_bounds_a_busy_stream(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        while True:
            await wire.event(chunk())
            await asyncio.sleep(0.01)

    upstream.on("brief", script)
    began = time.monotonic()
    reply = gateway.complete(model="brief", stream=True)
    assert ends_with_an_error(reply, "upstream_timeout")
    assert time.monotonic() - began < 2


def test_the_total_time_bounds_a_trickling_answer(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.send(head(200, [("content-length", "100000")]))
        while True:
            await wire.send(b" ")
            await asyncio.sleep(0.01)

    upstream.on("brief", script)
    assert is_upstream_error(gateway.complete(model="brief"), 504)


def test_a_slow_but_steady_stream_is_no_timeout(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        for _ in range(6):
            await wire.event(chunk())
            await asyncio.sleep(0.08)  # in all longer than `idle`
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("quick", script)
    assert gateway.complete(model="quick", stream=True).done


def test_keep_alive_comments_keep_a_stream_alive(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        for _ in range(6):
            await wire.packet(b": still thinking\n\n")
            await asyncio.sleep(0.08)
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("quick", script)
    assert gateway.complete(model="quick", stream=True).done


def test_a_full_pool_is_overload(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk())
        await gate.wait()
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("narrow", script)
    with gateway.stream(model="narrow") as payloads:
        next(payloads)
        reply = gateway.complete(model="narrow")
        gate.open()
        assert list(payloads)[-1] == b"[DONE]"
    assert reply.status == 503
    assert reply.error["type"] == "service_unavailable"
    assert reply.error["code"] == "upstream_overloaded"


def test_the_gateway_serves_on_after_a_failure(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying(b"rubbish"))
    gateway.complete()
    upstream.reset()
    assert gateway.complete().status == 200


# The simulator can fail too.


def test_a_simulator_that_fails_says_overloaded(gateway: Gateway) -> None:
    for stream in (False, True):
        reply = gateway.complete(model="failing-sim", stream=stream)
        assert (reply.status, reply.error["code"]) == (503, "upstream_overloaded")
