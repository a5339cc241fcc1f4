"""Fill-in-the-middle in Mistral's form."""

from __future__ import annotations

from typing import Any

import orjson

from app.core.errors import UpstreamTimeout
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage
from app.openai.completions.fim_form import FimEvents, as_chat, parse_fim
from app.openai.sse import EventParser
from tests.harness.recordings import joined

BODY = {"model": "m", "prompt": "def f(", "suffix": "    return x", "max_tokens": 9, "stream": True}
REQUEST = parse_fim(orjson.dumps(BODY))
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def chunk(text: str, reason: str | None = None) -> Chunk:
    choice = {"index": 0, "text": text, "finish_reason": reason, "logprobs": None}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "up"}
    return Chunk.of({**head, "choices": [choice]})


def payloads(data: bytes) -> list[Any]:
    return EventParser().feed(data)


def test_a_request_is_a_completions_own() -> None:
    seeded = parse_fim(orjson.dumps(BODY | {"random_seed": 5}))
    assert seeded.document["seed"] == 5
    assert "random_seed" not in seeded.document
    assert REQUEST.document["suffix"] == "    return x"


def test_a_plain_answer_is_in_chats_shape() -> None:
    choice = {"index": 0, "text": "x):", "finish_reason": "stop", "logprobs": None}
    body = {"id": "cmpl-1", "object": "text_completion", "created": 7, "model": "up"}
    found = orjson.loads(
        as_chat(orjson.dumps(body | {"choices": [choice], "usage": USAGE}), REQUEST)
    )
    assert (found["id"], found["object"], found["usage"]) == (
        "chatcmpl-1",
        "chat.completion",
        USAGE,
    )
    assert found["choices"][0]["message"] == {"role": "assistant", "content": "x):"}
    assert found["choices"][0]["finish_reason"] == "stop"


def test_a_stream_is_deltas_with_the_usage_at_the_end() -> None:
    events = FimEvents(REQUEST, "id-1")
    data = events.events([chunk("x"), chunk("):", "stop")])
    data += events.end(StreamEnd(Usage(3, 2), {"usage": USAGE}))
    *found, end = payloads(data)
    whole = joined(orjson.loads(one) for one in found)
    assert whole["choices"][0]["content"] == "x):"
    assert whole["choices"][0]["role"] == "assistant"
    assert whole["choices"][0]["finish_reason"] == "stop"
    assert whole["usage"] == USAGE
    assert end == b"[DONE]"


def test_a_stream_that_broke_ends_with_the_error() -> None:
    [found] = payloads(FimEvents(REQUEST, "id-1").error(UpstreamTimeout("Too slow.")))
    assert orjson.loads(found)["error"]["code"] == "upstream_timeout"
