"""`/tokenizer_info` and `/tokenize` are passed on to the servers of models that declare them."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.harness.credentials import KEYS, PROVIDER_KEY
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

TOKENS = {"count": 2, "max_model_len": 4096, "tokens": [15339, 1917], "token_strs": None}
INFO = {"tokenizer_class": "LlamaTokenizer", "eos_token": "</s>"}


async def vllm(request: Request, wire: Wire) -> None:
    """As https://docs.vllm.ai shows both endpoints."""
    await wire.answer(INFO if request.method == "GET" else TOKENS)


def tokenize(gateway: Gateway, **body: Any):
    content = json.dumps(body).encode()
    return gateway.ask(
        "POST", "/tokenize", headers={"content-type": "application/json"}, content=content
    )


def test_a_text_is_tokenized_by_the_models_server(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("tokenized-name", vllm)
    reply = tokenize(gateway, model="tokenized", prompt="hello world", add_special_tokens=False)
    assert (reply.status, reply.document) == (200, TOKENS)
    request = upstream.request
    assert request.target == "/tokenize"
    assert request.headers["authorization"] == f"Bearer {PROVIDER_KEY}"
    assert request.document == {
        "model": "tokenized-name",
        "prompt": "hello world",
        "add_special_tokens": False,
    }


@pytest.mark.parametrize("query", ["", "?model=tokenized"])
def test_a_tokenizer_is_described(gateway: Gateway, upstream: Upstream, query: str) -> None:
    upstream.on("", vllm)  # a GET names no model
    reply = gateway.get(f"/tokenizer_info{query}")
    assert (reply.status, reply.document) == (200, INFO)
    assert (upstream.request.method, upstream.request.target) == ("GET", "/tokenizer_info")


def test_the_only_model_that_has_one_need_not_be_named(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("tokenized-name", vllm)
    assert tokenize(gateway, prompt="x").document == TOKENS


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "unknown"}, 404, "model_not_found"),
        ({"model": "openai"}, 501, "not_implemented"),
        ({"model": 5}, 400, "invalid_request"),
    ],
)
def test_a_model_without_one_is_told(
    gateway: Gateway, upstream: Upstream, body: dict[str, Any], status: int, code: str
) -> None:
    reply = tokenize(gateway, **body)
    assert (reply.status, reply.error["code"]) == (status, code)
    assert upstream.requests == []


def test_a_body_that_is_no_object_is_refused(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.ask("POST", "/tokenize", content=b"[]")
    assert (reply.status, reply.error["code"]) == (400, "invalid_json")


def test_both_need_a_key_that_may_complete(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.get("/tokenizer_info", key=None).status == 401
    assert gateway.get("/tokenizer_info", key=KEYS["embedder"]).status == 403
    assert upstream.requests == []


def test_what_is_no_json_is_the_upstreams_failure(gateway: Gateway, upstream: Upstream) -> None:
    async def broken(_: Request, wire: Wire) -> None:
        await wire.answer(b"<html>")

    upstream.on("tokenized-name", broken)
    reply = tokenize(gateway, model="tokenized")
    assert (reply.status, reply.error["code"]) == (502, "upstream_invalid_response")
