"""Rules beyond a network, and token ids, over real sockets: a judge, a moderator, a tokenizer."""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.configuration import key, openai, target
from tests.harness.exchange import Gate, Request
from tests.harness.gateway import Gateway
from tests.harness.good_server import good_server
from tests.harness.guarded import SECRET
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

JUDGE_SECRET = "judge-0123456789abcdef"
MODERATOR_KEY = "sk-moderator-0123456789abcdef"
LINE = "Water runs to the sea, as ever it did. "


@pytest.fixture(scope="module")
def gateway(the_upstream: Upstream) -> Iterator[Gateway]:
    address = f"http://{the_upstream.address}"
    judge = {"kind": "webhook", "url": f"{address}/judge", "secret": JUDGE_SECRET, "deadline": "1s"}
    models = ["judged", "open", "windowed", "moderated", "numbered"]
    configuration = {
        "log": {"format": "json"},
        "providers": {"main": openai(the_upstream.base_url)},
        "models": {
            name: target("main", f"m-{name}", **({"tokenizer": True} if name == "numbered" else {}))
            for name in models
        },
        "tenants": {"acme": {}},
        "keys": [key("all", capabilities=["completions", "chat"])],
        "guardrails": {
            "judge": judge | {"mode": "redact", "models": ["judged"]},
            "open": judge | {"models": ["open"], "on_failure": "open", "phases": ["input"]},
            "windows": judge | {"models": ["windowed"], "phases": ["output"], "window": 40},
            "moderator": {
                "kind": "moderation",
                "url": f"{address}/v1/moderations",
                "api_key": MODERATOR_KEY,
                "categories": ["violence"],
                "models": ["moderated"],
            },
            "no-secrets": {"kind": "secrets", "models": ["numbered"], "unscannable": "detokenize"},
        },
    }
    secrets = [the_upstream.address, JUDGE_SECRET, MODERATOR_KEY]
    with Gateway(configuration, secrets) as gateway:
        yield gateway


def judged_by(upstream: Upstream, alias: str, judge: Any) -> list[Request]:
    """Let ``judge`` say what becomes of texts: it gives a status and a document, or nothing in time."""
    seen: list[Request] = []

    async def script(request: Request, wire: Any) -> None:
        seen.append(request)
        status, document = judge(request.document["texts"])
        await wire.answer(document, status=status)

    upstream.on(alias, script)
    return seen


def swapped(texts: list[str]) -> tuple[int, dict[str, Any]]:
    return 200, {"action": "redact", "texts": [text.replace("rival", "other") for text in texts]}


