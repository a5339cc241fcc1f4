"""Batches: every prompt is its own entry, and what is unknown goes upstream in one call."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, is_kept, wait_kept, warm
from tests.harness.configuration import TOKEN
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server, text_of
from tests.harness.prompts import unseen
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
MODELS = pytest.mark.parametrize("model", ["cached", "chat"])


def texts(reply: Reply) -> list[str]:
    """By index, whatever the shape."""
    if reply.headers["content-type"].startswith("application/json"):
        assert [choice["index"] for choice in reply.document["choices"]] == list(
            range(len(reply.texts))
        )
        return reply.texts
    streamed = reply.streamed_texts()
    ends = [c["index"] for one in reply.chunks for c in one["choices"] if c["finish_reason"]]
    assert sorted(ends) == list(range(len(streamed)))
    assert len({(one["id"], one["created"], one["model"]) for one in reply.chunks}) == 1
    return [streamed[index] for index in range(len(streamed))]


@SHAPES
@pytest.mark.parametrize(("n", "fields"), [(1, {}), (1, {"temperature": 0}), (2, {"seed": 1})])
@pytest.mark.parametrize("known", [[0], [1], [1, 2]])
def test_of_some_prompts_only_the_unknown_go_upstream(
    gateway: Gateway,
    upstream: Upstream,
    stream: bool,
    n: int,
    known: list[int],
    fields: dict[str, Any],
) -> None:
    prompts = [f"  {unseen()}\r\n" for _ in range(3)]
    for place in known:
        warm(gateway, prompts[place], n=n, **fields)
    upstream.requests.clear()
    reply = ask(gateway, prompts, n=n, stream=stream, **fields)
    assert how(reply) == "partial"
    assert texts(reply) == [text_of(p, number) for p in prompts for number in range(n)]
    unknown = [p for place, p in enumerate(prompts) if place not in known]
    sent = upstream.request.document["prompt"]
    assert (sent if isinstance(sent, list) else [sent]) == unknown
    wait_kept(gateway, prompts, n=n, **fields)
    assert how(ask(gateway, prompts[::-1], n=n, **fields)) == "hit"


@SHAPES
@MODELS
def test_a_batch_makes_an_entry_of_every_prompt(
    gateway: Gateway, upstream: Upstream, stream: bool, model: str
) -> None:
    prompts = [unseen() for _ in range(3)]
    warm(gateway, prompts, stream=stream, model=model)
    upstream.requests.clear()
    for prompt in prompts:
        one = ask(gateway, prompt, model=model)
        assert how(one) == "hit"
        assert one.texts == [text_of(prompt)]
        assert one.document["choices"][0]["index"] == 0
    assert upstream.requests == []


@SHAPES
def test_a_batch_on_a_chat_only_model_asks_for_the_unknown_only(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompts = [unseen() for _ in range(4)]
    warm(gateway, prompts[1], model="chat", n=2)
    upstream.requests.clear()
    reply = ask(gateway, prompts, model="chat", n=2, stream=stream)
    assert how(reply) == "partial"
    assert texts(reply) == [text_of(p, number) for p in prompts for number in range(2)]
    asked = [request.document["messages"][0]["content"] for request in upstream.requests]
    assert sorted(asked) == sorted([prompts[0], prompts[2], prompts[3]])


@SHAPES
def test_token_ids_are_entries_too(gateway: Gateway, upstream: Upstream, stream: bool) -> None:
    base = hash(unseen()) % 10**9
    prompts = [[base, 1], [base, 2], [base, 12]]
    warm(gateway, prompts[1])
    upstream.requests.clear()
    reply = ask(gateway, prompts, stream=stream)
    assert how(reply) == "partial"
    assert texts(reply) == [text_of(p) for p in prompts]
    assert upstream.request.document["prompt"] == [prompts[0], prompts[2]]
    wait_kept(gateway, prompts)
    one = ask(gateway, prompts[0])
    assert (how(one), one.texts) == ("hit", [text_of(prompts[0])])
    assert one.document["usage"]["prompt_tokens"] == 2


def test_a_list_of_one_is_the_prompt_itself(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    warm(gateway, [prompt])
    assert how(ask(gateway, prompt)) == "hit"


@SHAPES
def test_the_same_prompt_twice_is_answered_twice(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompt = unseen()
    for expected in ("miss", "hit"):
        reply = ask(gateway, [prompt, prompt], stream=stream)
        assert (how(reply), texts(reply)) == (expected, [text_of(prompt)] * 2)
        wait_kept(gateway, prompt)


@SHAPES
def test_usage_of_a_partly_known_batch_is_that_of_all(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompts = [unseen(), unseen() + " and of more", unseen()]
    whole = ask(gateway, prompts, headers={"cache-control": "no-cache, no-store"}).document["usage"]
    warm(gateway, prompts[1])
    options: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
    reply = ask(gateway, prompts, stream=stream, **options)
    assert how(reply) == "partial"
    usage = reply.chunks[-1]["usage"] if stream else reply.document["usage"]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert usage[name] == whole[name]


@SHAPES
def test_of_a_partly_known_batch_the_unknown_part_is_paid(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompts = [unseen(), unseen()]
    warm(gateway, prompts[0])
    upstream.requests.clear()
    reply = ask(gateway, prompts, stream=stream)
    words = len(prompts[1].split()) + 3
    line = gateway.line(reply.headers["x-request-id"])
    assert line["cache"] == "partial"
    assert float(line["cost_usd"]) == float(line["saved_usd"]) == words * TOKEN / 1e9
    assert reply.headers["x-headgate-attempts"] == "1"
    if not stream:
        assert float(reply.headers["x-headgate-cost-usd"]) == words * TOKEN / 1e9


def test_usage_of_the_parts_adds_up_to_what_the_upstream_said(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen(), unseen() + " at length, please", unseen()]
    whole = warm(gateway, prompts).document["usage"]
    parts = [ask(gateway, prompt).document["usage"] for prompt in prompts]
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert sum(part[name] for part in parts) == whole[name]
    hit = ask(gateway, prompts).document["usage"]
    assert {name: hit[name] for name in whole} == whole


@SHAPES
def test_log_probabilities_stay_with_their_prompts(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompts = [unseen() for _ in range(3)]
    live = ask(gateway, prompts, logprobs=1, headers={"cache-control": "no-cache, no-store"})
    warm(gateway, prompts[2], logprobs=1, stream=stream)
    partial = ask(gateway, prompts, logprobs=1)
    assert how(partial) == "partial"
    assert partial.document["choices"] == live.document["choices"]


def test_more_prompts_than_the_store_is_asked_for_at_once(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen() for _ in range(300)]
    warm(gateway, prompts[100:200], temperature=0)
    upstream.requests.clear()
    reply = ask(gateway, prompts, temperature=0)
    assert how(reply) == "partial"
    assert texts(reply) == [text_of(p) for p in prompts]
    assert upstream.request.document["prompt"] == prompts[:100] + prompts[200:]
    wait_kept(gateway, prompts, temperature=0)
    assert how(ask(gateway, prompts, temperature=0)) == "hit"


def test_of_a_batch_not_wholly_known_nothing_comes_from_the_cache_alone(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen(), unseen()]
    warm(gateway, prompts[0])
    upstream.requests.clear()
    reply = ask(gateway, prompts, headers=ONLY_CACHED)
    assert (reply.status, reply.error["code"]) == (504, "not_cached")
    assert upstream.requests == []


@SHAPES
def test_a_partly_known_batch_whose_call_fails_fails(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompts = [unseen(), unseen()]
    warm(gateway, prompts[0])

    async def script(request, wire):
        await wire.answer({"error": {"message": "no"}}, status=500)

    upstream.on("up", script)
    reply = ask(gateway, prompts, stream=stream)
    assert reply.status >= 500
    assert "age" not in reply.headers
    assert how(ask(gateway, prompts[0])) == "hit"


def test_a_partly_known_stream_that_breaks_is_not_called_whole(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompts = [unseen(), unseen()]
    warm(gateway, prompts[0])

    async def script(request, wire):
        await wire.begin_stream()
        choice = {"text": "half", "index": 0, "logprobs": None, "finish_reason": None}
        body = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "up"}
        await wire.event(body | {"choices": [choice]})
        wire.close()

    upstream.on("up", script)
    reply = ask(gateway, prompts, stream=True)
    assert not reply.done
    assert "error" in json.loads(reply.payloads[-1])
    upstream.on("up", good_server)
    assert not is_kept(gateway, prompts[1])


def test_choices_of_one_prompt_are_one_entry(gateway: Gateway, upstream: Upstream) -> None:
    prompt = unseen()
    warm(gateway, prompt, n=3)
    assert ask(gateway, prompt, n=3).texts == [text_of(prompt, number) for number in range(3)]
    assert how(ask(gateway, prompt, n=2)) == "miss"
    assert how(ask(gateway, prompt)) == "miss"
    eventually(lambda: len(upstream.requests) == 3)
