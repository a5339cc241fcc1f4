"""Chat answers and chunks for the tests of this room."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import orjson

from app.core.errors import UpstreamError
from app.core.reply import Chunk, StreamEnd
from app.openai.chat.request import ChatRequest, parse
from app.openai.chat.stream import ChatStreamShaper

NOW = 1_700_000_000
USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}


def request(**members: Any) -> ChatRequest:
    """A request with these members."""
    base = {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}
    return parse(orjson.dumps(base | members))


def answer(*messages: dict[str, Any], **members: Any) -> dict[str, Any]:
    """A clean plain answer with a choice for each message."""
    choices = [
        {
            "index": index,
            "message": {"role": "assistant", "content": None} | message,
            "logprobs": None,
            "finish_reason": "tool_calls" if message.get("tool_calls") else "stop",
        }
        for index, message in enumerate(messages)
    ]
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": NOW, "model": "m-1"}
    return head | {"choices": choices, "usage": USAGE} | members


def event(delta: dict[str, Any], reason: str | None = None, **members: Any) -> dict[str, Any]:
    """One event of an upstream's stream; ``index`` and ``logprobs`` are the choice's."""
    choice = {"index": members.pop("index", 0), "delta": delta, "finish_reason": reason}
    if "logprobs" in members:
        choice["logprobs"] = members.pop("logprobs")
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": NOW, "model": "m-1"}
    return head | {"choices": [choice]} | members


def call_piece(index: int | None, **members: Any) -> dict[str, Any]:
    """A delta with a piece of one tool call; ``name`` and ``arguments`` are its function's."""
    function = {name: members.pop(name) for name in ("name", "arguments") if name in members}
    call = {} if index is None else {"index": index}
    return {"tool_calls": [call | members | ({"function": function} if function else {})]}


def chunk(document: dict[str, Any]) -> Chunk:
    """A chunk as a provider decodes it."""
    payload = orjson.dumps(document)
    return Chunk(payload, orjson.loads(payload))


def shaped(
    events: Iterable[dict[str, Any]], asked: ChatRequest | None = None, *, done: bool = True
) -> tuple[list[Chunk], StreamEnd | UpstreamError]:
    """What the caller gets of an upstream's events, and how it ends."""
    shaper = ChatStreamShaper(asked or request(stream=True), "m-1", NOW)
    chunks = []
    try:
        for one in events:
            made = shaper.shape(chunk(one))
            if made is not None:
                chunks.append(made)
        return chunks, shaper.end(said_done=done)
    except UpstreamError as error:
        return chunks, error


def deltas(chunks: Iterable[Chunk], index: int = 0) -> list[dict[str, Any]]:
    """The deltas of one choice."""
    return [
        choice["delta"]
        for one in chunks
        for choice in orjson.loads(one.payload)["choices"]
        if choice["index"] == index
    ]
