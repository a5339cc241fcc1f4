"""Requests in Cohere's words: messages close to the OpenAI API's, members under other names. Pure.

Source: https://docs.cohere.com/reference/chat and /embed; the types of the package ``cohere`` 7.3.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.openai.neutral import asks
from app.providers.translation.base import Asked
from app.providers.translation.problems import Problems
from app.providers.translation.tools import read_schema, read_tools
from app.providers.translation.vectors import texts_of

_RENAMED = {"top_p": "p", "top_k": "k"}
_SAME = ("temperature", "seed", "frequency_penalty", "presence_penalty")
_LIMITS = ("max_tokens", "max_completion_tokens")
CHAT_HONOURED = frozenset(
    [*_SAME, *_RENAMED, *_LIMITS, "stop", "tools", "tool_choice", "response_format"]
) | {"reasoning_effort"}
_EMBEDDINGS_HONOURED = frozenset({"input", "encoding_format", "dimensions", "input_type"})
# What the API takes as a number from 0 to 1, where the OpenAI API has more.
_FRACTIONS = ("temperature", "frequency_penalty", "presence_penalty")
_CHOICES = {"required": "REQUIRED", "none": "NONE"}
# The levels are those that Anthropic's translation has; the API asks for a number.
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096, "xhigh": 8192}
_MEMBERS = {
    "system": {"content"},
    "user": {"content"},
    "assistant": {
        "content", "tool_calls", "refusal", "reasoning_content", "reasoning", "annotations",
    },
    "tool": {"content", "tool_call_id", "name"},
}  # fmt: skip


def chat_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/v2/chat``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, CHAT_HONOURED)
    body: dict[str, Any] = {"model": asked.model, "stream": asked.stream}
    body["messages"] = [
        _message(message, f"messages[{index}]", problems)
        for index, message in enumerate(document["messages"])
    ]
    _sampling(document, body, problems)
    _tools(document, body, problems)
    schema = read_schema(document, problems)
    if schema is not None:
        body["response_format"] = {"type": "json_object", "json_schema": schema["schema"]}
    elif asks(document, "response_format"):
        body["response_format"] = {"type": "json_object"}
    _reasoning(document, body, problems)
    problems.raise_any()
    return body


def embed_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/v2/embed``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, _EMBEDDINGS_HONOURED)
    texts = texts_of(document, problems)
    problems.raise_any()
    body = {
        "model": asked.model,
        "texts": texts,
        "input_type": document.get("input_type") or "search_document",
        "embedding_types": ["float"],
    }
    if document.get("dimensions") is not None:
        body["output_dimension"] = document["dimensions"]
    return body


def _sampling(document: Mapping[str, Any], body: dict[str, Any], problems: Problems) -> None:
    for name in _FRACTIONS:
        value = document.get(name)
        if value is not None and not 0 <= value <= 1:
            problems.add(name, "must be from 0 to 1 for the model's provider")
    body |= {name: document[name] for name in _SAME if asks(document, name)}
    body |= {to: document[name] for name, to in _RENAMED.items() if document.get(name) is not None}
    for name in _LIMITS:
        if document.get(name) is not None:
            body["max_tokens"] = document[name]
    stop = document.get("stop")
    if stop:
        body["stop_sequences"] = [stop] if isinstance(stop, str) else list(stop)


def _tools(document: Mapping[str, Any], body: dict[str, Any], problems: Problems) -> None:
    tools = read_tools(document, problems)
    if not tools.tools:
        return
    body["tools"] = [
        {
            "type": "function",
            "function": {
                "name": tool.name,
                "description": tool.description,
                "parameters": tool.parameters,
            },
        }
        for tool in tools.tools
    ]
    if any(tool.strict for tool in tools.tools):
        body["strict_tools"] = True
    if tools.named:
        problems.add("tool_choice", "must be auto, none or required for the model's provider")
    elif tools.choice in _CHOICES:
        body["tool_choice"] = _CHOICES[tools.choice]


def _reasoning(document: Mapping[str, Any], body: dict[str, Any], problems: Problems) -> None:
    effort = document.get("reasoning_effort")
    if effort == "none":
        body["thinking"] = {"type": "disabled"}
    elif effort in _BUDGETS:
        body["thinking"] = {"type": "enabled", "token_budget": _BUDGETS[effort]}
    elif effort is not None:
        problems.add("reasoning_effort", f"must be none or one of {', '.join(_BUDGETS)}")


def _message(message: Mapping[str, Any], place: str, problems: Problems) -> dict[str, Any]:
    role = {"developer": "system"}.get(str(message.get("role")), str(message.get("role")))
    if role not in _MEMBERS:
        problems.add(f"{place}.role", "is not supported by the model's provider")
        return {}
    for name, value in message.items():
        if name != "role" and value is not None and name not in _MEMBERS[role]:
            problems.add(f"{place}.{name}", "is not supported by the model's provider")
    made: dict[str, Any] = {"role": role}
    content = message.get("content") or message.get("refusal") or ""
    if isinstance(content, list):
        content = [
            _part(part, f"{place}.content[{index}]", problems) for index, part in enumerate(content)
        ]
    thought = message.get("reasoning_content") or message.get("reasoning")
    calls = [
        {"id": call.get("id"), "type": "function", "function": call.get("function")}
        for call in message.get("tool_calls") or ()
        if isinstance(call, dict)
    ]
    if role == "assistant" and calls:
        # What the model planned to do with its tools stands apart, and takes the place of a text.
        made |= {"tool_calls": calls} | ({"tool_plan": thought} if thought else {})
        return made | ({"content": content} if content else {})
    if role == "assistant" and isinstance(thought, str) and thought:
        said = [{"type": "text", "text": content}] if isinstance(content, str) else content
        content = [{"type": "thinking", "thinking": thought}, *said]
    made["content"] = content
    if role == "tool":
        made["tool_call_id"] = message.get("tool_call_id")
    return made


def _part(part: Mapping[str, Any], place: str, problems: Problems) -> dict[str, Any]:
    kind = part.get("type")
    if kind in ("text", "refusal"):
        return {"type": "text", "text": part.get(kind)}
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        image = part["image_url"]
        return {
            "type": "image_url",
            "image_url": {name: image[name] for name in ("url", "detail") if image.get(name)},
        }
    problems.add(place, "is not a part that the model's provider takes")
    return {}
