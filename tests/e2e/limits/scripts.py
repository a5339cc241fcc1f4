"""What the upstream does for the model `up`, where a good answer at once is not what is needed."""

from __future__ import annotations

from tests.harness.exchange import Gate, Script
from tests.harness.good_server import good_server
from tests.harness.upstream import Upstream


def hold(upstream: Upstream) -> Gate:
    """The upstream answers nobody until the gate is opened."""
    gate = upstream.gate()

    async def script(request, wire):
        await gate.wait()
        await good_server(request, wire)

    upstream.on("up", script)
    return gate


def counting(prompt: int, completion: int) -> Script:
    """An upstream that says it used so many tokens."""

    async def script(request, wire):
        usage = {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }
        choice = {"index": 0, "text": "much", "logprobs": None, "finish_reason": "length"}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
        await wire.answer(body | {"choices": [choice], "usage": usage})

    return script


def endless_stream(upstream: Upstream) -> Script:
    """Five words, and then nothing more until the caller leaves."""
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        for number in range(5):
            choice = {"index": 0, "text": f" word{number}", "logprobs": None}
            chunk = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
            await wire.event(chunk | {"choices": [choice | {"finish_reason": None}]})
        await gate.wait()

    return script
