"""Mistral's requests and answers, beside the recordings (``translation/test_recordings.py``).

Fill-in-the-middle follows the example of https://docs.mistral.ai/api (endpoint
``/v1/fim/completions``); there is no recording of it.
"""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import UpstreamInvalid
from app.providers.mistral.answer import finish_reason
from app.providers.mistral.request import call_id
from app.providers.mistral.translation import MistralTranslation
from tests.app.providers.translation.asking import CONVERSATION, WEATHER, asked, refused
from tests.harness.recordings import joined

TRANSLATION = MistralTranslation()
FIM = {
    "id": "5b35cc2e69bf4ba9a11373ee1f1937f8",
    "object": "chat.completion",
    "created": 1702256327,
    "model": "codestral-latest",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": " add(a, b):", "tool_calls": None},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 8, "completion_tokens": 9, "total_tokens": 17},
}


def body(**members):
    return orjson.loads(TRANSLATION.prepare(asked(**members)).body)


def test_chat_is_the_callers_with_the_providers_names():
    made = body(
        max_completion_tokens=5, seed=3, temperature=1.5, stop=["x"], n=2, stream=True,
        stream_options={"include_usage": True}, tools=[WEATHER], tool_choice="required",
        presence_penalty=0, response_format={"type": "json_object"},
    )  # fmt: skip
    assert made == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "temperature": 1.5,
        "stop": ["x"],
        "max_tokens": 5,
        "random_seed": 3,
        "stream": True,
        "n": 2,
        "response_format": {"type": "json_object"},
        "tools": [WEATHER],
        "tool_choice": "required",
    }


def test_ids_of_tool_calls_get_the_form_that_the_api_demands_and_still_agree():
    messages = body(messages=CONVERSATION)["messages"]
    (call,) = messages[2]["tool_calls"]
    assert len(call["id"]) == 9
    assert call["id"].isalnum()
    assert messages[3]["tool_call_id"] == call["id"]
    assert messages[4]["role"] == "system"
    assert call_id("FI5qQGzDE") == "FI5qQGzDE"


def test_what_cannot_be_honoured_is_refused_by_name():
    members = {"logprobs": True, "logit_bias": {"1": 1}, "user": "u", "temperature": 1.6}
    file = {"type": "file", "file": {"file_data": "data:application/pdf;base64,QQ=="}}
    messages = [{"role": "user", "content": [file], "name": "Ann"}]
    assert refused(TRANSLATION, messages=messages, **members) == [
        "logprobs", "logit_bias", "user", "messages[0].name", "messages[0].content[0]", "temperature",
    ]  # fmt: skip


def test_a_suffix_goes_to_fill_in_the_middle():
    prepared = TRANSLATION.prepare(
        asked("completions", prompt="def", suffix="return a + b", max_tokens=64, seed=1)
    )
    assert prepared.path == "/fim/completions"
    assert orjson.loads(prepared.body) == {
        "model": "m",
        "prompt": "def",
        "suffix": "return a + b",
        "max_tokens": 64,
        "random_seed": 1,
    }


def test_fill_in_the_middle_takes_one_text_and_no_more():
    members = {"prompt": ["a", "b"], "suffix": "c", "echo": True, "logprobs": 1, "n": 2}
    assert refused(TRANSLATION, operation="completions", **members) == [
        "echo", "logprobs", "n", "prompt",
    ]  # fmt: skip


def test_fill_in_the_middle_answers_as_a_completion():
    made = TRANSLATION.answer(asked("completions", prompt="def"), orjson.dumps(FIM))
    assert made["object"] == "text_completion"
    assert made["choices"] == [
        {"index": 0, "text": " add(a, b):", "logprobs": None, "finish_reason": "stop"}
    ]
    assert made["usage"]["total_tokens"] == 17


def test_fill_in_the_middle_streams_as_a_completion():
    deltas = [("", None), (" add", None), ("", "model_length")]
    events = [
        FIM
        | {
            "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": reason}],
            "usage": None,
        }
        for text, reason in deltas
    ]
    translator = TRANSLATION.translator(asked("completions", prompt="def", stream=True), 1 << 20)
    data = b"".join(b"data: %s\n\n" % orjson.dumps(event) for event in events)
    chunks = translator.take(data + b"data: [DONE]\n\n")
    assert [chunk["choices"][0]["text"] for chunk in chunks] == ["", " add", ""]
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert translator.done


def test_the_models_length_is_a_length_and_its_error_no_answer():
    assert finish_reason("model_length") == "length"
    assert finish_reason("tool_calls") == "tool_calls"
    with pytest.raises(UpstreamInvalid):
        finish_reason("error")


def test_a_content_list_in_a_stream_is_text_and_thought():
    thinking = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm"}]}
    deltas = [
        {"role": "assistant", "content": [thinking]},
        {"content": [{"type": "text", "text": "A"}]},
    ]
    translator = TRANSLATION.translator(asked(stream=True), 1 << 20)
    chunks = []
    for delta in deltas:
        choice = {"index": 0, "delta": delta, "finish_reason": None}
        chunks += translator.take(b"data: %s\n\n" % orjson.dumps({"choices": [choice]}))
    seen = joined(chunks)["choices"][0]
    assert (seen["reasoning"], seen["content"]) == ("Hm", "A")
