"""Streams that take the gateway a while to add up, after their caller has all of them."""

from __future__ import annotations

import asyncio
import subprocess
from typing import Any

import pytest

from tests.e2e.cache.asking import ask, expired, how, saying, wait_kept, warm
from tests.e2e.cache.configuration import configuration
from tests.harness.command import command
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream

EVENTS = 600


def at_length(events: int) -> Any:
    """A script that streams so many words, fast, but not at once."""
    body = {"id": "cmpl-9", "object": "text_completion", "created": 1700000000, "model": "up"}

    async def script(request: Any, wire: Any) -> None:
        await wire.begin_stream()
        for number in range(events):
            reason = "stop" if number == events - 1 else None
            choice = {"index": 0, "text": f"w{number} ", "logprobs": None, "finish_reason": reason}
            await wire.event(body | {"choices": [choice]})
            if number % 100 == 0:
                await asyncio.sleep(0.01)  # so that it is watched whether the caller leaves
        usage = {"prompt_tokens": 4, "completion_tokens": events, "total_tokens": events + 4}
        await wire.event(body | {"choices": [], "usage": usage})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    return script


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
def test_a_long_stream_is_kept_and_was_no_failure(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    upstream.on("up", at_length(EVENTS))
    first = ask(gateway, prompt, stream=True, **fields)
    assert first.done
    assert gateway.line(first.headers["x-request-id"])["status"] == 200
    wait_kept(gateway, prompt, **fields)
    again = ask(gateway, prompt, **fields)
    assert how(again) == "hit"
    assert again.texts == ["".join(first.streamed_texts().values())]


@pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
def test_what_was_purged_meanwhile_is_not_better_than_an_error(
    redis_server: RedisServer, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    settings = configuration(redis_server.url, upstream)
    # The upstream takes longer than `quick` bears: it is purged before it answers.
    cache = {"exact": {"ttl": "150ms", "stale_if_error": "1h"}}
    settings["models"]["patient"] = settings["models"]["cached"] | {"cache": cache}
    with open_gateway(settings, upstream) as gateway:
        fields = fields | {"model": "patient"}
        upstream.on("up", saying("old"))
        warm(gateway, prompt, **fields)
        expired(gateway, prompt, **fields)

        async def fails_after_a_purge(request: Any, wire: Any) -> None:
            done: subprocess.CompletedProcess[str] = await asyncio.to_thread(
                command, "cache", "purge", "--yes", "--config", str(gateway.file)
            )
            assert done.returncode == 0
            await wire.answer({"error": {"message": "no"}}, status=500)

        upstream.on("up", fails_after_a_purge)
        reply = ask(gateway, prompt, **fields)
        assert reply.status in (502, 504)
