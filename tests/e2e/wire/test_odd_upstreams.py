"""Servers with habits that are not the contract's, whose answers are good all the same."""

import json
from typing import Any

import pytest

from tests.e2e.wire.test_answers import choice, completion, saying
from tests.e2e.wire.test_broken_upstreams import ends_with_an_error, is_upstream_error
from tests.e2e.wire.test_streams import DONE, USAGE, chunk, event, streaming, usage_chunk
from tests.harness.gateway import Gateway
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream

SHAPES = pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])


def chat_chunk(text: str = PRIVATE, index: int = 0, reason: str | None = None) -> dict[str, Any]:
    delta = {"index": index, "delta": {"content": text}, "finish_reason": reason}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [delta]}


def texts(chunks: list[dict[str, Any]]) -> dict[int, str]:
    found: dict[int, str] = {}
    for one in chunks:
        for part in one["choices"]:
            found[part["index"]] = found.get(part["index"], "") + part["text"]
    return found


def reasons(chunks: list[dict[str, Any]]) -> list[str]:
    found = [part["finish_reason"] for one in chunks for part in one["choices"]]
    return [reason for reason in found if reason is not None]


# JSON as Python writes it.


def says(upstream: Upstream, stream: bool, **members: Any) -> None:
    """Answer with a choice as Python's own encoder writes it: NaN bare, half a pair escaped."""
    body = json.dumps(completion(choice(**members))).encode()
    whole = b"data: " + body + b"\n\n"
    upstream.on("native", streaming(whole, DONE) if stream else saying(body))


def only_choice(gateway: Gateway, stream: bool, **fields: Any) -> dict[str, Any]:
    reply = gateway.complete(stream=stream, **fields)
    assert reply.status == 200, reply.body
    document = reply.chunks[0] if stream else reply.document
    [only] = document["choices"]
    return only


@SHAPES
@pytest.mark.parametrize("bare", ["nan", "inf", "-inf"])
def test_a_log_probability_that_is_no_number_is_null(
    gateway: Gateway, upstream: Upstream, stream: bool, bare: str
) -> None:
    number = float(bare)
    logprobs = {
        "tokens": ["a", "b"],
        "token_logprobs": [None, number],
        "top_logprobs": [None, {"b": number, "c": -1.5}],
        "text_offset": [0, 1],
    }
    says(upstream, stream, logprobs=logprobs)
    assert only_choice(gateway, stream, logprobs=2)["logprobs"] == logprobs | {
        "token_logprobs": [None, None],
        "top_logprobs": [None, {"b": None, "c": -1.5}],
    }


