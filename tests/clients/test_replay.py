"""What real clients send goes through as it is; what real servers answered comes back as it was."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.upstream import Upstream

HERE = Path(__file__).parent
KEY = "hg-replay-0123456789abcdef0123456789"
BODIES = sorted((HERE / "bodies").glob("*.json"))
RECORDED = sorted((HERE / "recorded").glob("*.json"))
# Written by the transport or by us, not by the client.
NOT_A_BODY = {"twinny-no-model"}  # llama.cpp's own route needs no model; ours does


def load(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


@pytest.fixture(scope="module")
def upstream() -> Iterator[Upstream]:
    with Upstream() as running:
        yield running


@pytest.fixture(scope="module")
def gateway(upstream: Upstream) -> Iterator[Gateway]:
    def model(**settings: Any) -> dict[str, Any]:
        # Refusals are replayed one after the other, so that a breaker would open.
        return {"targets": [{"provider": "up", "model": "tiny"}], "breaker": False, **settings}

    configuration = {
        "providers": {"up": {"kind": "openai", "base_url": upstream.base_url}},
        "models": {"tiny-vllm": model(), "tiny-chat": model(completions="chat")},
        "tenants": {"t": {}},
        "keys": [{"id": "replay", "tenant": "t", "secret": KEY}],
    }
    with Gateway(configuration, [KEY]) as running:
        yield running


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_a_clients_body_is_answered(gateway: Gateway, path: Path) -> None:
    case = load(path)
    ours = {"authorization", "content-type"}  # the test's own way of sending has these already
    headers = [(n, v) for n, v in case["headers"].items() if n.lower() not in ours]
    reply = gateway.send(case["body"], key=KEY, headers=headers)
    assert reply.status == (400 if path.stem in NOT_A_BODY else 200)


@pytest.mark.parametrize("path", BODIES, ids=lambda path: path.stem)
def test_a_clients_body_reaches_the_upstream_as_it_was(
    gateway: Gateway, upstream: Upstream, path: Path
) -> None:
    if path.stem in NOT_A_BODY:
        return
    body = load(path)["body"]
    upstream.reset()
    gateway.send(body, key=KEY)
    sent = upstream.request.document
    # null is absent, an empty stop list is absent, and usage is always asked for on streams.
    absent = {
        name for name, value in body.items() if value is None or (name, value) == ("stop", [])
    }
    expected = {name: value for name, value in body.items() if name not in absent}
    expected |= {"model": "tiny"}
    if body.get("stream"):
        expected["stream_options"] = (body.get("stream_options") or {}) | {"include_usage": True}
    assert sent == expected


def play(upstream: Upstream, case: dict[str, Any]) -> None:
    """Have the upstream give a recorded answer, in small packets."""
    body = base64.b64decode(case["body_base64"]) if "body_base64" in case else case["body"].encode()
    dropped = {"transfer-encoding", "content-length", "connection", "date", "server"}
    headers = [(n, v) for n, v in case["headers"] if n.lower() not in dropped]

    async def script(request: Any, wire: Any) -> None:
        lines = [f"HTTP/1.1 {case['status']} Recorded"]
        lines += [f"{name}: {value}" for name, value in headers]
        lines += [f"content-length: {len(body)}"]
        await wire.send("\r\n".join([*lines, "", ""]).encode())
        for start in range(0, len(body), 97):
            await wire.send(body[start : start + 97])

    upstream.on("tiny", script)


def asked(case: dict[str, Any]) -> dict[str, Any]:
    """The recorded request, as a caller of the gateway would send it (too long ones shortened)."""
    request = dict(case["request"])
    alias = "tiny-chat" if "chat" in case["path"] else "tiny-vllm"
    if isinstance(request.get("messages"), list) and request.pop("logprobs", None):
        request["logprobs"] = request.pop("top_logprobs", 0)
    request["temperature"] = 0  # one was recorded with a wrong kind, which we refuse ourselves
    return request | {"model": alias}


GOOD = [path for path in RECORDED if load(path)["status"] == 200]
BAD = [path for path in RECORDED if load(path)["status"] != 200]


@pytest.mark.parametrize("path", GOOD, ids=lambda path: path.stem)
def test_a_recorded_answer_comes_back_with_its_texts_and_numbers(
    gateway: Gateway, upstream: Upstream, path: Path
) -> None:
    case = load(path)
    play(upstream, case)
    reply = gateway.send(asked(case), key=KEY)
    assert reply.status == 200
    if case["request"].get("stream"):
        assert reply.done
        assert streamed(reply.chunks) == streamed(chunks_of(case["body"]))
        return
    theirs = json.loads(case["body"])
    if "chat" not in case["path"]:
        assert reply.document["choices"] == sorted(theirs["choices"], key=lambda c: c["index"])
    assert reply.document["usage"] == theirs["usage"]


@pytest.mark.parametrize("path", BAD, ids=lambda path: path.stem)
def test_a_recorded_refusal_comes_back_in_our_envelope(
    gateway: Gateway, upstream: Upstream, path: Path
) -> None:
    case = load(path)
    play(upstream, case)
    reply = gateway.send(asked(case), key=KEY)
    expected = {401: 502, 500: 502}.get(case["status"], case["status"])
    assert reply.status == expected
    assert set(reply.error) >= {"message", "type", "param", "code"}
    assert not isinstance(reply.error["code"], int)
    if "too-long" in path.stem or path.stem == "vllm-error-400":
        assert reply.error["code"] == "context_length_exceeded"


def chunks_of(body: str) -> list[dict[str, Any]]:
    lines = (line.removeprefix("data: ") for line in body.splitlines() if line.startswith("data: "))
    return [json.loads(line) for line in lines if line != "[DONE]"]


def streamed(chunks: list[dict[str, Any]]) -> dict[int, tuple[str, list[float | None], list[str]]]:
    """Text, token log-probabilities and finish reasons of each choice of a stream."""
    found: dict[int, tuple[str, list[float | None], list[str]]] = {}
    for chunk in chunks:
        for choice in chunk["choices"]:
            text, logprobs, reasons = found.setdefault(choice["index"], ("", [], []))
            delta = choice.get("delta")
            said = choice.get("text", "") if delta is None else delta.get("content") or ""
            given = choice.get("logprobs") or {}
            logprobs += given.get("token_logprobs") or []
            logprobs += [entry["logprob"] for entry in given.get("content") or []]
            if choice.get("finish_reason"):
                reasons.append(choice["finish_reason"])
            found[choice["index"]] = (text + said, logprobs, reasons)
    return found
