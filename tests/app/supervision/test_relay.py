"""What the management listener hands on to a worker, and how streams pass."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from app.supervision.relay import Relay
from app.supervision.relay_mark import RelayMark, is_relayed
from tests.harness.chain import in_loop
from tests.harness.gateway import free_port

MARK = RelayMark()
HEAD = b"GET /admin/v1/whoami HTTP/1.1\r\nHost: here\r\nConnection: keep-alive\r\n\r\n"

Meet = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def through(worker: Meet, ask: Callable[[int], Awaitable[Any]], port: int = 0) -> Any:
    """What ``ask`` gives, with the port of a relay that leads to ``worker``, or to another ``port``."""

    async def run() -> Any:
        behind = await asyncio.start_server(worker, "127.0.0.1", 0)
        relay = Relay("127.0.0.1", port or behind.sockets[0].getsockname()[1], MARK)

        over = asyncio.Event()

        async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = await reader.readuntil(b"\r\n\r\n")
            error = await relay.carry(head, reader, writer)
            if error is not None:
                writer.write(error.body())
            writer.close()
            over.set()

        front = await asyncio.start_server(meet, "127.0.0.1", 0)
        try:
            answer = await ask(front.sockets[0].getsockname()[1])
            await over.wait()
            assert relay.descriptors() == []
            return answer
        finally:
            front.close()
            behind.close()

    return in_loop(run)


async def answer_with_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(await reader.readuntil(b"\r\n\r\n"))
    writer.close()


async def whole(port: int, head: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(head)
    answer = await reader.read()
    writer.close()
    return answer


def test_a_request_is_handed_on_with_a_mark_that_only_workers_know() -> None:
    lines = through(answer_with_head, lambda port: whole(port, HEAD)).split(b"\r\n")
    assert lines[:2] == [b"GET /admin/v1/whoami HTTP/1.1", b"Host: here"]
    assert lines[2] == b"connection: close"
    assert MARK.address_in(lines[3].removeprefix(b"x-headgate-relay: ")) == "127.0.0.1"


def test_a_mark_of_the_callers_own_is_left_out() -> None:
    own = HEAD.replace(b"Host: here", b"X-Headgate-Relay: guess\r\nHost: here")
    answer = through(answer_with_head, lambda port: whole(port, own))
    assert b"guess" not in answer
    assert answer.lower().count(b"x-headgate-relay") == 1


def test_a_folded_header_is_refused() -> None:
    folded = HEAD.replace(b"Host: here", b"a: b\r\n x-headgate-relay: guess")
    assert b"one line" in through(answer_with_head, lambda port: whole(port, folded))


@pytest.mark.parametrize("value", [None, b"", b"guess", b"guess 127.0.0.1", b" 127.0.0.1"])
def test_whatever_is_not_the_token_is_no_mark(value: bytes | None) -> None:
    assert MARK.address_in(value) is None
    assert RelayMark().address_in(MARK.header("::1")) is None


def test_a_stream_passes_as_it_comes() -> None:
    go_on = asyncio.Event()

    async def worker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"one")
        await go_on.wait()
        writer.write(b"two")
        writer.close()

    async def ask(port: int) -> list[bytes]:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD)
        pieces = [await reader.readexactly(3)]
        go_on.set()
        pieces.append(await reader.read())
        writer.close()
        return pieces

    assert through(worker, ask) == [b"one", b"two"]


def test_a_body_passes_as_it_comes_and_a_caller_that_leaves_is_noticed() -> None:
    heard: list[bytes] = []
    left = asyncio.Event()

    async def worker(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        heard.append(await reader.readexactly(4))
        writer.write(b"more")
        heard.append(await reader.read())
        left.set()
        writer.close()

    async def ask(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(HEAD + b"body")
        assert await reader.readexactly(4) == b"more"
        writer.close()
        await left.wait()

    through(worker, ask)
    assert heard == [b"body", b""]


def test_without_a_worker_it_says_so() -> None:
    answer = through(answer_with_head, lambda port: whole(port, HEAD), free_port())
    assert json.loads(answer)["error"]["code"] == "service_unavailable"


@pytest.mark.parametrize(
    ("path", "relayed"),
    [
        ("/admin", True),
        ("/admin/v1/keys", True),
        ("/dashboard", True),
        ("/docs/", True),
        ("/openapi.json", True),
        ("/llms.txt", True),
        ("/administrator", False),
        ("/health/ready", False),
        ("/metrics", False),
        ("/v1/completions", False),
        ("//admin/v1/keys", False),
    ],
)
def test_what_a_worker_answers(path: str, relayed: bool) -> None:
    assert is_relayed(path) is relayed
