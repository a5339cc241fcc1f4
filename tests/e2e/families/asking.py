"""How the tests of this room ask, and what the upstream says to them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from tests.harness.credentials import KEY
from tests.harness.exchange import Request, Script, Wire
from tests.harness.gateway import Gateway
from tests.harness.prompts import PROMPT
from tests.harness.replies import Reply
from tests.harness.waiting import eventually

HEAD = {"id": "chatcmpl-7", "created": 1700000000, "model": "up-1"}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
TOOL = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
ONLY_CACHED = {"cache-control": "only-if-cached"}


def post(gateway: Gateway, path: str, body: Any, key: str | None = KEY, headers: Any = ()) -> Reply:
    fields = {"content-type": "application/json"} | dict(headers)
    return gateway.ask("POST", path, key, fields, json.dumps(body).encode())


def chat(
    gateway: Gateway, said: Any = PROMPT, key: str | None = KEY, headers: Any = (), **fields: Any
) -> Reply:
    """A chat request to `plain`; ``said`` is one user message's content, or all messages."""
    conversational = isinstance(said, list) and "role" in said[0]
    messages = said if conversational else [{"role": "user", "content": said}]
    body = {"model": "plain", "messages": messages} | fields
    return post(gateway, "/v1/chat/completions", body, key, headers)


def embed(
    gateway: Gateway, given: Any, key: str | None = KEY, headers: Any = (), **fields: Any
) -> Reply:
    """An embeddings request to `plain`."""
    return post(
        gateway, "/v1/embeddings", {"model": "plain", "input": given} | fields, key, headers
    )


def how(reply: Reply) -> str | None:
    """What the cache did."""
    assert reply.status == 200, reply.body
    found: str | None = reply.headers.get("x-headgate-cache")
    return found


def kept(gateway: Gateway, *args: Any, **fields: Any) -> None:
    """Wait until a chat answer is kept: that is not waited for by the gateway itself."""
    eventually(lambda: chat(gateway, *args, headers=ONLY_CACHED, **fields).status == 200)


def content(reply: Reply) -> str | None:
    """What the first choice says, whole or streamed."""
    found: str | None = message(reply)["content"]
    return found


def message(reply: Reply) -> dict[str, Any]:
    """The first choice's message, joined as an SDK joins a stream."""
    assert reply.status == 200, reply.body
    if reply.headers["content-type"] == "application/json":
        whole: dict[str, Any] = reply.document["choices"][0]["message"]
        return whole
    joined: dict[str, Any] = {"content": ""}
    calls: dict[int, dict[str, Any]] = {}
    for one in reply.chunks:
        for choice in one["choices"]:
            if choice["index"] != 0:
                continue
            for name, value in choice["delta"].items():
                if name == "tool_calls":
                    for piece in value:
                        _join(calls.setdefault(piece["index"], {}), piece)
                elif value is not None:
                    joined[name] = joined.get(name, "") + value
    if calls:
        joined["content"] = joined["content"] or None
        joined["tool_calls"] = [calls[index] for index in sorted(calls)]
    return joined


def _join(call: dict[str, Any], piece: dict[str, Any]) -> None:
    for name, value in piece.items():
        if name == "function":
            _join(call.setdefault("function", {}), value)
        elif name != "index":
            call[name] = call.get(name, "") + value


def saying(*deltas: dict[str, Any], reason: str = "stop", **whole: Any) -> Script:
    """A script that streams these deltas, or says ``whole`` as a plain message."""

    async def script(request: Request, wire: Wire) -> None:
        if not request.document.get("stream"):
            said = {"role": "assistant", "content": None} | whole
            choice = {"index": 0, "message": said, "logprobs": None, "finish_reason": reason}
            kind = {"object": "chat.completion"}
            await wire.answer(HEAD | kind | {"choices": [choice], "usage": USAGE})
            return
        await wire.begin_stream()
        for delta in deltas:
            await wire.event(event(delta))
        await wire.event(event({}, reason))
        options = request.document.get("stream_options") or {}
        if options.get("include_usage"):
            await wire.event(event({}) | {"choices": [], "usage": USAGE})
        await wire.event(b"[DONE]")
        await wire.end_stream()

    return script


def event(delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": reason}
    return HEAD | {"object": "chat.completion.chunk", "choices": [choice]}


def vector_of(one: Any) -> list[float]:
    """The vector that `embedding` answers an input with."""
    label = one if isinstance(one, str) else "-".join(map(str, one))
    return [float(len(label)), float(sum(label.encode()) % 97), 0.5]


def inputs_of(request: Request) -> list[Any]:
    given = request.document["input"]
    return [given] if isinstance(given, str) or isinstance(given[0], int) else given


async def embedding(request: Request, wire: Wire) -> None:
    """Answers each input with a vector of its own; a token an input."""
    inputs = inputs_of(request)
    data = [
        {"object": "embedding", "index": index, "embedding": vector_of(one)}
        for index, one in enumerate(inputs)
    ]
    usage = {"prompt_tokens": len(inputs), "total_tokens": len(inputs)}
    await wire.answer({"object": "list", "data": data, "model": "up-e", "usage": usage})


def vectors(reply: Reply) -> Sequence[Any]:
    assert reply.status == 200, reply.body
    data = reply.document["data"]
    assert [one["index"] for one in data] == list(range(len(data)))
    assert {one["object"] for one in data} == {"embedding"}
    return [one["embedding"] for one in data]
