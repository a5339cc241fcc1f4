"""A retriever over HTTP: what it is sent, and that one that is slow, gone or wrong fails nobody."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.retrieval.handbook import ask, configuration, write_documents
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.exchange import Request, Wire, head
from tests.harness.gateway import Gateway
from tests.harness.metrics import parsed
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

FOUND = {"id": "a#1", "text": "Tea is at four.", "source": "a", "score": 0.9}
LIMITED = {"tokens_per_minute": 3000}


@pytest.fixture(scope="module")
def gateway(the_upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    files = write_documents(tmp_path_factory.mktemp("handbook"))
    settings = configuration(the_upstream, files)
    settings["retrieval"]["fragile"] = settings["retrieval"]["outside"] | {"min_score": 0.5}
    settings["models"]["fragile"] = settings["models"]["http"] | {"retrieval": "fragile"}
    settings["limits"] = {"small": LIMITED}
    settings["keys"][1]["limits"] = "small"
    with Gateway(settings, [the_upstream.address]) as gateway:
        yield gateway


def retriever(upstream: Upstream, *chunks: Any, **answer: Any) -> None:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer(answer or {"chunks": list(chunks)})

    upstream.on("None", script)


def failures(gateway: Gateway) -> dict[str, float]:
    """How often `fragile` failed, by reason."""
    found = {}
    page = gateway.get("/metrics/shared", None).body.decode()
    for (name, labels), value in parsed(page).items():
        named = dict(labels)
        if name == "headgate_retrieval_failures_total" and named["retrieval"] == "fragile":
            found[named["reason"]] = value
    return found


def asked(upstream: Upstream) -> list[Request]:
    return [request for request in upstream.requests if request.target.endswith("/retrieve")]


def prompt_sent(upstream: Upstream) -> str:
    [request] = [r for r in upstream.requests if r.target.endswith("/completions")]
    return str(request.document["prompt"])


def test_it_is_asked_for_the_tenant_and_key_and_never_what_the_caller_says(
    gateway: Gateway, upstream: Upstream
) -> None:
    retriever(upstream, FOUND)
    own = {"x-headgate-tenant": "acme", "x-headgate-filter": "everything"}
    members = {"tenant": "acme", "filter": {"key": "all"}, "metadata": {"tenant": "acme"}}
    reply = ask(gateway, "When is tea?", model="http", key=STRANGER, headers=own, **members)
    [request] = asked(upstream)
    assert request.document == {
        "query": "When is tea?",
        "k": 5,
        "tenant": "other",
        "filter": {"lang": "en", "key": "stranger"},
    }
    assert request.headers["authorization"] == "Bearer rt-5b1e93c07d2f4a68"
    assert not set(own) & set(request.headers)
    assert "Tea is at four." in prompt_sent(upstream)
    assert reply.headers["x-headgate-rag-sources"] == "a#1"


def test_a_chunk_of_another_tenant_is_dropped(gateway: Gateway, upstream: Upstream) -> None:
    theirs = FOUND | {"id": "b#1", "text": "Theirs.", "tenant": "other"}
    ours = FOUND | {"id": "c#1", "text": "Ours.", "tenant": "acme"}
    retriever(upstream, theirs, ours)
    reply = ask(gateway, "When is tea?", model="http", key=KEY)
    assert reply.headers["x-headgate-rag-sources"] == "c#1"
    assert "Theirs." not in prompt_sent(upstream)


async def _refuses(request: Request, wire: Wire) -> None:
    await wire.answer({"error": "no"}, 403)


async def _fails(request: Request, wire: Wire) -> None:
    await wire.answer({"error": "no"}, 500)


async def _redirects(request: Request, wire: Wire) -> None:
    await wire.answer(b"", 302, [("location", "http://127.0.0.1:1/")])


async def _resets(request: Request, wire: Wire) -> None:
    wire.reset()


async def _cuts_off(request: Request, wire: Wire) -> None:
    await wire.send(head(200, [("content-length", "1000")]) + b'{"chunks"')
    wire.close()


async def _is_too_large(request: Request, wire: Wire) -> None:
    await wire.answer({"chunks": [FOUND | {"text": "x" * 30_000}] * 60})


def _says(body: bytes) -> Any:
    async def script(request: Request, wire: Wire) -> None:
        await wire.answer(body)

    return script


BAD: dict[str, Any] = {
    "refuses": _refuses,
    "fails": _fails,
    "redirects": _redirects,
    "resets": _resets,
    "cuts off": _cuts_off,
    "too large": _is_too_large,
    "no JSON": _says(b"not json"),
    "nothing": _says(b""),
    "a list": _says(b"[]"),
    "no chunks": _says(b"{}"),
    "another kind": _says(b'{"chunks": {}}'),
    "no text": _says(b'{"chunks": [{"id": "a"}]}'),
    "a number for a text": _says(b'{"chunks": [{"id": "a", "text": 1}]}'),
    "an endless score": _says(b'{"chunks": [{"id": "a", "text": "t", "score": 1e999}]}'),
    "too many": _says(json.dumps({"chunks": [FOUND] * 201}).encode()),
    "a long text": _says(json.dumps({"chunks": [FOUND | {"text": "x" * 40_000}]}).encode()),
    "deep": _says(b'{"chunks": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
}


@pytest.mark.parametrize("case", BAD)
def test_rubbish_is_done_without_or_refused(
    case: str, gateway: Gateway, upstream: Upstream
) -> None:
    retriever(upstream, FOUND)
    for model in ("http", "http-strict"):  # so that no breaker is near to open
        assert ask(gateway, "When is tea?", model=model).headers["x-headgate-rag"] == "used; n=1"
    upstream.reset()
    upstream.on("None", BAD[case])
    reply = ask(gateway, "When is tea?", model="http")
    assert (reply.status, reply.headers["x-headgate-rag"]) == (200, "failed; n=0")
    assert prompt_sent(upstream) == "When is tea?"
    refused = ask(gateway, "When is tea?", model="http-strict")
    assert (refused.status, refused.error["code"]) == (503, "retrieval_unavailable")


def test_one_that_is_slow_is_waited_for_until_its_deadline_and_then_left_alone(
    gateway: Gateway, upstream: Upstream
) -> None:
    gate = upstream.gate()

    async def silent(request: Request, wire: Wire) -> None:
        await gate.wait()

    upstream.on("None", silent)
    took = []
    for _ in range(7):
        reply = ask(gateway, "When is tea?", model="fragile")
        assert (reply.status, reply.headers["x-headgate-rag"]) == (200, "failed; n=0")
        took.append(gateway.line(reply.headers["x-request-id"])["gateway_ms"])
    assert len(asked(upstream)) == 5
    assert all(250 < one < 2000 for one in took[:5])
    assert max(took[5:]) < 250
    gate.open()
    eventually(lambda: failures(gateway), {"timeout": 5, "breaker_open": 2})


def test_limits_are_taken_for_what_may_be_added_and_settled_to_what_was(
    gateway: Gateway, upstream: Upstream
) -> None:
    retriever(upstream, FOUND | {"text": "word " * 40})
    left = [
        int(ask(gateway, "tea?", model=model, key=COLLEAGUE, max_tokens=5).headers[LEFT])
        for model in ("plain", "http", "plain")
    ]
    # `plain` takes two tokens and the answer's five; `http` as many as it may add besides.
    assert 3000 - left[0] < 20
    assert left[0] - left[1] >= 1024
    # What it really used is what the upstream counted of the whole prompt.
    assert left[0] - left[2] < 200


LEFT = "x-ratelimit-remaining-tokens"
