"""Embeddings over real sockets: every form of input and of answer, batches, the cache, money."""

from __future__ import annotations

import base64
import struct
from typing import Any

import pytest

from tests.e2e.families.asking import (
    ONLY_CACHED,
    embed,
    embedding,
    how,
    inputs_of,
    vector_of,
    vectors,
)
from tests.harness.configuration import TOKEN
from tests.harness.credentials import KEYS
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

CACHED = {"model": "cached"}


@pytest.fixture(autouse=True)
def embedding_upstream(upstream: Upstream) -> Upstream:
    upstream.on("up", embedding)
    return upstream


def kept(gateway: Gateway, given: Any, **fields: Any) -> None:
    eventually(lambda: embed(gateway, given, headers=ONLY_CACHED, **fields).status, 200)


@pytest.mark.parametrize(
    ("given", "inputs"),
    [("a", ["a"]), (["a", "bb"], ["a", "bb"]), ([1, 2], [[1, 2]]), ([[1], [2]], [[1], [2]])],
)
def test_every_form_of_input(
    gateway: Gateway, upstream: Upstream, given: Any, inputs: list[Any]
) -> None:
    reply = embed(gateway, given, dimensions=3, user="u", extra=1.5)
    assert vectors(reply) == [vector_of(one) for one in inputs]
    assert upstream.request.target == "/v1/embeddings"
    sent = {"model": "up", "input": given, "dimensions": 3, "user": "u", "extra": 1.5}
    assert upstream.request.document == sent
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    assert reply.document["usage"] == usage
    line = gateway.line(reply.headers["x-request-id"])
    assert (line["operation"], line["prompt_tokens"]) == ("embeddings", len(inputs))


def test_base64_is_made_here_and_never_asked_for(gateway: Gateway, upstream: Upstream) -> None:
    [text] = vectors(embed(gateway, "abc", encoding_format="base64"))
    assert list(struct.unpack("<3f", base64.b64decode(text))) == vector_of("abc")
    assert "encoding_format" not in upstream.request.document


