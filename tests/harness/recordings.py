"""Recorded exchanges of real providers (``tests/recordings``), and what a client sees of an answer."""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import orjson

HERE = Path(__file__).parent.parent / "recordings"


class Recording(NamedTuple):
    """One exchange; ``body`` is the answer's bytes as the provider sent them."""

    name: str
    endpoint: str
    stream: bool
    path: str
    asked: Any
    status: int
    headers: dict[str, str]
    body: bytes
    expect: dict[str, Any]


@cache
def recordings(*endpoints: str) -> tuple[Recording, ...]:
    """The exchanges of these endpoints; of all, where none is named."""
    found = []
    for file in sorted(HERE.glob("*.json")):
        document = json.loads(file.read_bytes())
        if endpoints and document["endpoint"] not in endpoints:
            continue
        response, request = document["response"], document["request"]
        if "chunks" in response:  # a stream that the provider framed as one JSON array
            body = b"".join(b"data: %s\r\n\r\n" % orjson.dumps(c) for c in response["chunks"])
        else:
            body = b64decode(response["body_base64"])
        found.append(
            Recording(
                file.stem,
                document["endpoint"],
                document["stream"],
                request["path"],
                request.get("body"),
                response["status"],
                response.get("headers") or {},
                body,
                document["expect"],
            )
        )
    return tuple(found)


def joined(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A chat stream as one answer: what every client does with it."""
    choices: dict[int, dict[str, Any]] = {}
    usage = None
    for chunk in chunks:
        usage = chunk.get("usage") or usage
        for choice in chunk["choices"]:
            made = choices.setdefault(
                choice["index"],
                {"content": "", "reasoning": "", "calls": {}, "finish_reason": None, "role": None},
            )
            delta = choice["delta"]
            made["role"] = made["role"] or delta.get("role")
            made["content"] += delta.get("content") or ""
            made["reasoning"] += delta.get("reasoning_content") or delta.get("reasoning") or ""
            for call in delta.get("tool_calls") or ():
                kept = made["calls"].setdefault(call["index"], {"name": "", "arguments": ""})
                kept["name"] += call["function"].get("name") or ""
                kept["arguments"] += call["function"].get("arguments") or ""
            if choice["finish_reason"]:
                assert made["finish_reason"] is None, "a choice finishes once"
                made["finish_reason"] = choice["finish_reason"]
    return {"choices": choices, "usage": usage}


def seen_streamed(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """A chat stream in the words of a recording's ``expect``."""
    whole = joined(chunks)
    choices = [
        {
            "index": index,
            "finish_reason": choice["finish_reason"],
            "content": choice["content"],
            "reasoning": choice["reasoning"],
            "tool_calls": [_call(call) for _, call in sorted(choice["calls"].items())],
        }
        for index, choice in sorted(whole["choices"].items())
    ]
    return {"choices": choices, "usage": _usage(whole["usage"])}


def seen_plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """A plain chat answer in the words of a recording's ``expect``."""
    choices = []
    for choice in document["choices"]:
        message = choice["message"]
        thought = message.get("reasoning_content") or message.get("reasoning") or ""
        choices.append(
            {
                "index": choice["index"],
                "finish_reason": choice["finish_reason"],
                "content": message.get("content") or "",
                "reasoning": thought,
                "tool_calls": [_call(c["function"]) for c in message.get("tool_calls") or ()],
            }
        )
    return {"choices": choices, "usage": _usage(document.get("usage"))}


def fits(seen: Any, expected: Any) -> bool:
    """Whether something is as a recording expects it; a list of values means any of them."""
    if isinstance(expected, Mapping) and isinstance(seen, Mapping):
        return all(fits(seen.get(name), value) for name, value in expected.items())
    if isinstance(expected, list) and isinstance(seen, list):
        return len(seen) == len(expected) and all(map(fits, seen, expected))
    return seen in expected if isinstance(expected, list) else seen == expected


def _call(function: Mapping[str, Any]) -> dict[str, Any]:
    try:
        arguments = json.loads(function["arguments"])
    except ValueError:
        arguments = {"__text__": function["arguments"]}
    return {"name": function["name"], "arguments": arguments}


def _usage(usage: Any) -> Any:
    names = ("prompt_tokens", "completion_tokens", "total_tokens")
    return {name: usage[name] for name in names} if usage else None
