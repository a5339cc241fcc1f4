"""Reads a stream of Messages events as Anthropic's SDKs do: blocks by their index, usage restated."""

from __future__ import annotations

from typing import Any

import orjson

from app.openai.sse import EventParser


def events_of(data: bytes) -> list[dict[str, Any]]:
    return [orjson.loads(payload) for payload in EventParser().feed(data)]


def read_events(data: bytes) -> dict[str, Any]:
    """The whole message. Fails where the events are not in an order that the API gives."""
    events = [one for one in events_of(data) if one["type"] != "ping"]
    assert events[0]["type"] == "message_start"
    assert events[-1]["type"] == "message_stop"
    whole: dict[str, Any] = events[0]["message"]
    open_blocks: set[int] = set()
    for event in events[1:-1]:
        kind, index = event["type"], event.get("index")
        if kind == "content_block_start":
            assert index == len(whole["content"])
            assert not open_blocks, "one block at a time"
            open_blocks.add(index)
            whole["content"].append(dict(event["content_block"]) | {"json": ""})
        elif kind == "content_block_delta":
            _add(whole["content"][index], event["delta"])
        elif kind == "content_block_stop":
            open_blocks.remove(index)
        elif kind == "message_delta":
            whole |= event["delta"]
            whole["usage"] = whole["usage"] | event["usage"]
    assert not open_blocks
    for block in whole["content"]:
        if block["type"] == "tool_use" and block["json"]:
            block["input"] = orjson.loads(block["json"])
    return whole


def _add(block: dict[str, Any], delta: dict[str, Any]) -> None:
    names = {
        "text_delta": ("text", "text"),
        "thinking_delta": ("thinking", "thinking"),
        "signature_delta": ("signature", "signature"),
        "input_json_delta": ("json", "partial_json"),
    }
    if delta["type"] in names:
        into, name = names[delta["type"]]
        block[into] = block.get(into, "") + delta[name]