@pytest.mark.parametrize("stream", [False, True])
def test_a_webhook_is_signed_and_its_texts_go_on(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    seen = judged_by(upstream, "judged", swapped)
    reply = gateway.complete(model="judged", prompt="the rival's price", stream=stream)
    assert reply.status == 200
    assert b"rival" not in reply.body
    asked, answered = seen
    assert asked.document["texts"] == ["the rival's price"]
    assert (asked.document["phase"], answered.document["phase"]) == ("input", "output")
    assert asked.document["key"] == "all"
    stamp, signature = (asked.headers[f"x-headgate-{name}"] for name in ("timestamp", "signature"))
    assert abs(int(stamp) - time.time()) < 60
    whole = stamp.encode() + b"." + asked.body
    expected = hmac.new(JUDGE_SECRET.encode(), whole, hashlib.sha256).hexdigest()
    assert signature == f"sha256={expected}"
    assert "authorization" not in asked.headers
    [sent] = [request for request in upstream.requests if request.target == "/v1/completions"]
    assert sent.document["prompt"] == "the other's price"


@pytest.mark.parametrize(
    "verdict",
    [
        (500, {}),
        (200, {"action": "perhaps"}),
        (200, {"action": "redact", "texts": []}),
        (302, {}),
    ],
    ids=["status", "form", "count", "redirect"],
)
def test_a_judge_that_gives_no_verdict_fails_closed(
    gateway: Gateway, upstream: Upstream, verdict: Any
) -> None:
    def fine_and_then(texts: list[str]) -> Any:
        return verdict

    judged_by(upstream, "judged", fine_and_then)
    reply = gateway.complete(model="judged")
    assert (reply.status, reply.error["code"]) == (503, "guardrail_unavailable")
    assert not [one for one in upstream.requests if one.target == "/v1/completions"]
    judged_by(upstream, "judged", lambda texts: (200, {"action": "allow"}))
    assert gateway.complete(model="judged").status == 200  # not five failures in a row


def test_an_open_one_lets_pass_and_is_counted(gateway: Gateway, upstream: Upstream) -> None:
    judged_by(upstream, "open", lambda texts: (500, {}))
    reply = gateway.complete(model="open")
    assert reply.status == 200
    line = gateway.line(reply.headers["x-request-id"])
    assert any("open=bypass" in one for one in line["guardrails"])
    series = b"headgate_guardrail_bypass_total"
    eventually(lambda: series in gateway.get("/metrics/shared", None).body)


def said_in_windows(upstream: Upstream, words: list[str], gate: Gate | None = None) -> None:
    """Let the upstream stream these; after the second it waits for the gate."""

    async def script(request: Request, wire: Any) -> None:
        await wire.begin_stream()
        for place, word in enumerate(words):
            if place == 2 and gate is not None:
                await gate.wait()
            end = "stop" if place == len(words) - 1 else None
            choice = {"index": 0, "text": word, "logprobs": None, "finish_reason": end}
            head = {"id": "x-1", "created": 1, "model": "m", "object": "text_completion"}
            await wire.event(head | {"choices": [choice]})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("m-windowed", script)


def test_a_stream_is_judged_window_by_window(gateway: Gateway, upstream: Upstream) -> None:
    words = [LINE[at : at + 6] for at in range(0, len(LINE), 6)] * 5
    said_in_windows(upstream, words)
    seen = judged_by(upstream, "windowed", lambda texts: (200, {"action": "allow"}))
    reply = gateway.complete(model="windowed", stream=True)
    texts = [json.loads(one)["choices"] for one in reply.payloads[:-1]]
    assert "".join(choice["text"] for one in texts for choice in one) == "".join(words)
    assert len(seen) >= 4
    assert all(len(one.document["texts"][0]) < 80 for one in seen)


def test_a_window_that_is_refused_never_leaves(gateway: Gateway, upstream: Upstream) -> None:
    gate = upstream.gate()
    said_in_windows(upstream, [LINE, LINE, "the poison is here, ", *[LINE] * 30], gate)

    def judge(texts: list[str]) -> Any:
        return 200, {"action": "block" if "poison" in texts[0] else "allow"}

    seen = judged_by(upstream, "windowed", judge)
    with gateway.stream(model="windowed") as payloads:
        first = next(payloads)
        gate.open()
        rest = list(payloads)
    assert json.loads(first)["choices"][0]["text"] == LINE * 2
    assert b"guardrail_blocked" in rest[-1]
    assert not any(b"poison" in payload or b"[DONE]" in payload for payload in rest)
    assert len(seen) == 2


def test_a_moderator_is_asked_in_openais_words(gateway: Gateway, upstream: Upstream) -> None:
    seen: list[Request] = []

    async def moderate(request: Request, wire: Any) -> None:
        seen.append(request)
        results = [
            {
                "flagged": "blood" in text,
                "categories": {"violence": "blood" in text, "sexual": False},
                "category_scores": {"violence": 0.9, "sexual": 0.0},
            }
            for text in request.document["input"]
        ]
        await wire.answer({"id": "modr-1", "model": "m", "results": results})

    upstream.on("omni-moderation-latest", moderate)
    assert gateway.complete(model="moderated", prompt="tea please").status == 200
    refused = gateway.complete(model="moderated", prompt=["tea", "blood please"])
    assert (refused.status, refused.error["code"]) == (400, "guardrail_blocked")
    assert seen[0].headers["authorization"] == f"Bearer {MODERATOR_KEY}"
    assert seen[0].document["input"] == ["tea please"]


@pytest.mark.parametrize("stream", [False, True])
def test_token_ids_are_read_as_their_servers_text(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    texts = {(1, 2, 3): "tea please", (4, 5): f"my key is {SECRET}"}

    async def server(request: Request, wire: Any) -> None:
        if request.target == "/detokenize":
            tokens = tuple(request.document["tokens"])
            if tokens in texts:
                await wire.answer({"prompt": texts[tokens]})
            else:
                await wire.answer({"error": "no"}, status=500)
            return
        await good_server(request, wire)

    upstream.on("m-numbered", server)
    assert gateway.complete(model="numbered", prompt=[1, 2, 3], stream=stream).status == 200
    assert upstream.requests[-1].document["prompt"] == [1, 2, 3]
    refused = gateway.complete(model="numbered", prompt=[[1, 2, 3], [4, 5]], stream=stream)
    assert (refused.status, refused.error["code"]) == (400, "guardrail_blocked")
    assert SECRET.encode() not in refused.body
    unread = gateway.complete(model="numbered", prompt=[9, 9], stream=stream)
    assert (unread.status, unread.error["code"]) == (503, "guardrail_unavailable")
