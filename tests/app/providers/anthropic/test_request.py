"""Chat requests in Anthropic's words. Examples: https://docs.anthropic.com/en/api/messages."""

from __future__ import annotations

import orjson
import pytest

from app.providers.anthropic.translation import AnthropicTranslation
from tests.app.providers.translation.asking import (
    CONVERSATION,
    PIXEL,
    SCHEMA,
    WEATHER,
    asked,
    refused,
)

TRANSLATION = AnthropicTranslation()


def body(**members):
    prepared = TRANSLATION.prepare(asked(**members))
    assert prepared.path == "/messages"
    return orjson.loads(prepared.body)


def test_a_conversation_has_its_instructions_apart_and_its_tool_results_with_the_user():
    made = body(messages=CONVERSATION, tools=[WEATHER], max_tokens=100, model="claude-haiku-4-5")
    assert made == {
        "model": "claude-haiku-4-5",
        "max_tokens": 100,
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "Be kind."}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is it like there?"},
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PIXEL},
                    },
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {
                        "type": "tool_use",
                        "id": "call_1",
                        "name": "get_weather",
                        "input": {"city": "Paris"},
                    }
                ],
            },
            {
                "role": "user",
                "content": [
                    {
                        "type": "tool_result",
                        "tool_use_id": "call_1",
                        "content": [{"type": "text", "text": "Sunny"}],
                    },
                    {"type": "text", "text": "And tomorrow?"},
                ],
            },
        ],
        "tools": [
            {
                "name": "get_weather",
                "description": "Get the weather.",
                "input_schema": WEATHER["function"]["parameters"],
            }
        ],
    }


def test_the_limit_is_the_callers_else_a_modest_one():
    assert body(max_completion_tokens=7, max_tokens=9)["max_tokens"] == 7
    assert body(max_tokens=9)["max_tokens"] == 9
    assert body()["max_tokens"] == 4096


def test_sampling_goes_under_the_providers_names():
    made = body(temperature=0.3, top_p=0.9, top_k=5, stop="X", user="u1", stream=True)
    assert made["temperature"] == 0.3
    assert (made["top_p"], made["top_k"]) == (0.9, 5)
    assert made["stop_sequences"] == ["X"]
    assert made["metadata"] == {"user_id": "u1"}
    assert made["stream"] is True


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"type": "auto"}),
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        (
            {"type": "function", "function": {"name": "get_weather"}},
            {"type": "tool", "name": "get_weather"},
        ),
    ],
)
def test_a_tool_choice_has_a_word(choice, made):
    assert body(tools=[WEATHER], tool_choice=choice)["tool_choice"] == made


def test_one_tool_at_a_time_is_said_with_the_choice():
    made = body(tools=[WEATHER], parallel_tool_calls=False)
    assert made["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}


def test_a_schema_is_the_output_format():
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    made = body(response_format=wanted)
    assert made["output_config"] == {"format": {"type": "json_schema", "schema": SCHEMA}}


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("claude-3-7-sonnet-20250219", {"type": "enabled", "budget_tokens": 2048}),
        ("claude-haiku-4-5-20251001", {"type": "enabled", "budget_tokens": 2048}),
        ("claude-opus-4-6", {"type": "adaptive"}),
        ("claude-sonnet-5", {"type": "adaptive"}),
    ],
)
def test_effort_is_a_budget_or_since_4_6_an_effort(model, expected):
    made = body(model=model, reasoning_effort="medium", max_tokens=5000)
    assert made["thinking"] == expected
    assert ("output_config" in made) == (expected["type"] == "adaptive")


def test_thoughts_of_an_earlier_answer_go_back_with_their_signatures():
    details = [
        {"type": "reasoning.text", "text": "Hm", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz"},
    ]
    said = {"role": "assistant", "content": "Yes", "reasoning_details": details}
    made = body(messages=[{"role": "user", "content": "?"}, said])
    assert made["messages"][1]["content"] == [
        {"type": "thinking", "thinking": "Hm", "signature": "sig"},
        {"type": "redacted_thinking", "data": "xyz"},
        {"type": "text", "text": "Yes"},
    ]


def test_a_prompt_cache_mark_and_a_pdf_and_an_image_by_address_are_passed_on():
    parts = [
        {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}},
        {
            "type": "file",
            "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,QQ=="},
        },
        {"type": "image_url", "image_url": {"url": "https://example.com/a.png", "detail": "auto"}},
    ]
    made = body(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert made[0]["cache_control"] == {"type": "ephemeral"}
    assert made[1]["source"]["media_type"] == "application/pdf"
    assert made[2]["source"] == {"type": "url", "url": "https://example.com/a.png"}


def test_what_cannot_be_honoured_is_refused_by_name():
    assert refused(
        TRANSLATION,
        n=2,
        seed=1,
        logprobs=True,
        top_logprobs=2,
        presence_penalty=0.5,
        frequency_penalty=-1,
        logit_bias={"1": 5},
        temperature=1.2,
        response_format={"type": "json_object"},
        guided_json={"type": "object"},
    ) == [
        "n", "seed", "logprobs", "top_logprobs", "presence_penalty", "frequency_penalty",
        "logit_bias", "guided_json", "temperature", "response_format",
    ]  # fmt: skip


def test_what_asks_for_no_more_than_happens_anyway_is_taken():
    made = body(
        n=1, logprobs=False, presence_penalty=0, frequency_penalty=0.0, logit_bias={}, store=False,
        seed=None, response_format={"type": "text"}, modalities=["text"], service_tier="auto",
    )  # fmt: skip
    assert set(made) == {"model", "max_tokens", "messages"}


def test_messages_that_cannot_be_translated_are_refused_by_place():
    sound = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}}
    broken = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{"}}
    assert refused(
        TRANSLATION,
        messages=[
            {"role": "user", "content": [sound], "name": "Ann"},
            {"role": "assistant", "tool_calls": [broken]},
            {"role": "function", "name": "f", "content": "x"},
        ],
    ) == [
        "messages[0].name",
        "messages[1].tool_calls[0].function.arguments",
        "messages[2].role",
        "messages[0].content[0]",
    ]
