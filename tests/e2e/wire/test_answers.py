"""A plain answer: its shape, its headers, and what is mended on the way."""

import json
import time
from typing import Any

import pytest

from tests.harness.credentials import KEY
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PRIVATE, PROMPT
from tests.harness.upstream import Upstream


def saying(document: Any, **answer: Any):
    """A script that answers with this document."""

    async def script(request, wire):
        await wire.answer(document, **answer)

    return script


def choice(index: int | None = 0, text: str = PRIVATE, **more: Any) -> dict[str, Any]:
    place = {} if index is None else {"index": index}
    return {"text": text, **place, "logprobs": None, "finish_reason": "stop"} | more


def completion(*choices: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1700000000,
        "model": "native",
        "choices": list(choices) or [choice()],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    } | more


def without(document: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in document.items() if name not in names}


def test_a_completion_has_the_shape_of_one(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete()
    document = reply.document
    assert reply.status == 200
    assert reply.headers["content-type"].startswith("application/json")
    assert document["id"].startswith("cmpl-")
    assert document["object"] == "text_completion"
    assert type(document["created"]) is int
    assert document["model"] == "native"
    assert document["choices"] == [
        {"index": 0, "text": text_of(PROMPT), "logprobs": None, "finish_reason": "stop"}
    ]
    assert set(document["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_the_model_is_the_upstreams(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("org/upstream-name", saying(completion(model="org/upstream-name-2026")))
    reply = gateway.complete(model="renamed")
    assert reply.document["model"] == "org/upstream-name-2026"
    assert reply.headers["x-model"] == "org/upstream-name-2026"


def test_a_good_answer_is_passed_on_byte_for_byte(gateway: Gateway, upstream: Upstream) -> None:
    body = json.dumps(completion(), indent=3).encode().replace(b"1700000000", b"1700000000 ")
    upstream.on("native", saying(body))
    assert gateway.complete().body == body


@pytest.mark.parametrize("orderly", [True, False])
def test_extra_members_are_kept(gateway: Gateway, upstream: Upstream, orderly: bool) -> None:
    extra = {"system_fingerprint": "fp", "prompt_logprobs": [None, {"5": -1.5}], "kv": {"a": 1}}
    details = {"prompt_tokens_details": {"cached_tokens": 1}}
    usage = {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3} | details
    indexes = [0, 1] if orderly else [1, 0]
    choices = [choice(i, stop_reason="\n", token_ids=[1]) for i in indexes]
    upstream.on("native", saying(completion(*choices, usage=usage, **extra)))
    document = gateway.complete(n=2).document
    assert extra.items() <= document.items()
    assert document["usage"] == usage
    assert all(c["stop_reason"] == "\n" and c["token_ids"] == [1] for c in document["choices"])


def test_choices_come_in_index_order(gateway: Gateway, upstream: Upstream) -> None:
    choices = [choice(i, text=f"{PRIVATE}{i}") for i in (3, 0, 2, 1)]
    upstream.on("native", saying(completion(*choices)))
    reply = gateway.complete(prompt=["a", "b"], n=2)
    assert [c["index"] for c in reply.document["choices"]] == [0, 1, 2, 3]
    assert reply.texts == [f"{PRIVATE}{i}" for i in range(4)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"id": "chatcmpl-5"}, "id"),
        ({"id": None}, "id"),
        ({"id": 5}, "id"),
        ({"object": "chat.completion"}, "object"),
        ({"object": None}, "object"),
        ({"created": None}, "created"),
        ({"created": 1700000000.75}, "created"),
        ({"created": "now"}, "created"),
        ({"model": None}, "model"),
    ],
)
def test_an_odd_envelope_is_mended(
    gateway: Gateway, upstream: Upstream, change: dict[str, Any], expected: str
) -> None:
    upstream.on("native", saying(completion(**change)))
    reply = gateway.complete()
    assert reply.status == 200
    good = {
        "id": lambda v: v.startswith("cmpl-"),
        "object": lambda v: v == "text_completion",
        "created": lambda v: type(v) is int and v > 1600000000,
        "model": lambda v: v == "native",
    }
    assert good[expected](reply.document[expected])


