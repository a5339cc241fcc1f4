"""The traps of Gemini's answers, beside the recordings (``translation/test_recordings.py``).

Examples without a recording follow https://ai.google.dev/api/generate-content#FinishReason.
"""

from __future__ import annotations

import struct
from base64 import b64decode

import orjson
import pytest

from app.core.errors import UpstreamInvalid, UpstreamOverloaded
from app.providers.gemini.answer import answer, finish_reason
from app.providers.gemini.translation import GeminiTranslation
from tests.app.providers.translation.asking import asked
from tests.harness.recordings import joined

CALL = {"functionCall": {"name": "f", "args": {"a": 1}}, "thoughtSignature": "sig"}


def candidate(*parts, reason=None, **members):
    made = {"content": {"role": "model", "parts": list(parts)}} | members
    return made | ({"finishReason": reason} if reason else {})


def streamed(*events):
    translator = GeminiTranslation().translator(asked(stream=True), 1 << 20)
    data = b"".join(b"data: %s\r\n\r\n" % orjson.dumps(event) for event in events)
    return translator.take(data) + translator.end(), translator


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("STOP", "stop"),
        ("MAX_TOKENS", "length"),
        *(
            (reason, "content_filter")
            for reason in (
                "SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE",
                "MODEL_ARMOR", "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT",
            )
        ),
    ],
)  # fmt: skip
def test_every_finish_reason_has_its_word(theirs, ours):
    assert finish_reason(theirs, calls=False) == ours


def test_a_stop_with_a_function_call_is_a_tool_call():
    whole = orjson.dumps({"responseId": "r", "candidates": [candidate(CALL, reason="STOP")]})
    choice = answer(asked(), whole)["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == [
        {
            "id": "call_hg_r_1",
            "type": "function",
            "function": {"name": "f", "arguments": '{"a":1}'},
            "extra_content": {"google": {"thought_signature": "sig"}},
        }
    ]


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "OTHER", "?"]
)
def test_a_failure_of_the_model_is_no_stop(reason):
    whole = {"candidates": [candidate(reason=reason)]}
    with pytest.raises(UpstreamInvalid):
        answer(asked(), orjson.dumps(whole))
    _, translator = streamed(whole)
    assert isinstance(translator.broken, UpstreamInvalid)


def test_counts_that_chunks_restate_are_never_summed_and_what_the_last_leaves_out_stays():
    # As in the recording with 15 and then 13 prompt tokens.
    chunks, _ = streamed(
        {
            "candidates": [candidate({"text": "a"})],
            "usageMetadata": {"promptTokenCount": 15, "thoughtsTokenCount": 40},
        },
        {
            "candidates": [candidate({"text": "b"}, reason="STOP")],
            "usageMetadata": {"promptTokenCount": 13, "candidatesTokenCount": 2},
        },
    )
    usage = joined(chunks)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (13, 42)
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 40}


def test_a_finish_reason_on_every_chunk_ends_the_choice_once():
    chunks, translator = streamed(
        *({"candidates": [candidate({"text": text}, reason="STOP")]} for text in "ab")
    )
    assert joined(chunks)["choices"][0]["content"] == "ab"
    assert translator.done


def test_a_blocked_prompt_is_an_empty_choice_of_the_filter():
    event = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": {"promptTokenCount": 12}}
    chunks, translator = streamed(event)
    assert translator.broken is None
    assert joined(chunks)["choices"][0]["finish_reason"] == "content_filter"
    plain = answer(asked(), orjson.dumps(event))
    assert plain["choices"][0]["finish_reason"] == "content_filter"
    assert plain["usage"]["prompt_tokens"] == 12


def test_candidates_are_choices_by_index():
    events = [
        {"candidates": [candidate({"text": "x"}, index=1), candidate({"text": "y"}, index=0)]},
        {
            "candidates": [
                candidate(reason="STOP", index=0),
                candidate(reason="MAX_TOKENS", index=1),
            ]
        },
    ]
    choices = joined(streamed(*events)[0])["choices"]
    assert {i: (c["content"], c["finish_reason"]) for i, c in choices.items()} == {
        0: ("y", "stop"),
        1: ("x", "length"),
    }


def test_a_stream_that_ends_without_a_reason_is_cut():
    _, translator = streamed({"candidates": [candidate({"text": "a"})]})
    assert isinstance(translator.broken, UpstreamInvalid)
    assert not translator.done


def test_an_error_event_breaks_the_stream():
    _, translator = streamed({"error": {"code": 503, "message": "x", "status": "UNAVAILABLE"}})
    assert isinstance(translator.broken, UpstreamOverloaded)


def test_logprobs_are_in_the_chats_shape():
    result = {
        "chosenCandidates": [{"token": "Hi", "logProbability": -0.1}],
        "topCandidates": [{"candidates": [{"token": "Ho", "logProbability": -2}]}],
    }
    whole = {"candidates": [candidate({"text": "Hi"}, reason="STOP", logprobsResult=result)]}
    logprobs = answer(asked(), orjson.dumps(whole))["choices"][0]["logprobs"]
    assert logprobs["content"] == [
        {
            "token": "Hi",
            "logprob": -0.1,
            "bytes": [72, 105],
            "top_logprobs": [{"token": "Ho", "logprob": -2, "bytes": [72, 111]}],
        }
    ]


def test_an_image_that_the_model_made_is_kept():
    part = {"inlineData": {"mimeType": "image/png", "data": "QQ=="}}
    whole = {"candidates": [candidate(part, reason="STOP")]}
    message = answer(asked(), orjson.dumps(whole))["choices"][0]["message"]
    assert message["images"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,QQ=="}}
    ]


def test_a_vector_is_packed_where_base64_is_asked_for():
    data = orjson.dumps({"embeddings": [{"values": [0.5, -2.0]}]})
    made = GeminiTranslation().answer(
        asked("embeddings", input="a", encoding_format="base64"), data
    )
    assert struct.unpack("<2f", b64decode(made["data"][0]["embedding"])) == (0.5, -2.0)
    assert "usage" not in made


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"candidates": [1]}', b'{"candidates": [{}]}'])
def test_an_answer_without_candidates_is_invalid(data):
    with pytest.raises(UpstreamInvalid):
        answer(asked(), data)
