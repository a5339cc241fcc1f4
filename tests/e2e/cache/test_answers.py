"""Hits: what they are, what they say of themselves, and what they do not cost."""

from __future__ import annotations

from itertools import chain
from typing import Any

import openai
import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, how, saying, warm
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import PATIENCE, eventually

SAME_CALL = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])
SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


@SAME_CALL
def test_the_second_time_nobody_is_asked(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    first = warm(gateway, prompt, **fields)
    again = ask(gateway, prompt, **fields)
    assert (how(first), how(again)) == ("miss", "hit")
    assert again.body == first.body
    assert upstream.request.document["prompt"] == prompt


@SAME_CALL
@pytest.mark.parametrize("model", ["cached", "chat"])
def test_a_hit_says_what_it_is(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], model: str
) -> None:
    first = warm(gateway, prompt, model=model, **fields)
    hit = ask(gateway, prompt, model=model, **fields)
    assert how(hit) == "hit"
    assert hit.headers["x-headgate-cache-layer"] == "exact"
    assert "x-headgate-cache-similarity" not in hit.headers
    assert int(hit.headers["age"]) in range(5)
    assert hit.headers["x-headgate-cost-usd"] == "0"
    assert hit.headers["x-headgate-attempts"] == "0"
    assert (hit.headers["x-provider"], hit.headers["x-model"]) == ("main", "up")
    assert hit.headers["content-length"] == str(len(hit.body))
    assert hit.headers["content-type"] == first.headers["content-type"] == "application/json"
    assert hit.headers["x-headgate-config"] == first.headers["x-headgate-config"]
    assert hit.headers["x-request-id"] != first.headers["x-request-id"]
    names = [name for name, _ in hit.headers.multi_items()]
    assert len(names) == len(set(names))
    assert set(first.headers) <= set(hit.headers)