@SHAPES
def test_half_a_surrogate_pair_is_a_replacement_character(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    text = f"{PRIVATE} \ud83d and \udd8a and \U0001f98a"
    logprobs = {"tokens": ["\ud83d"], "token_logprobs": [-1.0]}
    says(upstream, stream, text=text, logprobs=logprobs)
    only = only_choice(gateway, stream, logprobs=1)
    assert only["text"] == f"{PRIVATE} \ufffd and \ufffd and \U0001f98a"
    assert only["logprobs"]["tokens"] == ["\ufffd"]


@pytest.mark.parametrize("stream", [False, True], ids=["plain", "streamed"])
def test_a_chat_answer_is_read_as_leniently(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    content = [{"token": "a", "logprob": float("nan"), "top_logprobs": []}]
    part = {"index": 0, "logprobs": {"content": content}, "finish_reason": "stop"}
    said = {"role": "assistant", "content": f"{PRIVATE}\ud83d"}
    part |= {"delta" if stream else "message": said}
    body = json.dumps({"id": "chatcmpl-1", "choices": [part]}).encode()
    whole = b"data: " + body + b"\n\n"
    upstream.on("chatty", streaming(whole, DONE) if stream else saying(body))
    only = only_choice(gateway, stream, model="chat", logprobs=1)
    assert only["text"] == f"{PRIVATE}\ufffd"
    assert only["logprobs"]["token_logprobs"] == [None]


def test_an_answer_that_needed_no_lenience_is_still_byte_for_byte(
    gateway: Gateway, upstream: Upstream
) -> None:
    body = json.dumps(completion(choice(text=f"{PRIVATE} \U0001f98a"))).encode()
    assert b"\\ud83e\\udd8a" in body
    upstream.on("native", saying(body))
    assert gateway.complete().body == body


# Streams that end without a finish reason.


@pytest.mark.parametrize("tail", [[DONE], [usage_chunk(), DONE]], ids=["done", "usage and done"])
def test_a_stream_that_says_done_passes_without_a_finish_reason(
    gateway: Gateway, upstream: Upstream, tail: list[Any]
) -> None:
    upstream.on("native", streaming(chunk("a"), chunk("b"), *tail))
    reply = gateway.complete(stream=True, stream_options={"include_usage": True})
    *chunks, usage = reply.chunks
    assert texts(chunks) == {0: "ab"}
    assert reasons(chunks) == []
    assert usage["usage"]["completion_tokens"] > 0


def test_it_passes_in_one_packet_too(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("native", streaming(event(chunk("a")) + event(chunk("b")) + DONE))
    reply = gateway.complete(stream=True)
    assert texts(reply.chunks) == {0: "ab"}
    assert gateway.line(reply.headers["x-request-id"])["error"] is None


@pytest.mark.parametrize(
    ("packets", "fields"),
    [
        ([chunk("a")], {}),
        ([chunk("a"), usage_chunk()], {}),
        ([chunk("a"), DONE], {"n": 2}),
        ([chunk("a"), chunk("b", index=1), DONE], {"n": 2}),
        ([chunk("a", reason="stop"), chunk("b", index=1), DONE], {"prompt": ["a", "b"]}),
    ],
    ids=["cut", "cut after usage", "n", "n, both begun", "two prompts"],
)
def test_nothing_else_passes_without_one(
    gateway: Gateway, upstream: Upstream, packets: list[Any], fields: dict[str, Any]
) -> None:
    upstream.on("native", streaming(*packets))
    reply = gateway.complete(stream=True, **fields)
    assert reply.status == 502 or ends_with_an_error(reply)


def test_a_chat_stream_that_says_done_has_stopped_as_its_plain_answer_has(
    gateway: Gateway, upstream: Upstream
) -> None:
    message = {"index": 0, "message": {"content": "ab"}, "finish_reason": None}
    upstream.on("chatty", saying({"choices": [message]}))
    plain = gateway.complete(model="chat").document["choices"][0]
    upstream.on("chatty", streaming(chat_chunk("a"), chat_chunk("b"), DONE))
    chunks = gateway.complete(model="chat", stream=True).chunks
    assert texts(chunks) == {0: plain["text"]}
    assert reasons(chunks) == [plain["finish_reason"]]


def test_a_chat_stream_that_is_cut_has_not(gateway: Gateway, upstream: Upstream) -> None:
    upstream.on("chatty", streaming(chat_chunk("a"), chat_chunk("b")))
    reply = gateway.complete(model="chat", stream=True)
    assert reply.status == 502 or ends_with_an_error(reply)


# Servers that number the pieces of one choice.


@pytest.mark.parametrize("model", ["native", "chat"])
def test_numbered_pieces_are_one_choice(gateway: Gateway, upstream: Upstream, model: str) -> None:
    make, name = (chunk, "native") if model == "native" else (chat_chunk, "chatty")
    pieces = [make(text, index) for index, text in enumerate("abcd")]
    upstream.on(name, streaming(*pieces, make("", 4, "stop"), usage_chunk(), DONE))
    chunks = gateway.complete(model=model, stream=True).chunks
    assert texts(chunks) == {0: "abcd"}
    assert reasons(chunks) == ["stop"]


@pytest.mark.parametrize(
    ("packets", "fields"),
    [
        ([chunk("a"), chunk("b", index=1), chunk("c", reason="stop"), DONE], {}),
        ([chunk("a", reason="stop"), chunk("b", index=1, reason="stop"), DONE], {}),
        ([chunk("a"), chunk("b", index=1), chunk("", index=2, reason="stop"), DONE], {"n": 2}),
    ],
    ids=["back to 0", "after the end", "two asked for"],
)
def test_what_may_be_another_choice_is_not_put_in(
    gateway: Gateway, upstream: Upstream, packets: list[Any], fields: dict[str, Any]
) -> None:
    upstream.on("native", streaming(*packets))
    reply = gateway.complete(stream=True, **fields)
    assert reply.status == 502 or ends_with_an_error(reply)


# The size of one event.


def test_the_largest_event_is_a_setting(gateway: Gateway, upstream: Upstream) -> None:
    fits, too_large = "x" * 1500, "x" * 3000
    gate = upstream.gate()

    async def script(request, wire):
        await wire.begin_stream()
        await wire.event(chunk(fits))
        await gate.wait()
        await wire.packet(event(chunk(fits)) + event(chunk(too_large, reason="stop")) + DONE)
        await wire.end_stream()

    upstream.on("small-events", script)
    with gateway.stream(model="small-events") as payloads:
        received = [next(payloads)]
        gate.open()
        received += payloads
    *before, last = map(json.loads, received)
    assert texts(before) == {0: fits * 2}
    assert last["error"]["code"] == "upstream_invalid_response"
    upstream.on("native", script)
    assert texts(gateway.complete(stream=True).chunks) == {0: fits * 2 + too_large}


# A wrong address.

NOT_THERE = {
    "fastapi": {"detail": "Not Found"},
    "nginx": b"<html><head><title>404 Not Found</title></head></html>",
    "llama.cpp": {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}},
    "nothing": b"",
}
NO_MODEL = {
    "object": "error",
    "message": f"The model `{PRIVATE}` does not exist.",
    "type": "NotFoundError",
    "param": None,
    "code": 404,
}


@SHAPES
@pytest.mark.parametrize("model", ["native", "chat"])
@pytest.mark.parametrize("body", NOT_THERE.values(), ids=NOT_THERE.keys())
def test_a_path_that_the_upstream_lacks_is_a_502(
    gateway: Gateway, upstream: Upstream, body: Any, model: str, stream: bool
) -> None:
    for name in ("native", "chatty"):
        upstream.on(name, saying(body, status=404))
    reply = gateway.complete(model=model, stream=stream)
    assert is_upstream_error(reply, 502, "upstream_not_found")
    assert reply.headers["x-should-retry"] == "false"
    assert gateway.line(reply.headers["x-request-id"])["error"] == "upstream_not_found"


@SHAPES
def test_a_model_that_the_upstream_lacks_is_still_a_404(
    gateway: Gateway, upstream: Upstream, stream: bool
) -> None:
    upstream.on("native", saying(NO_MODEL, status=404))
    reply = gateway.complete(stream=stream)
    assert (reply.status, reply.error["type"]) == (404, "invalid_request_error")
    assert "does not exist" in reply.error["message"]


def test_the_operators_log_names_the_url_once_a_minute(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("misplaced", saying({"detail": "Not Found"}, status=404))
    for model in ("misplaced", "misplaced", "misplaced-chat", "misplaced"):
        reply = gateway.complete(model=model)
        assert upstream.address not in reply.body.decode()
        gateway.line(reply.headers["x-request-id"])
    lines = [json.loads(line) for line in gateway.output if "upstream_not_found" in line]
    said = [
        line for line in lines if line["event"] != "request" and line["provider"] == "misplaced"
    ]
    assert [(line["level"], line["event"], line["url"]) for line in said] == [
        ("warning", "upstream_not_found", f"{upstream.base_url}/elsewhere/completions"),
        ("warning", "upstream_not_found", f"{upstream.base_url}/elsewhere/chat/completions"),
    ]


def test_what_a_stream_without_a_finish_reason_used_is_metered(
    gateway: Gateway, upstream: Upstream
) -> None:
    upstream.on("native", streaming(chunk("a"), usage_chunk(), DONE))
    line = gateway.line(gateway.complete(stream=True).headers["x-request-id"])
    assert line["completion_tokens"] == USAGE["completion_tokens"]
    assert line["status"] == 200