def test_an_upstream_that_gives_base64_is_understood(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        packed = base64.b64encode(struct.pack("<2f", 1.5, 2.0)).decode()
        item = {"object": "embedding", "index": 0, "embedding": packed}
        usage = {"prompt_tokens": 1, "total_tokens": 1}
        await wire.answer({"object": "list", "data": [item], "model": "e", "usage": usage})

    upstream.on("up", script)
    assert vectors(embed(gateway, "a")) == [[1.5, 2.0]]


@pytest.mark.parametrize(
    ("param", "body"),
    [
        ("input", {"input": ""}),
        ("input", {"input": []}),
        ("input", {"input": ["a", ""]}),
        ("dimensions", {"dimensions": 0}),
        ("encoding_format", {"encoding_format": "hex"}),
        ("stream", {"stream": True}),
    ],
)
def test_what_is_wrong_is_named(
    gateway: Gateway, upstream: Upstream, param: str, body: dict[str, Any]
) -> None:
    fields = {"given": "a"} | {("given" if k == "input" else k): v for k, v in body.items()}
    reply = embed(gateway, **fields)
    assert (reply.status, reply.error["param"]) == (400, param)
    assert upstream.requests == []


def test_a_key_for_embeddings_is_enough(gateway: Gateway) -> None:
    assert embed(gateway, "a", key=KEYS["embedder"]).status == 200


def test_a_provider_without_embeddings(gateway: Gateway) -> None:
    reply = embed(gateway, "a", model="legacy")
    assert (reply.status, reply.error["code"]) == (501, "not_implemented")


def test_answers_out_of_order_are_put_in_order(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        data = [{"index": i, "embedding": [float(i)]} for i in (1, 0)]
        await wire.answer({"data": data})

    upstream.on("up", script)
    reply = embed(gateway, ["a", "b"])
    assert vectors(reply) == [[0.0], [1.0]]
    assert gateway.line(reply.headers["x-request-id"])["estimated"]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_with_another_number_of_vectors_is_refused(
    gateway: Gateway, upstream: Upstream, count: int
) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer({"data": [{"embedding": [1.0]}] * count})

    upstream.on("up", script)
    reply = embed(gateway, ["a", "b"])
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")


# In the cache.


def test_each_input_is_an_entry_whatever_the_form(gateway: Gateway, upstream: Upstream) -> None:
    one, two, three = unseen(), unseen(), unseen()
    assert how(embed(gateway, one, **CACHED, encoding_format="base64")) == "miss"
    kept(gateway, one, **CACHED)
    reply = embed(gateway, [two, one, three], **CACHED)
    assert how(reply) == "partial"
    assert vectors(reply) == [vector_of(text) for text in (two, one, three)]
    assert reply.document["usage"] == {"prompt_tokens": 3, "total_tokens": 3}
    assert [inputs_of(request) for request in upstream.requests] == [[one], [two, three]]
    kept(gateway, [three, two], **CACHED)
    again = embed(gateway, [three, one], **CACHED, encoding_format="base64")
    assert how(again) == "hit"
    assert len(upstream.requests) == 2


def test_other_dimensions_are_another_entry(gateway: Gateway, upstream: Upstream) -> None:
    one = unseen()
    embed(gateway, one, **CACHED)
    kept(gateway, one, **CACHED)
    assert embed(gateway, one, headers=ONLY_CACHED, **CACHED, dimensions=2).status == 504
    assert embed(gateway, f" {one}", headers=ONLY_CACHED, **CACHED).status == 504


@pytest.mark.parametrize("model", ["plain", "cached"])
def test_what_stands_twice_is_sent_once(gateway: Gateway, upstream: Upstream, model: str) -> None:
    one, two = unseen(), unseen()
    reply = embed(gateway, [one, two, one, one], model=model)
    assert vectors(reply) == [vector_of(text) for text in (one, two, one, one)]
    assert inputs_of(upstream.request) == [one, two]
    assert reply.document["usage"] == {"prompt_tokens": 2, "total_tokens": 2}


def test_an_old_vector_is_better_than_an_error(gateway: Gateway, upstream: Upstream) -> None:
    one = unseen()
    embed(gateway, one, model="backed")
    kept(gateway, one, model="backed")
    eventually(lambda: embed(gateway, one, headers=ONLY_CACHED, model="backed").status, 504)

    async def broken(request: Request, wire: Wire) -> None:
        await wire.answer({"error": {"message": "no"}}, 503)

    upstream.on("up", broken)
    reply = embed(gateway, one, model="backed")
    assert (how(reply), vectors(reply)) == ("stale", [vector_of(one)])


# Batches larger than the provider takes.


def test_a_large_batch_is_split_and_put_together(gateway: Gateway, upstream: Upstream) -> None:
    texts = ["a", "bb", "ccc", "bb", "dddd", "eeeee"]
    reply = embed(gateway, texts, model="narrow")
    assert vectors(reply) == [vector_of(text) for text in texts]
    sent = sorted(inputs_of(request) for request in upstream.wait_for(3))
    assert sent == [["a", "bb"], ["ccc", "dddd"], ["eeeee"]]
    assert reply.document["usage"]["prompt_tokens"] == 5
    assert reply.headers["x-headgate-attempts"] == "3"


def test_a_batch_that_would_make_too_many_calls_is_refused(
    gateway: Gateway, upstream: Upstream
) -> None:
    reply = embed(gateway, list("abcdefg"), model="narrow")
    assert (reply.status, reply.error["code"], reply.error["param"]) == (
        400,
        "too_many_calls",
        "input",
    )
    assert upstream.requests == []
    assert embed(gateway, list("aaabbbccc"), model="narrow").status == 200


def test_a_part_that_fails_fails_the_batch(gateway: Gateway, upstream: Upstream) -> None:
    async def script(request: Request, wire: Wire) -> None:
        if inputs_of(request) == ["ccc"]:
            await wire.answer({"error": {"message": "no"}}, 500)
        else:
            await embedding(request, wire)

    upstream.on("up", script)
    assert embed(gateway, ["a", "bb", "ccc"], model="narrow").status == 502


# Money.


def test_what_was_used_is_charged(gateway: Gateway) -> None:
    reply = embed(gateway, ["a", "b"], key=KEYS["team"])
    assert reply.headers["x-headgate-cost-usd"] == f"{2 * TOKEN / 1e9:g}"


def test_what_the_budget_cannot_cover_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    reply = embed(gateway, "x" * 20_000, key=KEYS["team"])
    assert (reply.status, reply.error["code"]) == (429, "budget_exceeded")
    assert upstream.requests == []


def test_what_the_limit_cannot_cover_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    reply = embed(gateway, [[1] * 10_001], key=KEYS["hashed"])
    assert (reply.status, reply.error["code"]) == (429, "rate_limit_exceeded")
    assert upstream.requests == []
