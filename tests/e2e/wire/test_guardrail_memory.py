"""Two hundred guarded streams at once: what passes through them is not kept."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.harness.configuration import key, openai, target
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

STREAMS = 200
# Every piece ends in what may become a match, so that something is always held.
PIECE = "and so it went on, from one word to the next and to another one: " * 60 + "the key is: sk-"
PIECES = 12  # about 48 KiB of each stream, four times
ROOM = 8 << 20  # for what an allocator does; the held text is 200 times a match's width: 50 KiB


@pytest.fixture
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    configuration = {
        "log": {"format": "json"},
        "providers": {"main": openai(upstream.base_url, timeouts={"total": "120s", "idle": "60s"})},
        "models": {"native": target("main", "talking")},
        "tenants": {"acme": {}},
        "keys": [key("all")],
        "guardrails": {"no-secrets": {"kind": "secrets"}, "pii": {"kind": "pii", "mode": "redact"}},
    }
    with Gateway(configuration, [upstream.address]) as gateway:
        yield gateway


@pytest.mark.alone
def test_memory_does_not_grow_with_what_streams_have_said(
    gateway: Gateway, upstream: Upstream
) -> None:
    gates = [upstream.gate() for _ in range(4)]

    async def talking(request: Any, wire: Any) -> None:
        head = {"id": "x", "created": 1, "model": "m", "object": "text_completion"}

        async def say(text: str, reason: str | None = None) -> None:
            choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
            await wire.event(head | {"choices": [choice]})

        await wire.begin_stream()
        for gate in gates:
            for _ in range(PIECES):
                await say(PIECE)
            await say("over " + "and out " * 100)  # beyond what a keyword holds back
            await gate.wait()
        await say("", "stop")
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("talking", talking)
    sizes, passed = asyncio.run(_measured(gateway, gates))
    assert passed > STREAMS * PIECES * len(gates) * len(PIECE) * 0.99
    # The first rounds fill the buffers of 200 connections; the 19 MiB after them leave nothing.
    assert sizes[3] - sizes[1] < ROOM, [size >> 20 for size in sizes]


async def _measured(gateway: Gateway, gates: list[Any]) -> tuple[list[int], int]:
    """Bytes of memory when all streams wait at each gate; how many bytes came through."""
    body = {"model": "native", "prompt": "go on", "stream": True}
    waiting = asyncio.Semaphore(0)
    passed = 0
    limits = httpx.Limits(max_connections=STREAMS)

    async def follow(client: httpx.AsyncClient) -> None:
        nonlocal passed
        url = f"{gateway.url}/v1/completions"
        headers = {"authorization": f"Bearer {KEY}"}
        async with client.stream("POST", url, json=body, headers=headers) as response:
            assert response.status_code == 200
            async for packet in response.aiter_raw():
                passed += len(packet)
                for _ in range(packet.count(b"over and out")):
                    waiting.release()

    sizes = []
    async with (
        httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        for _ in range(STREAMS):
            group.create_task(follow(client))
        for gate in gates:
            for _ in range(STREAMS):
                await waiting.acquire()
            sizes.append(gateway.memory())
            gate.open()
    return sizes, passed
