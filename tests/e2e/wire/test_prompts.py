"""The four forms of a prompt, and messages in place of one."""

from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream

GOOD = [
    "",
    "one",
    [""],
    ["one"],
    ["one", "two", "three"],
    [1],
    [0, 5, 2**31],
    [[1]],
    [[1, 2], [3]],
    ["x"] * 2048,
    [[7]] * 2048,
    list(range(5000)),
]

BAD = [
    [],
    [[]],
    [[1], []],
    [-1],
    [1, -1],
    [[1, 2], [3, -4]],
    [1.5],
    [[1.0]],
    [True],
    [None],
    [[None]],
    ["a", 1],
    ["a", [1]],
    [1, [1]],
    ["a", None],
    [{"text": "a"}],
    [["a"]],
    [[[1]]],
    ["x"] * 2049,
    [[7]] * 2049,
]


@pytest.mark.parametrize("prompt", GOOD, ids=lambda value: str(value)[:20])
def test_a_prompt_is_forwarded_as_it_is(gateway: Gateway, upstream: Upstream, prompt: Any) -> None:
    reply = gateway.complete(prompt=prompt)
    assert reply.status == 200
    assert upstream.request.document["prompt"] == prompt


@pytest.mark.parametrize("prompt", BAD, ids=lambda value: str(value)[:20])
def test_a_malformed_prompt_is_refused(gateway: Gateway, upstream: Upstream, prompt: Any) -> None:
    reply = gateway.complete(prompt=prompt)
    assert (reply.status, reply.error["param"]) == (400, "prompt")
    assert upstream.requests == []


def test_a_prompt_keeps_its_white_space_and_its_unicode(
    gateway: Gateway, upstream: Upstream
) -> None:
    prompt = " \r\n\tcafe\u0301 é 漢字 🦊 \u0000 \u2028 \ufeff \n "
    reply = gateway.complete(prompt=prompt)
    assert upstream.request.document["prompt"] == prompt
    assert reply.texts == [text_of(prompt)]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "prompt", [["a", "b", "c"], [[1, 2], [3]]], ids=["strings", "lists of ids"]
)
def test_choices_of_several_prompts_follow_the_index_rule(
    gateway: Gateway, prompt: Any, stream: bool
) -> None:
    reply = gateway.complete(prompt=prompt, n=2, stream=stream)
    expected = {2 * p + i: text_of(prompt[p], i) for p in range(len(prompt)) for i in range(2)}
    if stream:
        assert reply.streamed_texts() == expected
    else:
        choices = reply.document["choices"]
        assert [choice["index"] for choice in choices] == list(range(len(expected)))
        assert {choice["index"]: choice["text"] for choice in choices} == expected


def test_one_list_of_ids_is_one_prompt(gateway: Gateway) -> None:
    assert gateway.complete(prompt=[1, 2, 3]).texts == [text_of([1, 2, 3])]


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    "content",
    ["hi", [{"type": "text", "text": "h"}, {"type": "text", "text": "i"}]],
    ids=["text", "parts"],
)
def test_one_user_message_is_a_native_models_prompt(
    gateway: Gateway, upstream: Upstream, content: Any, stream: bool
) -> None:
    messages = [{"role": "user", "content": content}]
    reply = gateway.complete(prompt=None, messages=messages, stream=stream)
    assert reply.status == 200
    assert upstream.request.document["prompt"] == "hi"
    assert "messages" not in upstream.request.document
    assert upstream.request.target == "/v1/completions"


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "be brief"}, {"role": "user", "content": "hi"}],
        [{"role": "user", "content": "hi"}, {"role": "user", "content": "hi"}],
        [{"role": "assistant", "content": "hi"}],
        [
            {
                "role": "user",
                "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,"}}],
            }
        ],
    ],
    ids=["system", "two", "assistant", "image"],
)
def test_a_conversation_is_not_flattened_for_a_native_model(
    gateway: Gateway, upstream: Upstream, messages: Any
) -> None:
    reply = gateway.complete(prompt=None, messages=messages)
    assert reply.status == 400
    assert reply.error["code"] == "unsupported_parameter"
    assert reply.error["param"] == "messages"
    assert upstream.requests == []


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ({}, "messages"),
        ("hi", "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "hi"}], "messages[0].role"),
        ([{"role": "wizard", "content": "hi"}], "messages[0].role"),
        ([{"role": ["user"], "content": "hi"}], "messages[0].role"),
        ([{"role": {"a": 1}, "content": "hi"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 5}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content"),
        ([{"role": "user", "content": [{"text": "hi"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        (
            [{"role": "user", "content": "hi"}, {"role": "user", "content": 5}],
            "messages[1].content",
        ),
    ],
)
@pytest.mark.parametrize("model", ["native", "chat"])
def test_malformed_messages_are_refused_where_they_are_wrong(
    gateway: Gateway, model: str, messages: Any, param: str
) -> None:
    reply = gateway.complete(model=model, prompt=None, messages=messages)
    assert reply.status == 400
    assert reply.error["param"] == param


def test_token_ids_are_not_counted_as_zero_tokens(gateway: Gateway, upstream: Upstream) -> None:
    async def no_usage(request, wire):
        await wire.answer(
            {"choices": [{"text": PRIVATE, "index": i, "finish_reason": "stop"} for i in range(2)]}
        )

    upstream.on("native", no_usage)
    usage = gateway.complete(prompt=[[1, 2, 3], [4, 5, 6, 7]]).document["usage"]
    assert usage["prompt_tokens"] == 7
