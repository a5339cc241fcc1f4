"""The traps of Anthropic's answers. Beside the recordings (``translation/test_recordings.py``) stand
examples of https://docs.anthropic.com/en/api/messages-streaming, written out here."""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import UpstreamAuth, UpstreamInvalid, UpstreamOverloaded
from app.providers.anthropic.answer import answer, finish_reason, usage_of
from app.providers.anthropic.translation import AnthropicTranslation
from tests.app.providers.translation.asking import asked
from tests.harness.recordings import joined

START = {
    "type": "message_start",
    "message": {
        "id": "msg_1",
        "model": "claude",
        "usage": {"input_tokens": 25, "output_tokens": 1, "cache_read_input_tokens": 10},
    },
}
STOP = {"type": "message_stop"}


def ended(reason, **usage):
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": usage}


def streamed(*events):
    translator = AnthropicTranslation().translator(asked(stream=True), 1 << 20)
    data = b"".join(
        b"event: %s\ndata: %s\n\n" % (event["type"].encode(), orjson.dumps(event))
        for event in events
    )
    chunks = translator.take(data) + translator.end()
    return chunks, translator


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("refusal", "content_filter"),
    ],
)
def test_every_stop_reason_has_its_word(theirs, ours):
    assert finish_reason(theirs) == ours


def test_prompt_tokens_are_those_read_from_and_written_to_the_prompt_cache_too():
    said = {
        "input_tokens": 4,
        "cache_creation_input_tokens": 100,
        "cache_read_input_tokens": 1165,
        "output_tokens": 7,
    }
    assert usage_of(said) == {
        "prompt_tokens": 1269,
        "completion_tokens": 7,
        "total_tokens": 1276,
        "prompt_tokens_details": {"cached_tokens": 1165, "cache_write_tokens": 100},
    }


def test_iterations_are_summed_because_that_is_billed():
    # As in the recording pydantic-ai/test_anthropic/test_anthropic_advisor_tool_stream.
    said = {
        "input_tokens": 2411,
        "output_tokens": 145,
        "iterations": [
            {"input_tokens": 1128, "output_tokens": 135},
            {"input_tokens": 2543, "output_tokens": 18},
            {"input_tokens": 1283, "output_tokens": 10},
        ],
    }
    assert (usage_of(said)["prompt_tokens"], usage_of(said)["completion_tokens"]) == (4954, 163)


def test_the_last_word_on_usage_counts_and_what_it_leaves_out_stays():
    chunks, _ = streamed(
        START, ended(None, output_tokens=5), ended("end_turn", output_tokens=15), STOP
    )
    usage = joined(chunks)["usage"]
    assert (usage["prompt_tokens"], usage["completion_tokens"]) == (35, 15)


def test_a_tool_without_arguments_has_an_empty_object():
    tool = {"type": "tool_use", "id": "toolu_1", "name": "now", "input": {}}
    chunks, _ = streamed(
        START,
        {"type": "content_block_start", "index": 0, "content_block": tool},
        {
            "type": "content_block_delta",
            "index": 0,
            "delta": {"type": "input_json_delta", "partial_json": ""},
        },
        {"type": "content_block_stop", "index": 0},
        ended("tool_use", output_tokens=5),
        STOP,
    )
    choice = joined(chunks)["choices"][0]
    assert choice["calls"] == {0: {"name": "now", "arguments": "{}"}}
    assert choice["finish_reason"] == "tool_calls"


def test_the_providers_own_tools_are_not_the_callers():
    search = {"type": "server_tool_use", "id": "srvtoolu_1", "name": "web_search", "input": {}}
    part = {"type": "input_json_delta", "partial_json": '{"query": "x"}'}
    chunks, _ = streamed(
        START,
        {"type": "content_block_start", "index": 0, "content_block": search},
        {"type": "content_block_delta", "index": 0, "delta": part},
        {"type": "content_block_stop", "index": 0},
        ended("end_turn"),
        STOP,
    )
    assert joined(chunks)["choices"][0]["calls"] == {}


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("overloaded_error", UpstreamOverloaded),
        ("api_error", UpstreamInvalid),
        ("authentication_error", UpstreamAuth),
        ({"no": "text"}, UpstreamInvalid),
    ],
)
def test_an_error_event_in_a_200_breaks_the_stream_and_keeps_what_is_known_of_usage(kind, error):
    chunks, translator = streamed(START, {"type": "error", "error": {"type": kind, "message": "x"}})
    assert isinstance(translator.broken, error)
    assert not translator.done
    assert translator.usage["prompt_tokens"] == 35
    assert len(chunks) == 1, "what stood before the error is given"


def test_a_stream_without_message_stop_is_cut():
    _, translator = streamed(START, ended("end_turn", output_tokens=5))
    assert isinstance(translator.broken, UpstreamInvalid)


def test_signed_thoughts_come_whole_at_the_end_of_their_block():
    chunks, _ = streamed(
        START,
        {"type": "content_block_start", "index": 0, "content_block": {"type": "thinking"}},
        *(
            {"type": "content_block_delta", "index": 0, "delta": delta}
            for delta in (
                {"type": "thinking_delta", "thinking": "Let "},
                {"type": "thinking_delta", "thinking": "me"},
                {"type": "signature_delta", "signature": "sig"},
            )
        ),
        {"type": "content_block_stop", "index": 0},
        ended("end_turn"),
        STOP,
    )
    details = [c["choices"][0]["delta"].get("reasoning_details") for c in chunks if c["choices"]]
    assert joined(chunks)["choices"][0]["reasoning"] == "Let me"
    assert [d for d in details if d] == [
        [
            {
                "index": 0,
                "type": "reasoning.text",
                "text": "Let me",
                "signature": "sig",
                "format": "anthropic-claude-v1",
            }
        ]
    ]


@pytest.mark.parametrize("data", [b"<html>", b"[]", b"{}", b'{"content": "x"}'])
def test_a_plain_answer_that_is_no_message_is_invalid(data):
    with pytest.raises(UpstreamInvalid):
        answer(asked(), data)