def test_a_miss_says_so_and_nothing_of_age(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    miss = ask(gateway, prompt)
    assert how(miss) == "miss"
    assert not {"age", "x-headgate-cache-layer"} & set(miss.headers)
    assert float(miss.headers["x-headgate-cost-usd"]) > 0
    assert miss.headers["x-headgate-attempts"] == "1"


@pytest.mark.parametrize("model", ["uncached", "disabled"])
def test_a_model_without_a_cache_says_nothing_of_it(
    gateway: Gateway, upstream: Upstream, prompt: str, model: str
) -> None:
    replies = [ask(gateway, prompt, model=model, temperature=0) for _ in range(2)]
    assert [how(reply) for reply in replies] == [None, None]
    assert len(upstream.requests) == 2


@SAME_CALL
@SHAPES
@pytest.mark.parametrize("model", ["cached", "chat"])
def test_a_request_of_the_other_shape_hits_too(
    gateway: Gateway,
    upstream: Upstream,
    prompt: str,
    fields: dict[str, Any],
    stream: bool,
    model: str,
) -> None:
    fields = fields | {"model": model, "n": 2}
    warm(gateway, prompt, stream=stream, **fields)
    other = ask(gateway, prompt, stream=not stream, **fields)
    assert how(other) == "hit"
    assert len(upstream.requests) == 1
    texts = {0: text_of(prompt), 1: text_of(prompt, 1)}
    if stream:
        assert dict(enumerate(other.texts)) == texts
        assert other.document["object"] == "text_completion"
        assert other.document["usage"]["completion_tokens"] == 6
        assert [c["finish_reason"] for c in other.document["choices"]] == ["stop", "stop"]
    else:
        assert other.headers["content-type"].split(";")[0] == "text/event-stream"
        assert other.streamed_texts() == texts


@SHAPES
def test_plain_answers_are_the_same_whichever_came_first(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    prompt, fields = unseen(), {"logprobs": 2, "echo": True, "n": 2}
    live = ask(gateway, prompt, headers={"cache-control": "no-cache, no-store"}, **fields)
    warm(gateway, prompt, stream=stream, **fields)
    assert ask(gateway, prompt, **fields).document == live.document


@SHAPES
@pytest.mark.parametrize("include_usage", [None, False, True])
def test_a_replayed_stream_is_a_legal_one(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool, include_usage: bool | None
) -> None:
    warm(gateway, prompt, stream=stream, n=2)
    options = {} if include_usage is None else {"stream_options": {"include_usage": include_usage}}
    reply = ask(gateway, prompt, stream=True, n=2, **options)
    assert how(reply) == "hit"
    chunks = reply.chunks
    assert len({(c["id"], c["created"], c["model"]) for c in chunks}) == 1
    assert {c["object"] for c in chunks} == {"text_completion"}
    assert all(type(c["text"]) is str for one in chunks for c in one["choices"])
    reasons = [
        (c["index"], r) for one in chunks for c in one["choices"] if (r := c["finish_reason"])
    ]
    assert sorted(reasons) == [(0, "stop"), (1, "stop")]
    if include_usage:
        *before, last = chunks
        assert last["choices"] == []
        assert last["usage"]["completion_tokens"] == 6
        assert all(one["usage"] is None and one["choices"] for one in before)
    else:
        assert all("usage" not in one and one["choices"] for one in chunks)


@SHAPES
@pytest.mark.parametrize("model", ["cached", "chat"])
def test_log_probabilities_survive(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool, model: str
) -> None:
    fields = {"model": model, "logprobs": 2}
    live = ask(gateway, prompt, headers={"cache-control": "no-cache, no-store"}, **fields)
    warm(gateway, prompt, stream=stream, **fields)
    [choice] = ask(gateway, prompt, **fields).document["choices"]
    assert choice["logprobs"] == live.document["choices"][0]["logprobs"]
    assert choice["logprobs"]["tokens"]
    chunks = ask(gateway, prompt, stream=True, **fields).chunks
    said = [c["logprobs"] for one in chunks for c in one["choices"] if c["logprobs"]]
    for name in ("tokens", "token_logprobs", "top_logprobs", "text_offset"):
        assert list(chain.from_iterable(one[name] for one in said)) == choice["logprobs"][name]


@SHAPES
@pytest.mark.parametrize("model", ["cached", "chat"])
def test_an_echo_survives(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool, model: str
) -> None:
    warm(gateway, prompt, stream=stream, model=model, echo=True)
    assert ask(gateway, prompt, model=model, echo=True).texts == [prompt + text_of(prompt)]
    streamed = ask(gateway, prompt, model=model, echo=True, stream=True)
    assert streamed.streamed_texts() == {0: prompt + text_of(prompt)}
    assert len(upstream.requests) == 1


@SHAPES
def test_what_else_the_upstream_says_survives(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool
) -> None:
    upstream.on("up", saying("well", system_fingerprint="fp-7"))
    warm(gateway, prompt, stream=stream)
    assert ask(gateway, prompt).document["system_fingerprint"] == "fp-7"
    chunks = ask(gateway, prompt, stream=True).chunks
    assert chunks[0]["system_fingerprint"] == "fp-7"


@SHAPES
@pytest.mark.parametrize("length", [40_000, 150_000])
def test_a_large_answer_comes_back_whole(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool, length: int
) -> None:
    text = "".join(chr(0x20 + n * 7919 % 0x2FF) for n in range(length))
    upstream.on("up", saying(text))
    warm(gateway, prompt, stream=stream)
    assert ask(gateway, prompt).texts == [text]
    streamed = ask(gateway, prompt, stream=True)
    assert how(streamed) == "hit"
    assert streamed.streamed_texts() == {0: text}
    assert max(map(len, streamed.payloads)) < 65536
    assert len(upstream.requests) == 1


@SHAPES
def test_the_sdk_reads_hits_of_both_shapes(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool
) -> None:
    fields: dict[str, Any] = {"model": "cached", "prompt": [prompt, prompt + "!"], "logprobs": 1}
    warm(gateway, fields["prompt"], stream=stream, logprobs=1)
    url = f"{gateway.url}/v1"
    with openai.OpenAI(base_url=url, api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
        raw = client.completions.with_raw_response.create(**fields)
        plain = raw.parse()
        with client.completions.create(
            stream=True, stream_options={"include_usage": True}, **fields
        ) as events:
            chunks = list(events)
    assert raw.headers["x-headgate-cache"] == "hit"
    expected = [text_of(p) for p in fields["prompt"]]
    assert [choice.text for choice in plain.choices] == expected
    assert plain.object == "text_completion"
    assert plain.choices[1].logprobs is not None
    texts = ["", ""]
    for one in chunks:
        assert one.object == "text_completion"
        for choice in one.choices:
            texts[choice.index] += choice.text
    assert texts == expected
    assert chunks[-1].usage is not None
    assert plain.usage is not None
    assert chunks[-1].usage.total_tokens == plain.usage.total_tokens
    assert len(upstream.requests) == 1


@SHAPES
def test_messages_are_cached(
    gateway: Gateway, upstream: Upstream, prompt: str, stream: bool
) -> None:
    for model in ("cached", "chat"):
        body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": prompt}]}
        first = gateway.send(body | {"stream": stream})
        assert how(first) == "miss"
        only = body | {"stream": not stream}
        eventually(lambda only=only: gateway.send(only, headers=ONLY_CACHED).status == 200)
        other = body | {"messages": [{"role": "user", "content": prompt + "?"}]}
        assert gateway.send(other, headers=ONLY_CACHED).status == 504
    assert len(upstream.requests) == 2


def test_the_system_prompt_is_part_of_the_question(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    user = {"role": "user", "content": prompt}
    bodies = [
        {"model": "chat", "messages": messages}
        for messages in (
            [user],
            [{"role": "system", "content": "be brief"}, user],
            [{"role": "system", "content": "be long"}, user],
            [{"role": "user", "content": "be long"}, user],
        )
    ]
    assert [how(gateway.send(body)) for body in bodies] == ["miss"] * 4
    assert len(upstream.requests) == 4


@SAME_CALL
@SHAPES
def test_an_answer_that_was_just_given_is_known(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any], stream: bool
) -> None:
    """Without waiting: whoever has read an answer to its end may ask again at once."""
    seen = []
    for number in range(20):
        for _ in range(2):
            seen += [how(ask(gateway, f"{prompt} {number}", stream=stream, **fields))]
    assert seen == ["miss", "hit"] * 20
