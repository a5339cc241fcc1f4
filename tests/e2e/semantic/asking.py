"""How the tests of answers by meaning ask, and what they ask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.e2e.cache.asking import ONLY_CACHED
from tests.harness.credentials import KEY
from tests.harness.exchange import Request, Script, Wire
from tests.harness.gateway import Gateway
from tests.harness.good_server import embed
from tests.harness.prompts import PRIVATE, unseen_name
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

QUESTION = f"How do I feed a {PRIVATE} in winter?"
PARAPHRASE = f"please, how do i feed {PRIVATE}s in winter"  # one canonical key with QUESTION
REWORDED = f"What is the best way to feed a {PRIVATE} in winter?"  # one wide key with QUESTION
STRESSED = f"How do I actually feed a {PRIVATE} in winter?"  # another key; the guard allows it


def ask(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """A request that is not sampled, to `tier1` unless another model is named."""
    body = {"model": "tier1", "prompt": prompt, "temperature": 0} | fields
    return gateway.send(body, key, headers)


def only(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """The same, from the cache alone."""
    return ask(gateway, prompt, headers | ONLY_CACHED, key, **fields)


def served(reply: Reply) -> str | None:
    """What of the cache answered: `exact`, `tier 1`, `tier 2`, or None."""
    if reply.status == 504:
        assert reply.error["code"] == "not_cached"
        return None
    assert reply.status == 200, reply.body
    if reply.headers["x-headgate-cache"] != "hit":
        assert "x-headgate-cache-tier" not in reply.headers
        return None
    layer: str = reply.headers["x-headgate-cache-layer"]
    if layer == "exact":
        return layer
    assert layer == "semantic"
    return f"tier {reply.headers['x-headgate-cache-tier']}"


def keep(
    gateway: Gateway, prompt: Any, headers: dict[str, str], key: str = KEY, **fields: Any
) -> Reply:
    """Ask, and wait until the answer is kept for this very question."""
    reply = ask(gateway, prompt, headers, key, **fields)
    assert reply.status == 200, reply.body
    eventually(lambda: served(only(gateway, prompt, headers, key, **fields)) == "exact")
    return reply


def teach(
    gateway: Gateway,
    headers: dict[str, str],
    key: str = KEY,
    question: Any = QUESTION,
    paraphrase: Any = PARAPHRASE,
    **fields: Any,
) -> Reply:
    """Ask the question, and wait until its paraphrase is answered by it."""
    reply = ask(gateway, question, headers, key, **fields)
    assert reply.status == 200, reply.body
    eventually(lambda: served(only(gateway, paraphrase, headers, key, **fields)) is not None)
    return reply


def barrier(gateway: Gateway) -> None:
    """Whatever was asked before, its meaning is kept by now if it ever is."""
    teach(gateway, {"x-headgate-cache-namespace": f"b-{unseen_name()}"})


def message(text: Any, role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": text}


def embedding(vector_of: Callable[[str], list[float]]) -> Script:
    """A script of an embeddings endpoint."""

    async def script(request: Request, wire: Wire) -> None:
        assert request.target.endswith("/embeddings")
        await embed(request, wire, vector_of(_text(request)))

    return script


def _text(request: Request) -> str:
    """The one text that an embeddings call is about."""
    [text] = request.document["input"]
    return str(text)


def embedded(upstream: Upstream) -> list[str]:
    """The texts that were embedded so far."""
    return [_text(r) for r in upstream.requests if r.target.endswith("/embeddings")]
