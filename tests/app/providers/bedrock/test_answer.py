"""The traps of Converse's answers, beside the recordings (``translation/test_recordings.py``).

Examples without a recording follow the API reference of ConverseStream.
"""

from __future__ import annotations

import orjson
import pytest

from app.core.errors import UpstreamInvalid, UpstreamOverloaded
from app.providers.bedrock.answer import finish_reason, usage_of
from app.providers.bedrock.translation import BedrockTranslation
from tests.app.providers.bedrock.test_event_stream import frame, text_header
from tests.app.providers.translation.asking import asked
from tests.harness.recordings import joined


def event(kind, **payload):
    headers = text_header(":event-type", kind) + text_header(":message-type", "event")
    return frame(headers, orjson.dumps(payload))


def streamed(*frames):
    translator = BedrockTranslation().translator(asked(stream=True), 1 << 20)
    return translator.take(b"".join(frames)) + translator.end(), translator


START = event("messageStart", role="assistant")
TEXT = event("contentBlockDelta", contentBlockIndex=0, delta={"text": "Hi"})
STOP = event("messageStop", stopReason="end_turn")
USAGE = event("metadata", usage={"inputTokens": 13, "outputTokens": 5, "totalTokens": 18})


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool_calls"),
        ("guardrail_intervened", "content_filter"),
        ("content_filtered", "content_filter"),
    ],
)
def test_every_stop_reason_has_its_word(theirs, ours):
    assert finish_reason(theirs, calls=True) == ours


@pytest.mark.parametrize("reason", ["malformed_tool_use", "malformed_model_output", None, 3])
def test_a_failure_of_the_model_is_no_stop(reason):
    with pytest.raises(UpstreamInvalid):
        finish_reason(reason, calls=False)


def test_prompt_tokens_are_those_of_the_prompt_cache_too():
    # 13 + 1504 + 5, as in a recording of pydantic-ai.
    said = {
        "inputTokens": 13,
        "cacheReadInputTokens": 1504,
        "cacheWriteInputTokens": 5,
        "outputTokens": 2,
    }
    assert usage_of(said)["prompt_tokens"] == 1522
    assert usage_of(said)["total_tokens"] == 1524


def test_a_stream_without_message_stop_is_cut_even_with_its_usage():
    chunks, translator = streamed(START, TEXT, USAGE)
    assert isinstance(translator.broken, UpstreamInvalid)
    assert translator.usage["prompt_tokens"] == 13
    assert joined(chunks)["choices"][0]["content"] == "Hi"


def test_a_stream_without_usage_is_whole():
    chunks, translator = streamed(START, TEXT, STOP)
    assert translator.done
    assert joined(chunks)["usage"] is None


def test_an_exception_in_the_stream_is_an_error_of_its_class():
    headers = text_header(":exception-type", "throttlingException")
    exception = frame(headers + text_header(":message-type", "exception"), b'{"message": "slow"}')
    _, translator = streamed(START, TEXT, exception)
    assert isinstance(translator.broken, UpstreamOverloaded)


def test_a_tool_without_arguments_has_an_empty_object():
    use = {"toolUse": {"toolUseId": "t1", "name": "now"}}
    chunks, _ = streamed(
        START,
        event("contentBlockStart", contentBlockIndex=0, start=use),
        event("contentBlockStop", contentBlockIndex=0),
        event("messageStop", stopReason="tool_use"),
    )
    choice = joined(chunks)["choices"][0]
    assert choice["calls"] == {0: {"name": "now", "arguments": "{}"}}
    assert choice["finish_reason"] == "tool_calls"


def test_frames_that_cannot_be_read_break_the_stream():
    _, translator = streamed(START, b"\x00" * 20)
    assert isinstance(translator.broken, UpstreamInvalid)
