"""Cohere's answers, plain and streamed, as chat completions. Pure.

``usage.tokens`` is what the model read and wrote; ``billed_units`` leaves out what Cohere adds to a
prompt itself. What a model plans to do with its tools (``tool_plan``) is a thought. A stream has no
``[DONE]``: ``message-end`` ends it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import UpstreamInvalid
from app.core.usage import MAX_TOKENS
from app.providers.translation.base import Asked
from app.providers.translation.chunks import ChunkWriter, Message, chat_answer, tool_call
from app.providers.translation.streams import Framing, Translator, decode_answer
from app.providers.translation.usage import usage_document

_REASONS = {"MAX_TOKENS": "length", "TOOL_CALL": "tool_calls"}
_FAILED = frozenset({"ERROR", "TIMEOUT", "ERROR_TOXIC", "ERROR_LIMIT", "USER_CANCEL"})


def finish_reason(reason: object) -> str:
    """``COMPLETE`` and ``STOP_SEQUENCE`` are a stop. Raises UpstreamInvalid where the model failed."""
    if reason in _FAILED:
        raise UpstreamInvalid("The model failed to answer.")
    return _REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def usage_of(said: Mapping[str, Any]) -> dict[str, Any] | None:
    """The wire's usage; None where no tokens are told."""
    tokens = said.get("tokens")
    if not isinstance(tokens, Mapping):
        return None
    prompt, completion = _whole(tokens.get("input_tokens")), _whole(tokens.get("output_tokens"))
    return usage_document(prompt, completion, cached=_whole(said.get("cached_tokens")))


def answer(asked: Asked, data: bytes) -> dict[str, Any]:
    """A chat completion from an answer of ``/v2/chat``. Raises UpstreamInvalid."""
    document = decode_answer(data)
    said = document.get("message")
    if not isinstance(said, Mapping):
        raise UpstreamInvalid("The upstream's answer has no message.")
    message = Message()
    if said.get("tool_plan"):
        message.thought(str(said["tool_plan"]))
    for block in _items(said.get("content")):
        if block.get("type") == "thinking":
            message.thought(str(block.get("thinking") or ""))
        elif block.get("type") == "text":
            message.text(str(block.get("text") or ""))
    for call in _items(said.get("tool_calls")):
        function = call.get("function") or {}
        made = tool_call(
            str(call.get("id")), str(function.get("name")), function.get("arguments") or "{}"
        )
        message.add("tool_calls", made)
    counts = document.get("usage")
    usage = usage_of(counts) if isinstance(counts, Mapping) else None
    choices = [(message.document(), finish_reason(document.get("finish_reason")), None)]
    return chat_answer(str(document.get("id")), asked.model, asked.now, choices, usage)


def _items(listed: object) -> list[Mapping[str, Any]]:
    found = listed if isinstance(listed, list) else []
    return [item for item in found if isinstance(item, Mapping)]


def _whole(value: object) -> int:
    """A count, which the API may write as a float."""
    if not isinstance(value, int | float) or not 0 <= value <= MAX_TOKENS:
        return 0
    return int(value)


class CohereStream(Translator):
    """One streamed message as chunks."""

    def __init__(self, asked: Asked, framing: Framing) -> None:
        super().__init__(framing)
        self._chunks = ChunkWriter(asked.model, asked.now)
        self._usage: dict[str, Any] | None = None
        self._calls: dict[Any, int] = {}

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._usage

    def _event(self, event: Any) -> list[dict[str, Any]]:
        if event is None:
            return []
        if not isinstance(event, Mapping):
            raise UpstreamInvalid("The upstream sent a stream event that is no object.")
        kind = event.get("type")
        delta = event.get("delta")
        delta = delta if isinstance(delta, Mapping) else {}
        if kind == "message-start":
            self._chunks.id = str(event.get("id") or "")
            return [self._chunks.delta({})]
        if kind == "message-end":
            return self._finish(delta)
        if kind is None:
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        said = delta.get("message")
        return self._said(event, said) if isinstance(said, Mapping) else []

    def _said(self, event: Mapping[str, Any], said: Mapping[str, Any]) -> list[dict[str, Any]]:
        chunks = []
        content = said.get("content")
        if isinstance(content, Mapping):
            for name, to in (("thinking", "reasoning_content"), ("text", "content")):
                if content.get(name):
                    chunks.append(self._chunks.delta({to: content[name]}))
        if said.get("tool_plan"):
            chunks.append(self._chunks.delta({"reasoning_content": said["tool_plan"]}))
        call = said.get("tool_calls")
        if isinstance(call, Mapping):
            chunks.append(self._chunks.delta({"tool_calls": [self._call(event, call)]}))
        return chunks

    def _call(self, event: Mapping[str, Any], call: Mapping[str, Any]) -> dict[str, Any]:
        """A tool call as it begins, or a piece of its arguments."""
        function = call.get("function") or {}
        arguments = function.get("arguments") or ""
        place = event.get("index")
        if event.get("type") != "tool-call-start":
            index = self._calls.get(place, max(len(self._calls) - 1, 0))
            return {"index": index, "function": {"arguments": arguments}}
        index = self._calls[place] = len(self._calls)
        return tool_call(str(call.get("id")), str(function.get("name")), arguments, index=index)

    def _finish(self, delta: Mapping[str, Any]) -> list[dict[str, Any]]:
        counts = delta.get("usage")
        self._usage = usage_of(counts) if isinstance(counts, Mapping) else None
        reason = finish_reason(delta.get("finish_reason"))
        self.done = True
        chunks = [self._chunks.finish(reason)]
        if self._usage is not None:
            chunks.append(self._chunks.usage(self._usage))
        return chunks
