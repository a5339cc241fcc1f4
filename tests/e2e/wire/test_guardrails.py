"""Guardrails at work in a gateway: real sockets, real streams, every endpoint that sends text on."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.harness.configuration import key, openai, target
from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.guarded import EMAIL, SECRET
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

PATHS = {
    "completions": "/v1/completions",
    "chat": "/v1/chat/completions",
    "embeddings": "/v1/embeddings",
    "tokenize": "/tokenize",
}


@pytest.fixture(scope="module")
def gateway(the_upstream: Upstream) -> Iterator[Gateway]:
    configuration = {
        "log": {"format": "json", "prompts": True},
        "providers": {"main": openai(the_upstream.base_url)},
        "models": {
            "native": target("main", "guarded", tokenizer=True),
            "free": target("main", "free"),
        },
        "tenants": {"acme": {}},
        "keys": [key("all", capabilities=["completions", "chat", "embeddings"])],
        "guardrails": {
            "no-secrets": {"kind": "secrets", "models": ["native"]},
            "pii": {"kind": "pii", "mode": "redact", "models": ["native"]},
        },
    }
    with Gateway(configuration) as gateway:
        yield gateway


def asked(gateway: Gateway, route: str, text: str, **members: Any) -> Reply:
    body: dict[str, Any] = {"model": "native"} | members
    if route == "chat":
        body["messages"] = [{"role": "user", "content": text}]
    else:
        body["input" if route == "embeddings" else "prompt"] = text
    fields = {"content-type": "application/json"}
    return gateway.ask("POST", PATHS[route], KEY, fields, json.dumps(body).encode())


@pytest.mark.parametrize("route", PATHS)
def test_a_secret_goes_upstream_by_no_endpoint(
    route: str, gateway: Gateway, upstream: Upstream
) -> None:
    reply = asked(gateway, route, f"my key is {SECRET}")
    assert (reply.status, reply.error["code"]) == (400, "guardrail_blocked")
    assert upstream.requests == []


@pytest.mark.parametrize("route", PATHS)
def test_personal_data_is_cut_out_on_every_endpoint(
    route: str, gateway: Gateway, upstream: Upstream
) -> None:
    asked(gateway, route, f"write to {EMAIL}")
    sent = upstream.request.body.decode()
    assert "write to [EMAIL]" in sent
    assert EMAIL not in sent


@pytest.mark.parametrize("route", ["completions", "chat"])
@pytest.mark.parametrize("stream", [False, True])
def test_what_the_upstream_says_is_read(
    route: str, stream: bool, gateway: Gateway, upstream: Upstream
) -> None:
    async def leaking(request: Any, wire: Any) -> None:
        words = [f"call {EMAIL[:7]}", f"{EMAIL[7:]} and", " bye"]
        chat = route == "chat"
        head = {"id": "x-1", "created": 1, "model": "m"}
        if not stream:
            said = {"message": {"role": "assistant", "content": "".join(words)}}
            choice = {"index": 0, "finish_reason": "stop", "logprobs": None}
            choice |= said if chat else {"text": "".join(words)}
            usage = {"prompt_tokens": 1, "completion_tokens": 3, "total_tokens": 4}
            kind = "chat.completion" if chat else "text_completion"
            await wire.answer(head | {"object": kind, "choices": [choice], "usage": usage})
            return
        await wire.begin_stream()
        for place, word in enumerate(words):
            end = "stop" if place == len(words) - 1 else None
            said = {"delta": {"content": word}} if chat else {"text": word}
            choice = {"index": 0, "finish_reason": end, "logprobs": None} | said
            kind = "chat.completion.chunk" if chat else "text_completion"
            await wire.event(head | {"object": kind, "choices": [choice]})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    upstream.on("guarded", leaking)
    reply = asked(gateway, route, "hello", stream=stream)
    body = reply.body.decode()
    assert EMAIL not in body
    assert EMAIL[:7] not in body
    said = "".join(
        choice.get("text")
        or (choice.get("delta") or choice.get("message") or {}).get("content")
        or ""
        for line in (body.replace("data: ", "").split("\n") if stream else [body])
        if line.startswith("{")
        for choice in json.loads(line)["choices"]
    )
    assert said == "call [EMAIL] and bye"


def test_a_rule_holds_for_its_models_only(gateway: Gateway, upstream: Upstream) -> None:
    assert asked(gateway, "completions", f"key {SECRET}", model="free").status == 200


def test_what_was_cut_out_does_not_stand_in_the_log(gateway: Gateway, upstream: Upstream) -> None:
    reply = asked(gateway, "completions", f"write to {EMAIL}, please")
    [line] = gateway.lines(reply.headers["x-request-id"], 1)
    assert line["guardrails"] == ["pii.email=redact"]
    assert "[EMAIL], please" in line["prompt"]
    assert EMAIL not in json.dumps(line)


def test_the_checks_are_counted(gateway: Gateway, upstream: Upstream) -> None:
    asked(gateway, "completions", f"key {SECRET}")
    series = 'headgate_guardrail_checks_total{action="block",phase="input",rule="no-secrets"}'
    eventually(lambda: series in gateway.get("/metrics/shared", None).body.decode())
