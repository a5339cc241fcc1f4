"""Chat and embeddings requests in Gemini's words. Examples: https://ai.google.dev/api."""

from __future__ import annotations

import orjson
import pytest

from app.providers.gemini.translation import GeminiTranslation
from tests.app.providers.translation.asking import (
    CONVERSATION,
    PIXEL,
    SCHEMA,
    WEATHER,
    asked,
    refused,
)

TRANSLATION = GeminiTranslation()


def body(**members):
    return orjson.loads(TRANSLATION.prepare(asked(**members)).body)


def test_the_call_stands_in_the_path():
    assert TRANSLATION.prepare(asked(model="gemini-2.5-pro")).path == (
        "/models/gemini-2.5-pro:generateContent"
    )
    assert TRANSLATION.prepare(asked(model="tunedModels/mine", stream=True)).path == (
        "/tunedModels/mine:streamGenerateContent?alt=sse"
    )


def test_a_conversation_has_its_instruction_apart_and_names_its_results():
    made = body(messages=CONVERSATION, tools=[WEATHER])
    assert made == {
        "contents": [
            {
                "role": "user",
                "parts": [
                    {"text": "What is it like there?"},
                    {"inlineData": {"mimeType": "image/png", "data": PIXEL}},
                ],
            },
            {
                "role": "model",
                "parts": [
                    {
                        "functionCall": {
                            "name": "get_weather",
                            "args": {"city": "Paris"},
                            "id": "call_1",
                        }
                    }
                ],
            },
            {
                "role": "user",
                "parts": [
                    {
                        "functionResponse": {
                            "name": "get_weather",
                            "response": {"output": "Sunny"},
                            "id": "call_1",
                        }
                    },
                    {"text": "And tomorrow?"},
                ],
            },
        ],
        "systemInstruction": {"parts": [{"text": "Be brief."}, {"text": "Be kind."}]},
        "tools": [
            {
                "functionDeclarations": [
                    {
                        "name": "get_weather",
                        "parametersJsonSchema": WEATHER["function"]["parameters"],
                        "description": "Get the weather.",
                    }
                ]
            }
        ],
    }


def test_the_configuration_has_the_providers_names():
    made = body(
        max_completion_tokens=5, temperature=1.5, top_p=0.5, top_k=3, n=2, stop=["a", "b"], seed=7,
        presence_penalty=1, frequency_penalty=-1, logprobs=True, top_logprobs=3,
        response_format={"type": "json_schema", "json_schema": {"name": "x", "schema": SCHEMA}},
    )  # fmt: skip
    assert made["generationConfig"] == {
        "temperature": 1.5,
        "topP": 0.5,
        "topK": 3,
        "seed": 7,
        "presencePenalty": 1,
        "frequencyPenalty": -1,
        "candidateCount": 2,
        "maxOutputTokens": 5,
        "stopSequences": ["a", "b"],
        "responseLogprobs": True,
        "logprobs": 3,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
    }


def test_a_json_object_is_a_media_type():
    made = body(response_format={"type": "json_object"})
    assert made["generationConfig"] == {"responseMimeType": "application/json"}


@pytest.mark.parametrize(
    ("choice", "made"),
    [
        ("auto", {"mode": "AUTO"}),
        ("none", {"mode": "NONE"}),
        ("required", {"mode": "ANY"}),
        (
            {"type": "function", "function": {"name": "f"}},
            {"mode": "ANY", "allowedFunctionNames": ["f"]},
        ),
    ],
)
def test_a_tool_choice_is_a_mode(choice, made):
    config = body(tools=[WEATHER], tool_choice=choice)["toolConfig"]
    assert config == {"functionCallingConfig": made}


@pytest.mark.parametrize(
    ("model", "effort", "made"),
    [
        ("gemini-2.5-flash", "none", {"thinkingBudget": 0}),
        ("gemini-2.5-flash", "high", {"thinkingBudget": 24576, "includeThoughts": True}),
        ("gemini-3-pro-preview", "low", {"thinkingLevel": "low", "includeThoughts": True}),
    ],
)
def test_effort_is_a_budget_or_since_3_a_level(model, effort, made):
    config = body(model=model, reasoning_effort=effort)["generationConfig"]
    assert config == {"thinkingConfig": made}


def call(signature=None, call_id="call_hg_r_1"):
    made = {"id": call_id, "type": "function", "function": {"name": "f", "arguments": "{}"}}
    if signature:
        made["extra_content"] = {"google": {"thought_signature": signature}}
    return made


@pytest.mark.parametrize(
    ("model", "signature", "sent"),
    [
        ("gemini-2.5-pro", None, None),
        ("gemini-2.5-pro", "sig", "sig"),
        ("gemini-3-pro-preview", "sig", "sig"),
        ("gemini-3-pro-preview", None, "skip_thought_signature_validator"),
    ],
)
def test_a_thought_signature_goes_back_with_its_call(model, signature, sent):
    said = {"role": "assistant", "content": None, "tool_calls": [call(signature)]}
    made = body(model=model, messages=[{"role": "user", "content": "?"}, said])
    part = made["contents"][1]["parts"][0]
    assert part.get("thoughtSignature") == sent
    assert "id" not in part["functionCall"], "an id of our own means nothing to the provider"


def test_sound_and_images_by_address_are_parts():
    parts = [
        {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "https://example.com/a.webp?x=1"}},
    ]
    made = body(messages=[{"role": "user", "content": parts}])["contents"][0]["parts"]
    assert made == [
        {"inlineData": {"mimeType": "audio/wav", "data": "QQ=="}},
        {"fileData": {"mimeType": "image/webp", "fileUri": "https://example.com/a.webp?x=1"}},
    ]


def test_what_cannot_be_honoured_is_refused_by_name():
    flac = {"type": "input_audio", "input_audio": {"data": "QQ==", "format": "flac"}}
    image = {"type": "image_url", "image_url": {"url": "https://e.com/a.png", "detail": "low"}}
    assert refused(
        TRANSLATION,
        messages=[{"role": "user", "content": [flac, image]}],
        logit_bias={"1": 2},
        parallel_tool_calls=False,
        user="u",
        n=9,
        reasoning_effort="xhigh",
    ) == [
        "logit_bias",
        "parallel_tool_calls",
        "user",
        "messages[0].content[1].image_url.detail",
        "messages[0].content[0].input_audio.format",
        "n",
        "reasoning_effort",
    ]


def test_embeddings_are_asked_in_one_batch():
    prepared = TRANSLATION.prepare(
        asked("embeddings", model="gemini-embedding-001", input=["a", "b"], dimensions=8)
    )
    assert prepared.path == "/models/gemini-embedding-001:batchEmbedContents"
    assert orjson.loads(prepared.body) == {
        "requests": [
            {
                "model": "models/gemini-embedding-001",
                "content": {"parts": [{"text": text}]},
                "outputDimensionality": 8,
            }
            for text in "ab"
        ]
    }


def test_token_ids_cannot_be_embedded():
    assert refused(TRANSLATION, operation="embeddings", input=[1, 2], user="u") == ["user", "input"]
