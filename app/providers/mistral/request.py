"""Requests in Mistral's words: close to the OpenAI API's, and strict about members. Pure.

Source: https://docs.mistral.ai/api, endpoints ``/v1/chat/completions`` and
``/v1/fim/completions``. The API refuses members that it does not know.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any

from app.openai.neutral import asks
from app.providers.translation.base import Asked
from app.providers.translation.problems import Problems

_SAMPLING = "temperature top_p stop".split()
_CHAT = (
    "n presence_penalty frequency_penalty response_format tools tool_choice parallel_tool_calls "
    "prediction metadata reasoning_effort prompt_cache_key safe_prompt prompt_mode"
).split()
_LIMITS = ("max_tokens", "max_completion_tokens")
CHAT_HONOURED = frozenset([*_SAMPLING, *_CHAT, *_LIMITS, "seed"])
FIM_HONOURED = frozenset([*_SAMPLING, *_LIMITS, "seed", "suffix", "min_tokens"])
_EMBEDDINGS_HONOURED = frozenset({"input", "encoding_format", "dimensions"})
_ROLES = {"developer": "system"}
_MEMBERS = {
    "system": {"content"},
    "user": {"content"},
    "assistant": {
        "content", "tool_calls", "refusal", "reasoning_content", "reasoning", "annotations",
    },
    "tool": {"content", "tool_call_id", "name"},
}  # fmt: skip
_CALL_ID = re.compile(r"[A-Za-z0-9]{9}")  # what the API demands of a tool call's id
_ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def chat_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/chat/completions``. Raises InvalidRequest naming what cannot be honoured."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, CHAT_HONOURED)
    body: dict[str, Any] = {"model": asked.model}
    body["messages"] = [
        _message(message, f"messages[{index}]", problems)
        for index, message in enumerate(document["messages"])
    ]
    body |= _common(asked, problems)
    body |= {name: document[name] for name in _CHAT if asks(document, name)}
    problems.raise_any()
    return body


def fim_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/fim/completions``: a prompt and what follows it. Raises InvalidRequest."""
    document = asked.document
    problems = Problems()
    problems.refuse_members(document, FIM_HONOURED)
    prompt = document.get("prompt")
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if not isinstance(prompt, str):
        problems.add("prompt", "must be one text for the model's provider")
    body = {"model": asked.model, "prompt": prompt} | _common(asked, problems)
    for name in ("suffix", "min_tokens"):
        if document.get(name) is not None:
            body[name] = document[name]
    problems.raise_any()
    return body


def embeddings_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/embeddings``: floats always, because not every model has base64."""
    problems = Problems()
    problems.refuse_members(asked.document, _EMBEDDINGS_HONOURED)
    problems.raise_any()
    body = {"model": asked.model, "input": asked.document["input"]}
    if asked.document.get("dimensions") is not None:
        body["output_dimension"] = asked.document["dimensions"]
    return body


def _common(asked: Asked, problems: Problems) -> dict[str, Any]:
    document = asked.document
    body = {name: document[name] for name in _SAMPLING if asks(document, name)}
    if body.get("temperature", 0) > 1.5:
        problems.add("temperature", "must be at most 1.5 for the model's provider")
    for name in _LIMITS:
        if document.get(name) is not None:
            body["max_tokens"] = document[name]
    if document.get("seed") is not None:
        body["random_seed"] = document["seed"]
    if asked.stream:
        body["stream"] = True
    return body


def _message(message: Mapping[str, Any], place: str, problems: Problems) -> dict[str, Any]:
    role = _ROLES.get(str(message.get("role")), message.get("role"))
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
    thought = message.get("reasoning_content") if role == "assistant" else None
    if isinstance(thought, str) and thought:
        said = [{"type": "text", "text": content}] if isinstance(content, str) else content
        content = [{"type": "thinking", "thinking": [{"type": "text", "text": thought}]}, *said]
    made["content"] = content
    calls = [
        {"id": call_id(call.get("id")), "type": "function", "function": call.get("function")}
        for call in message.get("tool_calls") or ()
        if isinstance(call, dict)
    ]
    if calls:
        made["tool_calls"] = calls
    if role == "tool":
        made["tool_call_id"] = call_id(message.get("tool_call_id"))
        if message.get("name"):
            made["name"] = message["name"]
    return made


def _part(part: Mapping[str, Any], place: str, problems: Problems) -> dict[str, Any]:
    kind = part.get("type")
    if kind == "text":
        return {"type": "text", "text": part.get("text")}
    if kind == "image_url" and isinstance(part.get("image_url"), dict):
        image = part["image_url"]
        detail = {"detail": image["detail"]} if image.get("detail") else {}
        return {"type": "image_url", "image_url": {"url": image.get("url")} | detail}
    if kind == "input_audio" and isinstance(part.get("input_audio"), dict):
        return {"type": "input_audio", "input_audio": part["input_audio"].get("data")}
    problems.add(place, "is not a part that the model's provider takes")
    return {}


def call_id(given: object) -> str:
    """A tool call's id in the form that the API demands; the same id always gives the same."""
    text = str(given)
    if _CALL_ID.fullmatch(text):
        return text
    number = int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")
    letters = []
    for _ in range(9):
        number, place = divmod(number, len(_ALPHABET))
        letters.append(_ALPHABET[place])
    return "".join(letters)
