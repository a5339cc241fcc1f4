"""A chat request's messages in one form, from which each provider's is written.

Source: the OpenAI API's chat schema. Instructions (system, developer) are hoisted to the front, as
Anthropic's own OpenAI-compatible endpoint does; neighbours of one role become one turn, because
Bedrock and Gemini want roles to alternate.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from app.providers.translation.problems import Problems

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w=.+-]+)*;base64,(.*)", re.DOTALL)
_MESSAGE_MEMBERS = {
    "system": {"content"},
    "developer": {"content"},
    "user": {"content"},
    "assistant": {
        "content", "tool_calls", "refusal", "reasoning_content", "reasoning",
        "reasoning_details", "annotations",
    },
    "tool": {"content", "tool_call_id", "name"},
}  # fmt: skip


class Text(NamedTuple):
    text: str
    cached: bool = False  # the caller marks the end of a prefix for the provider's prompt cache


class Media(NamedTuple):
    """An image, a sound or a document: ``data`` is base64, ``url`` where it is to be fetched."""

    kind: Literal["image", "audio", "file"]
    media_type: str
    data: str
    url: str
    name: str
    place: str


class ToolCall(NamedTuple):
    """``signature`` is what the provider asks back with the call (Gemini's thought signature)."""

    id: str
    name: str
    arguments: dict[str, Any]
    signature: str = ""


class ToolResult(NamedTuple):
    call_id: str
    name: str
    parts: tuple[Text | Media, ...]
    place: str


class Thought(NamedTuple):
    """Reasoning of an earlier answer, with the provider's signature or, redacted, its bytes."""

    text: str
    signature: str
    redacted: str = ""


Part = Text | Media | ToolCall | ToolResult | Thought


class Turn(NamedTuple):
    role: Literal["user", "assistant"]
    parts: list[Part]


class Conversation(NamedTuple):
    system: list[Text]
    turns: list[Turn]


def read_conversation(messages: list[dict[str, Any]], problems: Problems) -> Conversation:
    """The messages in order; what cannot be read is added to ``problems``."""
    system: list[Text] = []
    turns: list[Turn] = []
    names: dict[str, str] = {}
    for index, message in enumerate(messages):
        place = f"messages[{index}]"
        role = message.get("role")
        if role not in _MESSAGE_MEMBERS:
            problems.add(f"{place}.role", "is not supported by the model's provider")
            continue
        for name, value in message.items():
            if name != "role" and value is not None and name not in _MESSAGE_MEMBERS[role]:
                problems.add(f"{place}.{name}", "is not supported by the model's provider")
        content = list(_content(message.get("content"), f"{place}.content", problems))
        if role in ("system", "developer"):
            system += _texts_only(content, problems)
        elif role == "tool":
            call_id = str(message.get("tool_call_id"))
            name = names.get(call_id) or message.get("name") or call_id
            _add(turns, "user", [ToolResult(call_id, name, tuple(content), place)])
        elif role == "user":
            _add(turns, "user", content)
        else:
            calls = list(_calls(message, place, problems))
            names |= {call.id: call.name for call in calls}
            _add(turns, "assistant", [*_thoughts(message), *_said(content, message), *calls])
    return Conversation(system, turns)


def _add(turns: list[Turn], role: Literal["user", "assistant"], parts: list[Any]) -> None:
    if turns and turns[-1].role == role:
        turns[-1].parts.extend(parts)
    else:
        turns.append(Turn(role, parts))


def _said(content: list[Text | Media], message: Mapping[str, Any]) -> list[Text | Media]:
    refusal = message.get("refusal")
    if not content and isinstance(refusal, str) and refusal:
        return [Text(refusal)]
    return content


def _texts_only(content: list[Text | Media], problems: Problems) -> Iterator[Text]:
    for part in content:
        if isinstance(part, Text):
            yield part
        else:
            problems.add(part.place, "must be text in an instruction")


def _content(content: Any, place: str, problems: Problems) -> Iterator[Text | Media]:
    if isinstance(content, str):
        if content:
            yield Text(content)
        return
    for index, part in enumerate(content or ()):
        where = f"{place}[{index}]"
        kind = part.get("type")
        if kind in ("text", "refusal"):
            text = part.get(kind)
            if text:
                yield Text(text, bool(part.get("cache_control")))
        elif kind in ("image_url", "input_audio", "file") and isinstance(part.get(kind), dict):
            media = _media(kind, part[kind], where, problems)
            if media is not None:
                yield media
        else:
            problems.add(where, "is not a part that the model's provider takes")


def _media(kind: str, value: Mapping[str, Any], place: str, problems: Problems) -> Media | None:
    if kind == "input_audio":
        return Media("audio", f"audio/{value.get('format')}", str(value.get("data")), "", "", place)
    if kind == "file":
        if not isinstance(value.get("file_data"), str):
            problems.add(place, "must carry its `file_data`: files are not kept by the gateway")
            return None
        url, name = value["file_data"], str(value.get("filename") or "")
    else:
        if value.get("detail") not in (None, "auto", "high"):
            problems.add(f"{place}.image_url.detail", "is not supported by the model's provider")
        url, name = str(value.get("url")), ""
    found = _DATA_URL.fullmatch(url)
    of = "file" if kind == "file" else "image"
    if found is None:
        if of == "file":
            problems.add(f"{place}.file.file_data", "must be a data: URL in base64")
            return None
        return Media("image", "", "", url, name, place)
    media_type = found[1] or "application/octet-stream"
    return Media("image" if of == "image" else "file", media_type, found[2], "", name, place)


def _calls(message: Mapping[str, Any], place: str, problems: Problems) -> Iterator[ToolCall]:
    for index, call in enumerate(message.get("tool_calls") or ()):
        where = f"{place}.tool_calls[{index}]"
        function = call.get("function")
        if call.get("type", "function") != "function" or not isinstance(function, dict):
            problems.add(where, "must be a call of a function")
            continue
        arguments = function.get("arguments")
        try:
            decoded = orjson.loads(arguments) if arguments else {}
        except (orjson.JSONDecodeError, TypeError):
            decoded = None
        if not isinstance(decoded, dict):
            problems.add(f"{where}.function.arguments", "must be a JSON object in a string")
            continue
        google = (call.get("extra_content") or {}).get("google") or {}
        signature = str(google.get("thought_signature") or "")
        yield ToolCall(str(call.get("id")), str(function.get("name")), decoded, signature)


def _thoughts(message: Mapping[str, Any]) -> Iterator[Thought]:
    """What an earlier answer of ours said of its reasoning, where it can be proved to a provider."""
    for detail in message.get("reasoning_details") or ():
        if not isinstance(detail, dict):
            continue
        if detail.get("type") == "reasoning.encrypted" and detail.get("data"):
            yield Thought("", "", str(detail["data"]))
        elif detail.get("type") == "reasoning.text" and detail.get("signature"):
            yield Thought(str(detail.get("text") or ""), str(detail["signature"]))
