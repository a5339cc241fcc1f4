"""Requests for the tests of translations."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidRequest
from app.providers.translation.base import Asked, Translation

HELLO = [{"role": "user", "content": "Hello"}]
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Get the weather.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
PIXEL = "iVBORw0KGgo="
CONVERSATION = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is it like there?"},
            {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PIXEL}"}},
        ],
    },
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "get_weather", "arguments": '{"city": "Paris"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "Sunny"},
    {"role": "developer", "content": "Be kind."},
    {"role": "user", "content": "And tomorrow?"},
]
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}


def asked(operation: Any = "chat", model: str = "m", **members: Any) -> Asked:
    """A request with these members; ``Hello``, where nothing else is said."""
    if operation == "chat":
        members.setdefault("messages", HELLO)
    return Asked(operation, {"model": "alias"} | members, model, 1_700_000_000)


def refused(translation: Translation, **members: Any) -> list[str | None]:
    """The places that a request is refused for."""
    with pytest.raises(InvalidRequest) as caught:
        translation.prepare(asked(**members))
    assert caught.value.status == 400
    assert caught.value.code == "unsupported_parameter"
    assert caught.value.param == caught.value.details[0].param
    return [problem.param for problem in caught.value.details]