@pytest.mark.parametrize("name", ["id", "object", "created", "model", "usage"])
def test_a_missing_member_of_the_envelope_is_put_in(
    gateway: Gateway, upstream: Upstream, name: str
) -> None:
    upstream.on("native", saying(without(completion(), name)))
    reply = gateway.complete()
    assert reply.status == 200
    assert reply.document[name]


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        [],
        "none",
        {"prompt_tokens": None},
        {"prompt_tokens": -1, "completion_tokens": 1, "total_tokens": 0},
        {"prompt_tokens": "3", "completion_tokens": "1", "total_tokens": "4"},
    ],
)
def test_usage_is_always_there(gateway: Gateway, upstream: Upstream, usage: Any) -> None:
    upstream.on("native", saying(completion(usage=usage)))
    used = gateway.complete(headers={"x-request-id": "usage-is-there"}).document["usage"]
    assert used["prompt_tokens"] > 0
    assert used["completion_tokens"] > 0
    assert used["total_tokens"] == used["prompt_tokens"] + used["completion_tokens"]


def test_estimated_usage_is_metered_as_such(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying(without(completion(), "usage")))
    reply = gateway.complete()
    line = gateway.line(reply.headers["x-request-id"])
    assert line["estimated"] is True
    assert line["completion_tokens"] == reply.document["usage"]["completion_tokens"]


def test_an_estimate_counts_every_prompt(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying(without(completion(choice(0), choice(1)), "usage")))
    one = without(completion(), "usage")
    two = gateway.complete(prompt=["long " * 50, "long " * 50]).document["usage"]["prompt_tokens"]
    upstream.on("native", saying(one))
    single = gateway.complete(prompt="long " * 50).document["usage"]["prompt_tokens"]
    assert two == 2 * single


def test_a_total_that_was_left_out_is_added_up(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying(completion(usage={"prompt_tokens": 3, "completion_tokens": 4})))
    assert gateway.complete().document["usage"]["total_tokens"] == 7


def test_a_total_that_is_wrong_is_mended_or_passed_on_but_is_a_number(
    gateway: Gateway, upstream: Upstream
) -> None:
    usage = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": None}
    upstream.on("native", saying(completion(usage=usage)))
    assert gateway.complete().document["usage"]["total_tokens"] == 7


def test_choices_without_an_index_are_numbered(gateway: Gateway, upstream: Upstream) -> None:
    choices = [choice(None, "a"), choice(None, "b")]
    upstream.on("native", saying(completion(*choices)))
    assert [c["index"] for c in gateway.complete(n=2).document["choices"]] == [0, 1]


def test_missing_logprobs_become_null(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", saying(completion(without(choice(), "logprobs"))))
    assert gateway.complete().document["choices"][0]["logprobs"] is None


def test_logprobs_come_through(gateway: Gateway, upstream: Upstream) -> None:
    logprobs = gateway.complete(logprobs=2).document["choices"][0]["logprobs"]
    assert logprobs["tokens"] == ["Re", f" <{PROMPT}>", " 0"]
    assert logprobs["text_offset"] == [0, 2, 2 + len(PROMPT) + 3]
    assert [len(top) for top in logprobs["top_logprobs"]] == [2, 2, 2]


def test_echo_comes_through(gateway: Gateway, upstream: Upstream) -> None:
    assert gateway.complete(echo=True).texts == [PROMPT + text_of(PROMPT)]


def test_non_ascii_text_comes_through(gateway: Gateway, upstream: Upstream) -> None:
    text = '漢字 🦊 é \u2028 \u0000 \\ "'
    body = json.dumps(completion(choice(text=text)), ensure_ascii=False).encode()
    upstream.on("native", saying(body))
    assert gateway.complete().texts == [text]


def test_a_long_answer_comes_whole(gateway: Gateway, upstream: Upstream) -> None:
    text = PRIVATE * 500_000
    upstream.on("native", saying(completion(choice(text=text))))
    assert gateway.complete().texts == [text]


def test_a_chunked_upstream_answer_comes_whole(gateway: Gateway, upstream: Upstream) -> None:
    async def chunked(request, wire):
        body = json.dumps(completion()).encode()
        await wire.send(
            b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for byte in body:
            await wire.packet(bytes([byte]))
        await wire.end_stream()

    upstream.on("native", chunked)
    assert gateway.complete().texts == [PRIVATE]


def test_created_is_the_time_where_the_upstream_has_none(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", saying(without(completion(), "created")))
    assert abs(gateway.complete().document["created"] - time.time()) < 60


@pytest.mark.parametrize("name", ["completions", "Completions"])
def test_paths_are_exact(gateway: Gateway, name: str) -> None:
    body = json.dumps({"model": "native", "prompt": PROMPT}).encode()
    kind = {"content-type": "application/json"}
    reply = gateway.ask("POST", f"/v1/{name}", KEY, kind, body)
    assert reply.status == (200 if name == "completions" else 404)


def test_an_unknown_path_is_a_404_in_the_envelope(gateway: Gateway) -> None:
    reply = gateway.get("/v2/completions")
    assert reply.status == 404
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == "not_found"
