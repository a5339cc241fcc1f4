"""Chat requests in Converse's words; their shapes were checked once with botocore's own validator.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

import orjson
import pytest

from app.providers.bedrock.translation import BedrockTranslation
from tests.app.providers.translation.asking import (
    CONVERSATION,
    PIXEL,
    SCHEMA,
    WEATHER,
    asked,
    refused,
)

TRANSLATION = BedrockTranslation()


def body(**members):
    return orjson.loads(TRANSLATION.prepare(asked(**members)).body)


def test_the_model_stands_in_the_path_encoded_once():
    arn = "arn:aws:bedrock:eu-central-1:123456789012:inference-profile/eu.amazon.nova-lite-v1:0"
    assert TRANSLATION.prepare(asked(model="amazon.nova-lite-v1:0")).path == (
        "/model/amazon.nova-lite-v1%3A0/converse"
    )
    assert TRANSLATION.prepare(asked(model=arn, stream=True)).path == (
        "/model/arn%3Aaws%3Abedrock%3Aeu-central-1%3A123456789012%3A"
        "inference-profile%2Feu.amazon.nova-lite-v1%3A0/converse-stream"
    )


def test_a_conversation_alternates_and_has_its_instructions_apart():
    assert body(messages=CONVERSATION, tools=[WEATHER]) == {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"text": "What is it like there?"},
                    {"image": {"format": "png", "source": {"bytes": PIXEL}}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {
                        "toolUse": {
                            "toolUseId": "call_1",
                            "name": "get_weather",
                            "input": {"city": "Paris"},
                        }
                    }
                ],
            },
            {
                "role": "user",
                "content": [
                    {"toolResult": {"toolUseId": "call_1", "content": [{"text": "Sunny"}]}},
                    {"text": "And tomorrow?"},
                ],
            },
        ],
        "system": [{"text": "Be brief."}, {"text": "Be kind."}],
        "toolConfig": {
            "tools": [
                {
                    "toolSpec": {
                        "name": "get_weather",
                        "inputSchema": {"json": WEATHER["function"]["parameters"]},
                        "description": "Get the weather.",
                    }
                }
            ]
        },
    }


def test_members_go_under_the_providers_names():
    wanted = {"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}}
    made = body(
        max_tokens=9, max_completion_tokens=5, temperature=0.5, top_p=0.9, stop="X",
        tools=[WEATHER], tool_choice="required", response_format=wanted, user="u",
        metadata={"team": "a"}, service_tier="flex",
    )  # fmt: skip
    assert made["inferenceConfig"] == {
        "maxTokens": 5,
        "temperature": 0.5,
        "topP": 0.9,
        "stopSequences": ["X"],
    }
    assert made["toolConfig"]["toolChoice"] == {"any": {}}
    described = {"schema": orjson.dumps(SCHEMA).decode(), "name": "x"}
    assert made["outputConfig"] == {
        "textFormat": {"type": "json_schema", "structure": {"jsonSchema": described}}
    }
    assert made["requestMetadata"] == {"team": "a", "user": "u"}
    assert made["serviceTier"] == {"type": "flex"}


@pytest.mark.parametrize(
    ("model", "made"),
    [
        (
            "us.anthropic.claude-sonnet-4-20250514-v1:0",
            {"thinking": {"type": "enabled", "budget_tokens": 1024}},
        ),
        (
            "us.anthropic.claude-opus-4-6-v1",
            {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}},
        ),
        ("openai.gpt-oss-120b-1:0", {"reasoning_effort": "low"}),
        (
            "us.amazon.nova-2-lite-v1:0",
            {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}},
        ),
    ],
)
def test_effort_goes_under_each_makers_name(model, made):
    sent = body(model=model, reasoning_effort="low")
    assert sent["additionalModelRequestFields"] == made


def test_documents_have_unique_names_and_prompt_cache_marks_are_points():
    pdf = {"filename": "a_b.pdf", "file_data": "data:application/pdf;base64,QQ=="}
    parts = [
        {"type": "text", "text": "Long", "cache_control": {"type": "ephemeral"}},
        {"type": "file", "file": pdf},
        {"type": "file", "file": pdf},
    ]
    made = body(messages=[{"role": "user", "content": parts}])["messages"][0]["content"]
    assert made[1] == {"cachePoint": {"type": "default"}}
    assert [block["document"]["name"] for block in made[2:]] == ["a b", "a b 2"]


def test_what_cannot_be_honoured_is_refused_by_name():
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}
    assert refused(
        TRANSLATION,
        messages=[{"role": "user", "content": [image]}],
        n=2,
        seed=1,
        logprobs=True,
        tools=[WEATHER],
        tool_choice="none",
        parallel_tool_calls=False,
        response_format={"type": "json_object"},
        reasoning_effort="low",
        metadata={"a": 1},
    ) == [
        "n",
        "seed",
        "logprobs",
        "parallel_tool_calls",
        "messages[0].content[0]",
        "tool_choice",
        "response_format",
        "reasoning_effort",
        "metadata.a",
    ]
