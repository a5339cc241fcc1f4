"""`best_of` on servers that have none: the choices with the best log-probabilities, over sockets."""

from __future__ import annotations

from itertools import count
from typing import Any

import pytest

from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

# What each choice says, and the log-probabilities of its two tokens.
SAID = {"bad": [-3.0, -2.0], "best": [-0.1, -0.2], "good": [-0.5, -0.5]}


def completing():
    """A server whose next choices are always the next in turn, each with its log-probabilities."""
    turn = count()

    async def script(request: Request, wire: Wire) -> None:
        document = request.document
        chat = "messages" in document
        prompts = document.get("prompt")
        batch = len(prompts) if isinstance(prompts, list) else 1
        choices: list[Any] = []
        for index in range(batch * document.get("n", 1)):
            text, values = list(SAID.items())[next(turn) % len(SAID)]
            choice: dict[str, Any] = {"index": index, "finish_reason": "stop"}
            if chat:
                content = [{"token": "x", "logprob": value, "top_logprobs": []} for value in values]
                choice |= {"message": {"role": "assistant", "content": text}}
                choice["logprobs"] = {"content": content} if document.get("logprobs") else None
            else:
                tokens = {"tokens": ["x", "y"], "token_logprobs": values, "text_offset": [0, 1]}
                choice |= {"text": text, "logprobs": tokens if "logprobs" in document else None}
            choices.append(choice)
        used = {"prompt_tokens": 5, "completion_tokens": 2 * len(choices)}
        used["total_tokens"] = sum(used.values())
        await wire.answer(
            {"id": "x", "created": 1, "model": "r", "choices": choices, "usage": used}
        )

    return script


@pytest.mark.parametrize(("model", "calls"), [("ranked", 1), ("one-choice", 3), ("openai", 1)])
def test_the_best_of_three_is_given(
    gateway: Gateway, upstream: Upstream, model: str, calls: int
) -> None:
    for name in ("ranked", "m"):
        upstream.on(name, completing())
    reply = gateway.complete(model=model, best_of=3)
    assert reply.status == 200, reply.body
    assert reply.texts == ["best"]
    assert reply.document["choices"][0]["logprobs"] is None, "they were not asked for"
    assert reply.document["usage"]["completion_tokens"] == 6, "all three are paid for"
    assert len(upstream.requests) == calls
    assert all("best_of" not in request.document for request in upstream.requests)


def test_the_best_two_come_best_first_prompt_by_prompt(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("ranked", completing())
    reply = gateway.complete(model="ranked", prompt=["a", "b"], n=2, best_of=3, logprobs=0)
    assert reply.texts == ["best", "good", "best", "good"]
    assert [choice["index"] for choice in reply.document["choices"]] == [0, 1, 2, 3]
    assert reply.document["choices"][0]["logprobs"]["token_logprobs"] == [-0.1, -0.2]


def test_choices_one_by_one_keep_to_their_prompts(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("ranked", completing())
    reply = gateway.complete(model="one-choice", prompt=["a", "b"], best_of=3)
    assert len(reply.texts) == 2
    assert len(upstream.requests) == 3
    assert {request.document.get("n", 1) for request in upstream.requests} <= {1}


@pytest.mark.parametrize(
    ("model", "members"),
    [("unranked", {}), ("anthropic", {}), ("mistral", {}), ("ranked", {"echo": True})],
)
def test_without_a_way_to_rank_it_is_refused(
    gateway: Gateway, upstream: Upstream, model: str, members: dict[str, Any]
) -> None:
    reply = gateway.complete(model=model, best_of=3, **members)
    assert (reply.status, reply.error["code"]) == (400, "unsupported_parameter")
    assert reply.error["param"] == "best_of"
    assert upstream.requests == []


def test_as_many_choices_as_are_wanted_are_the_servers_own(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("ranked", completing())
    assert len(gateway.complete(model="ranked", n=2, best_of=2).texts) == 2
    assert "logprobs" not in upstream.request.document
