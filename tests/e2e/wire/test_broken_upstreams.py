"""Upstreams that cut, lie, stall or are not there: never passed off as good."""

import json
from typing import Any

import pytest

from tests.e2e.wire.test_answers import choice, completion, saying, without
from tests.e2e.wire.test_streams import DONE, chunk, event
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


# The simulator can fail too.


def test_a_simulator_that_fails_says_overloaded(gateway: Gateway) -> None:
    for stream in (False, True):
        reply = gateway.complete(model="failing-sim", stream=stream)
        assert (reply.status, reply.error["code"]) == (503, "upstream_overloaded")
