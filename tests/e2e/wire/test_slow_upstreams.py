"""Upstreams that say nothing, stall or trickle, and pools that are full."""

import asyncio
import time

import pytest

from tests.e2e.wire.test_answers import saying
from tests.e2e.wire.test_broken_upstreams import GOOD, ends_with_an_error, is_upstream_error
from tests.e2e.wire.test_streams import DONE, chunk
from tests.harness.exchange import head
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

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
