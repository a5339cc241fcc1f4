"""Callers that go away: what is done for them stops at once, and what was used is metered."""

import json
import time
from typing import Any

import pytest

from tests.e2e.wire.test_answers import completion
from tests.e2e.wire.test_streams import DONE, USAGE, chunk
from tests.harness.exchange import Connection
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server
from tests.harness.prompts import PRIVATE
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream

PROMISE = 0.1  # seconds from the caller's close to the upstream's
TRIES = 5  # a busy machine may hold up some; two of them must keep the promise


def request(model: str, stream: bool, request_id: str, **fields: Any) -> bytes:
    body = {"model": model, "prompt": PRIVATE, "stream": stream} | fields
    return raw_request(json.dumps(body).encode(), headers=[f"x-request-id: {request_id}"])


def delay(connection: Connection, since: float) -> float:
    assert connection.closed.wait(5), "the upstream call was not cancelled"
    assert connection.closed_at is not None
    return connection.closed_at - since


def kept(delays: list[float]) -> bool:
    assert len(delays) > 1
    return sorted(delays)[1] < PROMISE


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
@pytest.mark.parametrize("model", ["native", "chat", "proxied"])
def test_leaving_before_the_first_token_cancels_the_upstream_call(
    gateway: Gateway, upstream: Upstream, model: str, stream: bool, how: str
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("native", script)
    upstream.on("chatty", script)
    upstream.on("proxied", script)
    delays = []
    for number in range(TRIES):
        with gateway.raw() as caller:
            caller.send(request(model, stream, "left-early"))
            connection = upstream.wait_for(number + 1)[-1].connection
            left = time.perf_counter()
            getattr(caller, how)()
        delays.append(delay(connection, left))
    assert kept(delays)


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("model", ["native", "chat", "proxied"])
def test_leaving_in_the_middle_of_a_stream_cancels_the_upstream_call(
    gateway: Gateway, upstream: Upstream, model: str, how: str
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        one = chunk()
        if request.target.endswith("/chat/completions"):
            one["choices"] = [{"index": 0, "delta": {"content": PRIVATE}, "finish_reason": None}]
        await wire.event(one)
        await upstream.gate().wait()

    upstream.on("native", script)
    upstream.on("chatty", script)
    upstream.on("proxied", script)
    delays = []
    for number in range(TRIES):
        with gateway.raw() as caller:
            caller.send(request(model, True, "left-midway"))
            caller.read_until(PRIVATE.encode())
            connection = upstream.wait_for(number + 1)[-1].connection
            left = time.perf_counter()
            getattr(caller, how)()
        delays.append(delay(connection, left))
    assert kept(delays)


def test_leaving_a_plain_answer_in_the_middle_cancels_the_upstream_call(
    gateway: Gateway, upstream: Upstream
) -> None:
    begun = upstream.gate()

    async def script(request, wire):
        data = json.dumps(completion()).encode()
        await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(data) + data[:9])
        begun.open()
        await upstream.gate().wait()

    upstream.on("native", script)
    delays = []
    for number in range(TRIES):
        with gateway.raw() as caller:
            caller.send(request("native", False, "left-plain"))
            connection = upstream.wait_for(number + 1)[-1].connection
            left = time.perf_counter()
            caller.close()
        delays.append(delay(connection, left))
    assert kept(delays)


def test_leaving_a_fanned_out_request_cancels_every_call(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("chatty", script)
    with gateway.raw() as caller:
        caller.send(request("chat", True, "left-many", prompt=["a", "b", "c"]))
        calls = upstream.wait_for(3)
    left = time.perf_counter()
    assert kept([delay(call.connection, left) for call in calls])


def test_calls_that_wait_their_turn_are_never_made_for_a_caller_that_left(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("chatty", script)
    with gateway.raw() as caller:
        caller.send(request("chat-narrow", False, "left-waiting", prompt=["a", "b", "c", "d"]))
        calls = upstream.wait_for(2)
    assert all(call.connection.closed.wait(5) for call in calls)
    gateway.line("left-waiting")
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "stream"])
def test_a_caller_that_left_is_a_499_in_the_log(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    async def script(request, wire):
        await upstream.gate().wait()

    upstream.on("native", script)
    request_id = f"left-{stream}"
    with gateway.raw() as caller:
        caller.send(request("native", stream, request_id))
        upstream.wait_for(1)
    line = gateway.line(request_id)
    assert line["status"] == 499
    assert line["provider"] == "main"


def test_a_caller_that_left_a_stream_is_metered_for_what_it_got(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(PRIVATE * 10))
        await upstream.gate().wait()

    upstream.on("native", script)
    with gateway.raw() as caller:
        caller.send(request("native", True, "left-metered"))
        caller.read_until(PRIVATE.encode())
    line = gateway.line("left-metered")
    assert line["status"] == 499
    assert line["prompt_tokens"] > 0
    assert line["completion_tokens"] >= len(PRIVATE) * 10 // 5
    assert line["estimated"] is True


def test_usage_seen_before_a_caller_left_is_metered_exactly(
    gateway: Gateway, upstream: Upstream
) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(usage=USAGE))
        await upstream.gate().wait()

    upstream.on("native", script)
    with gateway.raw() as caller:
        caller.send(request("native", True, "left-exactly"))
        caller.read_until(PRIVATE.encode())
    line = gateway.line("left-exactly")
    assert line["completion_tokens"] == USAGE["completion_tokens"]
    assert line["estimated"] is False


def test_a_caller_that_does_not_read_stops_the_upstream_from_being_read(
    gateway: Gateway, upstream: Upstream
) -> None:
    """Back-pressure: what nobody takes is not piled up in the gateway."""
    sent = 0

    async def script(request, wire):
        nonlocal sent
        await wire.begin_stream()
        for _ in range(2000):
            await wire.event(chunk("x" * 100_000))
            sent += 100_000

    upstream.on("native", script)
    with gateway.raw() as caller:
        caller.send(request("native", True, "never-reads"))
        caller.read_until(b"xxxx")
        before = -1
        end = time.monotonic() + 10
        while before != sent and time.monotonic() < end:  # until the flow has come to rest
            before = sent
            time.sleep(0.2)
        assert sent < 100_000_000
        (call,) = upstream.requests
    assert call.connection.closed.wait(5)


def test_leaving_a_simulator_ends_its_wait(gateway: Gateway) -> None:
    with gateway.raw() as caller:
        caller.send(request("slow-sim", False, "left-simulator"))
        with pytest.raises(TimeoutError):
            caller.answer_within(0.1)
    assert gateway.line("left-simulator")["status"] == 499


def test_a_caller_that_left_does_not_disturb_the_next(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        if b"left" in request.body:
            await wire.begin_stream()
            await wire.event(chunk())
            await upstream.gate().wait()
        await good_server(request, wire)

    upstream.on("native", script)
    for number in range(10):
        with gateway.raw() as caller:
            caller.send(request("native", True, f"left-{number}", user="left"))
            caller.read_until(PRIVATE.encode())
        assert gateway.complete(stream=True).done


def test_a_caller_that_leaves_after_the_end_is_no_499(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(reason="stop"))
        await wire.packet(DONE)
        await wire.end_stream()

    upstream.on("native", script)
    with gateway.raw() as caller:
        caller.send(request("native", True, "stayed"))
        caller.read_until(b"[DONE]")
    assert gateway.line("stayed")["status"] == 200


def test_leaving_in_the_middle_of_a_body_reaches_no_upstream(
    gateway: Gateway, upstream: Upstream
) -> None:
    with gateway.raw() as caller:
        whole = request("native", False, "left-body")
        caller.send(whole[:-5])
    line = gateway.line("left-body")
    assert line["status"] in {400, 499}
    assert upstream.requests == []
