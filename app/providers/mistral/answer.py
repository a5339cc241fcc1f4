"""Mistral's answers, plain and streamed, of chat and of fill-in-the-middle. Pure.

A message's content may be a list of texts and thoughts. Fill-in-the-middle answers in chat's shape.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import UpstreamInvalid
from app.providers.translation.base import Asked
from app.providers.translation.chunks import arguments_text
from app.providers.translation.streams import Framing, Translator, cut_off, decode_answer

_REASONS = {"model_length": "length"}


def finish_reason(reason: object) -> str | None:
    """The wire's reason. Raises UpstreamInvalid where the model failed."""
    if reason == "error":
        raise UpstreamInvalid("The model failed to answer.")
    return _REASONS.get(reason, reason) if isinstance(reason, str) else None


def answer(asked: Asked, data: bytes) -> dict[str, Any]:
    """An answer of chat, or of fill-in-the-middle as a text completion. Raises UpstreamInvalid."""
    document = decode_answer(data)
    choices = [_choice(choice, "message") for choice in _choices(document)]
    if not choices:
        raise UpstreamInvalid("The upstream's answer has no choices.")
    document = document | {"choices": choices}
    return as_completion(document, "message") if asked.operation == "completions" else document


def _choices(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = document.get("choices")
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise UpstreamInvalid("The upstream's answer has choices that cannot be read.")
    return listed


def _choice(choice: dict[str, Any], member: str) -> dict[str, Any]:
    message = choice.get(member)
    if not isinstance(message, dict):
        raise UpstreamInvalid("The upstream's answer has a choice without a message.")
    message = _plain_content(message)
    calls = message.get("tool_calls")
    if isinstance(calls, list) and calls:
        message = message | {
            "tool_calls": [_call(call, index, member) for index, call in enumerate(calls)]
        }
    elif "tool_calls" in message:
        message = {name: value for name, value in message.items() if name != "tool_calls"}
    reason = finish_reason(choice.get("finish_reason"))
    return choice | {member: message, "finish_reason": reason}


def _plain_content(message: dict[str, Any]) -> dict[str, Any]:
    """A message whose content is a string; its thoughts stand beside it."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    texts: list[str] = []
    thoughts: list[str] = []
    for part in content:
        if isinstance(part, Mapping) and part.get("type") == "text":
            texts.append(str(part.get("text") or ""))
        elif isinstance(part, Mapping) and part.get("type") == "thinking":
            thoughts += _thought(part.get("thinking"))
    plain = message | {"content": "".join(texts)}
    return plain | {"reasoning_content": "".join(thoughts)} if thoughts else plain


def _thought(thinking: object) -> list[str]:
    if isinstance(thinking, str):
        return [thinking]
    listed = thinking if isinstance(thinking, list) else []
    return [str(part.get("text") or "") for part in listed if isinstance(part, Mapping)]


def _call(call: Any, position: int, member: str) -> dict[str, Any]:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict):
        raise UpstreamInvalid("The upstream's answer has a tool call without a function.")
    arguments = function.get("arguments")
    if not isinstance(arguments, str):
        function = function | {"arguments": arguments_text(arguments)}
    made: dict[str, Any] = call | {"type": "function", "function": function}
    if member == "delta":
        return made | {"index": call.get("index", position)}
    made.pop("index", None)
    return made


def as_completion(document: dict[str, Any], member: str) -> dict[str, Any]:
    """A chat answer or chunk as a text completion's."""
    choices = [
        {
            "index": choice.get("index", 0),
            "text": choice[member].get("content") or "",
            "logprobs": None,
            "finish_reason": choice["finish_reason"],
        }
        for choice in document["choices"]
    ]
    answer_id = f"cmpl-{document.get('id')}"
    return document | {"id": answer_id, "object": "text_completion", "choices": choices}


class MistralStream(Translator):
    """One streamed answer as chunks; of fill-in-the-middle as a completion's."""

    def __init__(self, asked: Asked, framing: Framing) -> None:
        super().__init__(framing)
        self._completion = asked.operation == "completions"
        self._usage: dict[str, Any] | None = None

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._usage

    def _event(self, event: Any) -> list[dict[str, Any]]:
        if event is None:
            self.done = True
            return []
        if not isinstance(event, dict) or event.get("object") == "error" or event.get("error"):
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        if isinstance(event.get("usage"), dict):
            self._usage = event["usage"]
        chunk = event | {"choices": [_choice(choice, "delta") for choice in _choices(event)]}
        return [as_completion(chunk, "delta") if self._completion else chunk]

    def _end(self) -> list[dict[str, Any]]:
        raise cut_off()
