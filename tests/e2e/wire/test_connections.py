"""Callers who never speak, never read, or are too many: they end, and nobody else notices."""

from __future__ import annotations

import json
import select
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.raw_connection import raw_request
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE

LIVE = raw_request(method="GET", path="/health/live")
ASK = raw_request(json.dumps({"model": "up", "prompt": "x"}).encode())


@contextmanager
def guarded(upstream: Upstream, **server: Any) -> Iterator[Gateway]:
    configuration = {
        "server": server,
        "log": {"format": "json"},
        "providers": {"up": {"kind": "openai", "base_url": upstream.base_url}},
        "models": {"up": {"targets": [{"provider": "up", "model": "scripted"}]}},
        "tenants": {"t": {}},
        "keys": [{"id": "k", "tenant": "t", "secret": KEY}],
    }
    with Gateway(configuration) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def hasty(the_upstream: Upstream) -> Iterator[Gateway]:
    with guarded(the_upstream, head_timeout="400ms", keepalive_timeout="1s", host="::") as gateway:
        yield gateway


def connect(gateway: Gateway, host: str = "127.0.0.1", **options: Any) -> socket.socket:
    caller = socket.create_connection((host, gateway.port), PATIENCE, **options)
    caller.settimeout(PATIENCE)
    return caller


def unreading(gateway: Gateway) -> socket.socket:
    """A caller that takes a few kilobytes at most."""
    caller = socket.socket()
    caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    caller.connect(("127.0.0.1", gateway.port))
    return caller


def seconds_until_ended(caller: socket.socket) -> float:
    began = time.monotonic()
    try:
        while caller.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return time.monotonic() - began


def answered(caller: socket.socket) -> bytes:
    """What comes in answer to LIVE."""
    data = b""
    while b'"status"' not in data:
        more = caller.recv(65536)
        assert more, "the connection ended instead"
        data += more
    return data


def ask_live(gateway: Gateway, **options: Any) -> float:
    """Seconds that a newcomer waits for its answer."""
    began = time.monotonic()
    with connect(gateway, **options) as caller:
        caller.sendall(LIVE)
        assert answered(caller).startswith(b"HTTP/1.1 200")
    return time.monotonic() - began


def wait_for_line(gateway: Gateway, text: str) -> None:
    end = time.monotonic() + PATIENCE
    while not any(text in line for line in gateway.output):
        assert time.monotonic() < end, f"{text} was never logged"
        time.sleep(0.02)  # polling a log, not a race


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("said", [b"", b"GET /health/live HTTP/1.1\r\nhost"])
def test_a_caller_that_never_finishes_its_head_is_ended(
    hasty: Gateway, host: str, said: bytes
) -> None:
    with connect(hasty, host) as caller:
        caller.sendall(said)
        assert 0.3 < seconds_until_ended(caller) < 3


def test_a_head_that_trickles_is_ended_on_a_used_connection_too(hasty: Gateway) -> None:
    with connect(hasty) as caller:
        caller.sendall(LIVE)
        answered(caller)
        began = time.monotonic()
        with pytest.raises(OSError):
            while time.monotonic() - began < PATIENCE:
                caller.sendall(b"x")
                caller.settimeout(0.05)
                try:
                    if not caller.recv(1):
                        raise ConnectionResetError
                except TimeoutError:
                    continue
        assert 0.3 < time.monotonic() - began < 3


def test_an_idle_connection_is_kept_longer_than_a_head_may_take(hasty: Gateway) -> None:
    with connect(hasty) as caller:
        caller.sendall(LIVE)
        answered(caller)
        assert 0.8 < seconds_until_ended(caller) < 4


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_a_caller_that_waits_for_a_slow_upstream_is_not_idle(
    hasty: Gateway, upstream: Upstream, host: str
) -> None:
    gate = upstream.gate()

    async def slow(request: Any, wire: Any) -> None:
        await gate.wait()
        await wire.answer({"id": "c", "model": "m", "created": 1, "choices": [CHOICE]})

    upstream.on("scripted", slow)
    with connect(hasty, host) as caller, connect(hasty, host) as idle:
        caller.sendall(ASK)
        upstream.wait_for(1)
        idle.sendall(LIVE)
        assert seconds_until_ended(idle) < 4  # so the waiting one could have been ended too
        gate.open()
        assert caller.recv(65536).startswith(b"HTTP/1.1 200")


CHOICE = {"text": "x", "index": 0, "logprobs": None, "finish_reason": "stop"}


def test_callers_who_read_nothing_do_not_keep_others_out(upstream: Upstream) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(
            guarded(upstream, max_connections=128, send_timeout="600ms", head_timeout="60s")
        )
        for _ in range(128):
            caller = stack.enter_context(unreading(gateway))
            caller.setblocking(False)
            # Far more answers than the buffers of both sides take.
            for _ in range(40):
                try:
                    caller.send(LIVE * 2000)
                except BlockingIOError:
                    break
        assert ask_live(gateway) < 5


def test_where_there_is_no_room_the_longest_idle_goes(upstream: Upstream) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(
            guarded(upstream, max_connections=128, head_timeout="60s", keepalive_timeout="60s")
        )
        silent = [stack.enter_context(connect(gateway)) for _ in range(140)]
        assert ask_live(gateway) < 5
        assert seconds_until_ended(silent[0]) < 5
        wait_for_line(gateway, '"reason":"connection_cap"')


def test_an_address_has_so_many_connections_and_no_more(upstream: Upstream) -> None:
    with ExitStack() as stack:
        gateway = stack.enter_context(
            guarded(upstream, max_connections_per_address=4, host="0.0.0.0")
        )
        callers = [stack.enter_context(connect(gateway)) for _ in range(8)]
        for caller in callers[:2]:
            caller.sendall(LIVE)
            answered(caller)
        for caller in callers[-3:]:
            assert seconds_until_ended(caller) < 5
        assert ask_live(gateway, source_address=("127.0.0.2", 0)) < 5
        callers[0].sendall(LIVE)
        answered(callers[0])


def test_an_answer_that_nobody_reads_is_given_up(upstream: Upstream) -> None:
    async def large(request: Any, wire: Any) -> None:
        choice = CHOICE | {"text": "x" * 200_000}
        await wire.answer({"id": "c", "model": "m", "created": 1, "choices": [choice]})

    upstream.on("scripted", large)
    with guarded(upstream, send_timeout="600ms") as gateway, unreading(gateway) as caller:
        caller.sendall(ASK)
        watch = select.poll()
        watch.register(caller, select.POLLERR)
        assert watch.poll(5000), "the answer still waits for its caller"


def test_many_unread_answers_take_a_bounded_memory(upstream: Upstream) -> None:
    size, callers = 12 << 20, 15

    async def huge(request: Any, wire: Any) -> None:
        choice = CHOICE | {"text": "x" * size}
        await wire.answer({"id": "c", "model": "m", "created": 1, "choices": [choice]})

    upstream.on("scripted", huge)
    with ExitStack() as stack:
        gateway = stack.enter_context(
            guarded(upstream, max_pending_bytes="40MiB", send_timeout="60s")
        )
        before = gateway.memory()
        for _ in range(callers):
            caller = stack.enter_context(connect(gateway))
            caller.sendall(ASK)
            assert caller.recv(16).startswith(b"HTTP/1.1 ")
        assert ask_live(gateway) < 2
        assert gateway.memory() - before < 128 << 20  # the answers alone are 180 MiB
