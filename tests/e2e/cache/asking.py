"""How the tests of the cache ask, and how they wait until an answer is kept or is not."""

from __future__ import annotations

from typing import Any

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.replies import Reply
from tests.harness.waiting import eventually

ONLY_CACHED = {"cache-control": "only-if-cached"}


def ask(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any) -> Reply:
    """A request to `cached`, unless another model is named."""
    return gateway.send({"model": "cached", "prompt": prompt} | fields, key, headers)


def how(reply: Reply) -> str | None:
    """What the cache did."""
    assert reply.status == 200, reply.body
    found: str | None = reply.headers.get("x-headgate-cache")
    return found


def warm(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any) -> Reply:
    """Ask, and wait until the answer is kept: that is not waited for by the gateway itself."""
    reply = ask(gateway, prompt, key, headers, **fields)
    assert reply.status == 200, reply.body
    wait_kept(gateway, prompt, key, headers, **fields)
    return reply


def wait_kept(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any):
    only = dict(headers) | ONLY_CACHED
    eventually(lambda: ask(gateway, prompt, key, only, **fields).status == 200)


def is_kept(
    gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any
) -> bool:
    """Whether a fresh answer is there; another answer is kept first, so that it had its time."""
    warm(gateway, unseen(), key)
    reply = ask(gateway, prompt, key, dict(headers) | ONLY_CACHED, **fields)
    if reply.status == 504:
        assert reply.error["code"] == "not_cached"
    return reply.status == 200


def expired(gateway: Gateway, prompt: Any, key: str = KEY, headers: Any = (), **fields: Any):
    """Wait until the kept answer is not fresh any more."""
    only = dict(headers) | ONLY_CACHED
    eventually(lambda: ask(gateway, prompt, key, only, **fields).status == 504)


def saying(text: str, reason: str | None = "stop", **more: Any):
    """A script that answers so, plain or streamed as asked, and counts its tokens."""
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    body = {"id": "cmpl-9", "object": "text_completion", "created": 1700000000, "model": "up"}
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}

    async def script(request, wire):
        whole = body | {"choices": [choice]} | more
        if not request.document.get("stream"):
            await wire.answer({"usage": usage} | whole)
            return
        await wire.begin_stream()
        await wire.event(whole)
        await wire.event(body | {"choices": [], "usage": usage})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    return script
