"""A chat request in Anthropic's words. Pure.

Source: https://docs.anthropic.com/en/api/messages; for the hoisting of instructions
https://docs.anthropic.com/en/api/openai-sdk.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.openai.neutral import asks
from app.providers.translation.base import Asked
from app.providers.translation.conversation import (
    Conversation,
    Media,
    Part,
    Text,
    Thought,
    ToolCall,
    ToolResult,
    read_conversation,
)
from app.providers.translation.problems import Problems
from app.providers.translation.tools import Tools, read_schema, read_tools

HONOURED = frozenset(
    "max_tokens max_completion_tokens temperature top_p top_k stop tools tool_choice "
    "parallel_tool_calls response_format reasoning_effort user".split()
)
DEFAULT_MAX_TOKENS = 4096
MIN_BUDGET = 1024  # of thinking tokens; the API refuses less
# The API asks for a number on models before 4.6; the levels are litellm's and OpenRouter's.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192}
_EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "max"}
_VERSION = re.compile(r"claude-(?:[a-z]+-)?(\d{1,2})(?:[-.](\d{1,2}))?(?!\d)")
_CHOICES = {"auto": "auto", "required": "any", "none": "none", "named": "tool"}
_IMAGES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})


def message_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/v1/messages``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, HONOURED)
    conversation = read_conversation(document["messages"], problems)
    body: dict[str, Any] = {"model": asked.model, "max_tokens": _max_tokens(asked)}
    if conversation.system:
        body["system"] = [_text(text) for text in conversation.system]
    body["messages"] = _messages(conversation, problems)
    _sampling(document, body, problems)
    _tools(read_tools(document, problems), document, body)
    schema = read_schema(document, problems)
    if schema is not None:
        body["output_config"] = {"format": {"type": "json_schema", "schema": schema["schema"]}}
    elif asks(document, "response_format"):
        problems.add("response_format", "must be json_schema; the provider has no json_object")
    _reasoning(document, body, problems)
    if asked.stream:
        body["stream"] = True
    problems.raise_any()
    return body


def _max_tokens(asked: Asked) -> int:
    """The API requires a limit: the one that was asked for, or written out; else a modest one."""
    for name in ("max_completion_tokens", "max_tokens"):
        value = asked.document.get(name)
        if value is not None:
            return int(value)
    return DEFAULT_MAX_TOKENS


def _sampling(document: Mapping[str, Any], body: dict[str, Any], problems: Problems) -> None:
    temperature = document.get("temperature")
    if temperature is not None and temperature > 1:
        problems.add("temperature", "must be at most 1 for the model's provider")
    for name in ("temperature", "top_p", "top_k"):
        if document.get(name) is not None:
            body[name] = document[name]
    stop = document.get("stop")
    if stop:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)
    if document.get("user"):
        body["metadata"] = {"user_id": document["user"]}


def _tools(tools: Tools, document: Mapping[str, Any], body: dict[str, Any]) -> None:
    if not tools.tools:
        return
    body["tools"] = []
    for tool in tools.tools:
        described: dict[str, Any] = {"name": tool.name, "input_schema": tool.parameters}
        if tool.description:
            described["description"] = tool.description
        if tool.strict:
            described["strict"] = True
        body["tools"].append(described)
    choice: dict[str, Any] = {"type": _CHOICES.get(tools.choice, "auto")}
    if tools.named:
        choice["name"] = tools.named
    if not tools.parallel and choice["type"] != "none":
        choice["disable_parallel_tool_use"] = True
    if len(choice) > 1 or document.get("tool_choice") is not None:
        body["tool_choice"] = choice


def _reasoning(document: Mapping[str, Any], body: dict[str, Any], problems: Problems) -> None:
    effort = document.get("reasoning_effort")
    if effort is None or effort == "none":
        return
    if effort not in _BUDGETS:
        problems.add("reasoning_effort", f"must be none or one of {', '.join(_BUDGETS)}")
        return
    if thinks_adaptively(body["model"]):
        body["thinking"] = {"type": "adaptive"}
        body["output_config"] = body.get("output_config", {}) | {"effort": _EFFORTS[effort]}
        return
    budget = min(_BUDGETS[effort], body["max_tokens"] - 1)
    if budget < MIN_BUDGET:
        problems.add("reasoning_effort", f"needs `max_completion_tokens` above {MIN_BUDGET}")
    body["thinking"] = {"type": "enabled", "budget_tokens": budget}


def thinks_adaptively(model: str) -> bool:
    """Whether a Claude model takes an effort (since 4.6) instead of a budget of thinking tokens."""
    found = _VERSION.search(model)
    return found is not None and (int(found[1]), int(found[2] or 0)) >= (4, 6)


def _messages(conversation: Conversation, problems: Problems) -> list[dict[str, Any]]:
    messages = []
    for turn in conversation.turns:
        content = [_block(part, problems) for part in turn.parts]
        if content:
            messages.append({"role": turn.role, "content": content})
    return messages


def _block(part: Part, problems: Problems) -> dict[str, Any]:
    if isinstance(part, Text):
        return _text(part)
    if isinstance(part, Media):
        return _media(part, problems)
    if isinstance(part, ToolCall):
        return {"type": "tool_use", "id": part.id, "name": part.name, "input": part.arguments}
    if isinstance(part, ToolResult):
        content = [_block(inner, problems) for inner in part.parts]
        return {"type": "tool_result", "tool_use_id": part.call_id, "content": content}
    return _thought(part)


def _thought(part: Thought) -> dict[str, Any]:
    if part.redacted:
        return {"type": "redacted_thinking", "data": part.redacted}
    return {"type": "thinking", "thinking": part.text, "signature": part.signature}


def _text(text: Text) -> dict[str, Any]:
    block: dict[str, Any] = {"type": "text", "text": text.text}
    if text.cached:
        block["cache_control"] = {"type": "ephemeral"}
    return block


def _media(part: Media, problems: Problems) -> dict[str, Any]:
    if part.kind == "image":
        if part.url:
            return {"type": "image", "source": {"type": "url", "url": part.url}}
        if part.media_type not in _IMAGES:
            problems.add(part.place, f"must be one of {', '.join(sorted(_IMAGES))}")
        return {"type": "image", "source": _base64(part)}
    if part.kind == "file" and part.media_type == "application/pdf":
        named = {"title": part.name} if part.name else {}
        return {"type": "document", "source": _base64(part)} | named
    problems.add(part.place, "must be text, an image or a PDF for the model's provider")
    return {}


def _base64(part: Media) -> dict[str, Any]:
    return {"type": "base64", "media_type": part.media_type, "data": part.data}
