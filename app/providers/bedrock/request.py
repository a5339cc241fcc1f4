"""A chat request in the words of Bedrock's Converse API. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_Converse.html.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import orjson

from app.openai.neutral import asks
from app.providers.anthropic.request import MIN_BUDGET, thinks_adaptively
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
    "max_tokens max_completion_tokens temperature top_p stop tools tool_choice response_format "
    "reasoning_effort user metadata service_tier".split()
)
_BUDGETS = {"minimal": 1024, "low": 1024, "medium": 2048, "high": 4096}
_CACHE_POINT = {"cachePoint": {"type": "default"}}
_DOCUMENTS = {
    "application/pdf": "pdf",
    "text/plain": "txt",
    "text/csv": "csv",
    "text/html": "html",
    "text/markdown": "md",
    "application/msword": "doc",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.document": "docx",
    "application/vnd.ms-excel": "xls",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet": "xlsx",
}
_UNFIT = re.compile(r"[^A-Za-z0-9 \-()\[\]]+")  # in a document's name


def converse_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/converse``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, HONOURED)
    conversation = read_conversation(document["messages"], problems)
    body: dict[str, Any] = {"messages": _messages(conversation, problems)}
    if conversation.system:
        body["system"] = [block for text in conversation.system for block in _text(text)]
    config = _inference(document)
    if config:
        body["inferenceConfig"] = config
    _tools(read_tools(document, problems), problems, body)
    schema = read_schema(document, problems)
    if schema is not None:
        body["outputConfig"] = _output_format(schema)
    elif asks(document, "response_format"):
        problems.add("response_format", "must be json_schema; the provider has no json_object")
    more = _reasoning(asked, config, problems)
    if more:
        body["additionalModelRequestFields"] = more
    labels = _labels(document, problems)
    if labels:
        body["requestMetadata"] = labels
    tier = document.get("service_tier")
    if asks(document, "service_tier"):
        body["serviceTier"] = {"type": tier}
    problems.raise_any()
    return body


def _inference(document: Mapping[str, Any]) -> dict[str, Any]:
    config: dict[str, Any] = {}
    for ours, theirs in (
        ("max_tokens", "maxTokens"),
        ("max_completion_tokens", "maxTokens"),
        ("temperature", "temperature"),
        ("top_p", "topP"),
    ):
        if document.get(ours) is not None:
            config[theirs] = document[ours]
    stop = document.get("stop")
    if stop:
        config["stopSequences"] = [stop] if isinstance(stop, str) else list(stop)
    return config


def _tools(tools: Tools, problems: Problems, body: dict[str, Any]) -> None:
    if not tools.tools:
        return
    if tools.choice == "none":
        # Converse wants the tools of a conversation that used them, and has no word for "none".
        problems.add("tool_choice", "none is not supported by the model's provider")
    specs: list[dict[str, Any]] = []
    for tool in tools.tools:
        spec: dict[str, Any] = {"name": tool.name, "inputSchema": {"json": tool.parameters}}
        if tool.description:
            spec["description"] = tool.description
        if tool.strict:
            spec["strict"] = True
        specs.append({"toolSpec": spec})
    config: dict[str, Any] = {"tools": specs}
    if tools.choice == "required":
        config["toolChoice"] = {"any": {}}
    elif tools.named:
        config["toolChoice"] = {"tool": {"name": tools.named}}
    body["toolConfig"] = config


def _output_format(schema: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {"schema": orjson.dumps(schema["schema"]).decode()}
    for name in ("name", "description"):
        if schema.get(name):
            described[name] = schema[name]
    return {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": described}}}


def _reasoning(asked: Asked, config: Mapping[str, Any], problems: Problems) -> dict[str, Any]:
    """Each maker's own field: Converse passes it on."""
    effort, model = asked.document.get("reasoning_effort"), asked.model
    if effort is None or (effort == "none" and "openai." not in model):
        return {}
    if "openai." in model:
        return {"reasoning_effort": effort}
    if "amazon.nova-2" in model and effort in ("low", "medium", "high"):
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    if "anthropic." in model and effort in _BUDGETS:
        if thinks_adaptively(model):
            level = "low" if effort == "minimal" else effort
            return {"thinking": {"type": "adaptive"}, "output_config": {"effort": level}}
        budget = min(_BUDGETS[effort], config.get("maxTokens", 1 << 20) - 1)
        if budget < MIN_BUDGET:
            problems.add("reasoning_effort", f"needs `max_completion_tokens` above {MIN_BUDGET}")
        return {"thinking": {"type": "enabled", "budget_tokens": budget}}
    problems.add("reasoning_effort", "is not supported by this model")
    return {}


def _labels(document: Mapping[str, Any], problems: Problems) -> dict[str, str]:
    labels = dict(document.get("metadata") or {})
    if document.get("user"):
        labels.setdefault("user", document["user"])
    for name, value in labels.items():
        if not isinstance(value, str):
            problems.add(f"metadata.{name}", "must be a string for the model's provider")
    return labels


def _messages(conversation: Conversation, problems: Problems) -> list[dict[str, Any]]:
    writer = _Blocks(problems)
    messages = []
    for turn in conversation.turns:
        content = [block for part in turn.parts for block in writer.blocks(part)]
        if content:
            messages.append({"role": turn.role, "content": content})
    return messages


def _text(text: Text) -> list[dict[str, Any]]:
    return [{"text": text.text}, *([_CACHE_POINT] if text.cached else [])]


class _Blocks:
    """Writes content blocks; numbers documents, whose names must be unique in a request."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._documents = 0

    def blocks(self, part: Part) -> list[dict[str, Any]]:
        if isinstance(part, Text):
            return _text(part)
        if isinstance(part, Media):
            return self._media(part)
        if isinstance(part, ToolCall):
            use = {"toolUseId": part.id, "name": part.name, "input": part.arguments}
            return [{"toolUse": use}]
        if isinstance(part, ToolResult):
            content = [block for inner in part.parts for block in self.blocks(inner)]
            result = {"toolUseId": part.call_id, "content": content or [{"text": ""}]}
            return [{"toolResult": result}]
        return [_thought(part)]

    def _media(self, part: Media) -> list[dict[str, Any]]:
        if part.kind == "image":
            image = self._image(part)
            return [{"image": image}] if image else []
        form = _DOCUMENTS.get(part.media_type)
        if part.kind == "audio" or form is None:
            self._problems.add(part.place, "is of a kind that the model's provider does not take")
            return []
        self._documents += 1
        name = _UNFIT.sub(" ", part.name.rsplit(".", 1)[0])[:100].strip() or "document"
        if self._documents > 1:
            name = f"{name} {self._documents}"
        return [{"document": {"format": form, "name": name, "source": {"bytes": part.data}}}]

    def _image(self, part: Media) -> dict[str, Any] | None:
        if part.url.startswith("s3://"):
            form = part.url.rsplit(".", 1)[-1].lower().replace("jpg", "jpeg")
            return {"format": form, "source": {"s3Location": {"uri": part.url}}}
        if part.url:
            self._problems.add(part.place, "must be a data: URL; the provider fetches none")
            return None
        form = part.media_type.removeprefix("image/")
        if form not in ("png", "jpeg", "gif", "webp"):
            self._problems.add(part.place, "must be a PNG, JPEG, GIF or WebP image")
        return {"format": form, "source": {"bytes": part.data}}


def _thought(part: Thought) -> dict[str, Any]:
    if part.redacted:
        return {"reasoningContent": {"redactedContent": part.redacted}}
    text = {"text": part.text, "signature": part.signature}
    return {"reasoningContent": {"reasoningText": text}}
