"""A plain chat answer: passed on as it is, mended, or refused."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.errors import UpstreamInvalid
from app.core.reply import Answer
from app.core.usage import Usage
from app.openai.chat.answer import read_answer
from tests.app.openai.chat.chatting import NOW, answer, request

CALL = {"id": "c1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}}


def read(document: Any, **asked: Any) -> Answer:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return read_answer(body, request(**asked), "asked", NOW)


def mended(document: Any, **asked: Any) -> dict[str, Any]:
    found: dict[str, Any] = orjson.loads(read(document, **asked).body)
    return found


@pytest.mark.parametrize(
    "message",
    [
        {"content": "Hello"},
        {"content": "Grüße", "refusal": None, "annotations": []},
        {"tool_calls": [CALL, CALL | {"id": "c2"}]},
        {"content": "4", "reasoning_content": "2 + 2"},
        {"content": None, "refusal": "No."},
        {"content": None, "audio": {"id": "a", "data": "AAAA", "transcript": "t", "expires_at": 1}},
    ],
)
def test_a_clean_answer_is_passed_on_byte_for_byte(message: dict[str, Any]) -> None:
    body = b" " + orjson.dumps(answer(message, system_fingerprint="f"))
    assert read(body) == Answer(body, "m-1", Usage(3, 2))


def test_usage_details_are_kept() -> None:
    details = {"completion_tokens_details": {"reasoning_tokens": 2}}
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5} | details
    assert mended(answer({"content": "a"}, usage=usage, id="x"))["usage"] == usage


def test_the_envelope_is_mended() -> None:
    found = mended({"choices": [{"message": {"content": "Hi"}}], "created": 5.5})
    assert found["id"] == f"chatcmpl-{NOW}"
    assert (found["object"], found["created"], found["model"]) == ("chat.completion", 5, "asked")
    assert found["choices"][0] == {
        "message": {"content": "Hi", "role": "assistant"},
        "index": 0,
        "finish_reason": None,
    }
    assert found["usage"] == {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}


def test_an_answer_without_usage_is_estimated_with_its_tool_calls() -> None:
    document = answer({"tool_calls": [CALL]})
    del document["usage"]
    usage = read(document).usage
    assert usage.estimated
    assert usage.completion_tokens > 10


def test_choices_come_in_their_order() -> None:
    document = answer({"content": "a"}, {"content": "b"})
    document["choices"].reverse()
    found = mended(document, n=2)
    assert [choice["message"]["content"] for choice in found["choices"]] == ["a", "b"]


def test_content_in_parts_becomes_text() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "thinking"}, {"type": "text", "text": "b"}]
    assert mended(answer({"content": parts}))["choices"][0]["message"]["content"] == "ab"


def test_tool_calls_get_id_kind_and_arguments_as_text() -> None:
    calls = [{"function": {"name": "a", "arguments": {"b": 1}}}, {"function": {"name": "c"}}]
    assert mended(answer({"tool_calls": calls}))["choices"][0]["message"]["tool_calls"] == [
        {"id": "call_1_0_0", "type": "function", "function": {"name": "a", "arguments": '{"b":1}'}},
        {"id": "call_1_0_1", "type": "function", "function": {"name": "c", "arguments": "{}"}},
    ]


REFUSED: list[Any] = [
    b"not json",
    [],
    {},
    {"error": {"message": "no"}, "choices": []},
    answer(),
    {"choices": [{}]},
    {"choices": [{"message": "Hi"}]},
    answer({"content": 5}),
    answer({"content": ["a", {"text": 1}]}),
    answer({"tool_calls": {}}),
    answer({"tool_calls": ["a"]}),
    answer({"tool_calls": [{"function": "a"}]}),
    answer({"tool_calls": [{"function": {"arguments": "{}"}}]}),
    answer({"content": "a"}, {"content": "b"}),
    {"choices": [{"message": {"content": "a"}, "index": 1}]},
    {"choices": [{"message": {"content": "a"}, "index": "0"}]},
    {"choices": [{"message": {"content": "a"}, "finish_reason": 1}]},
    {"choices": [{"message": {"content": "a"}, "logprobs": "a"}]},
]


@pytest.mark.parametrize("document", REFUSED)
def test_what_cannot_be_read_is_refused(document: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        read(document)


def test_two_choices_of_one_index_are_refused() -> None:
    document = answer({"content": "a"}, {"content": "b"})
    document["choices"][1]["index"] = 0
    with pytest.raises(UpstreamInvalid):
        read(document, n=2)


def test_a_server_that_ignores_n_has_answered_all_the_same() -> None:
    assert len(mended(answer({"content": "a"}), n=3)["choices"]) == 1
