"""Anthropic's answers as chat completions, plain and streamed. Pure.

Source: https://docs.anthropic.com/en/api/messages-streaming and /handling-stop-reasons. Tools that
the provider runs itself (``server_tool_use``, ``mcp_tool_use``) are not the caller's tool calls.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from app.core.errors import (
    UpstreamAuth,
    UpstreamError,
    UpstreamInvalid,
    UpstreamOverloaded,
    UpstreamTimeout,
)
from app.providers.translation.base import Asked
from app.providers.translation.chunks import (
    ChunkWriter,
    Message,
    arguments_text,
    chat_answer,
    tool_call,
)
from app.providers.translation.streams import Framing, Translator, cut_off, decode_answer
from app.providers.translation.usage import count, merge, usage_document

THOUGHT_FORMAT = "anthropic-claude-v1"  # OpenRouter's name for signed thoughts
_REASONS = {
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool_calls",
    "refusal": "content_filter",
}
_ERRORS: dict[str, type[UpstreamError]] = {
    "overloaded_error": UpstreamOverloaded,
    "rate_limit_error": UpstreamOverloaded,
    "timeout_error": UpstreamTimeout,
    "authentication_error": UpstreamAuth,
    "permission_error": UpstreamAuth,
    "billing_error": UpstreamAuth,
}


def finish_reason(reason: object) -> str:
    """``end_turn``, ``stop_sequence`` and ``pause_turn`` are a stop."""
    return _REASONS.get(reason, "stop") if isinstance(reason, str) else "stop"


def usage_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The wire's usage. Where the provider lists iterations, their sum is what it bills."""
    listed = said.get("iterations")
    calls = [call for call in listed or () if isinstance(call, Mapping)] or [said]
    names = (
        "input_tokens", "cache_creation_input_tokens", "cache_read_input_tokens", "output_tokens",
    )  # fmt: skip
    given, written, read, output = (sum(count(call, name) for call in calls) for name in names)
    details = said.get("output_tokens_details")
    thoughts = count(details, "thinking_tokens") if isinstance(details, Mapping) else 0
    return usage_document(
        given + written + read, output, cached=read, written=written, reasoning=thoughts
    )


def answer(asked: Asked, data: bytes) -> dict[str, Any]:
    """A chat completion from a message. Raises UpstreamError."""
    document = decode_answer(data)
    if document.get("type") == "error":
        raise stream_error(document.get("error"))
    blocks = document.get("content")
    if not isinstance(blocks, list):
        raise UpstreamInvalid("The upstream's answer is not a message.")
    message = Message()
    for block in blocks:
        if isinstance(block, dict):
            _add(message, block)
    said = document.get("usage")
    usage = usage_of(said) if isinstance(said, Mapping) else None
    reason = finish_reason(document.get("stop_reason"))
    model = document.get("model") or asked.model
    choices = [(message.document(), reason, None)]
    return chat_answer(str(document.get("id")), str(model), asked.now, choices, usage)


def _add(message: Message, block: dict[str, Any]) -> None:
    kind = block.get("type")
    if kind == "text":
        message.text(str(block.get("text") or ""))
    elif kind == "thinking":
        message.thought(str(block.get("thinking") or ""))
        place = message.count("reasoning_details")
        thought = signed(block.get("thinking"), block.get("signature"), place)
        message.add("reasoning_details", thought)
    elif kind == "redacted_thinking":
        place = message.count("reasoning_details")
        message.add("reasoning_details", redacted(block.get("data"), place))
    elif kind == "tool_use":
        arguments = arguments_text(block.get("input"))
        message.add("tool_calls", tool_call(str(block["id"]), str(block["name"]), arguments))


def signed(text: object, signature: object, index: int) -> dict[str, Any]:
    """A thought with its signature, as the caller sends it back with the next request.

    ``index`` tells the thoughts of one answer apart, where a client joins what is streamed.
    """
    return {
        "index": index,
        "type": "reasoning.text",
        "text": text or "",
        "signature": signature or "",
        "format": THOUGHT_FORMAT,
    }


def redacted(data: object, index: int) -> dict[str, Any]:
    """A thought that only the provider can read."""
    return {
        "index": index,
        "type": "reasoning.encrypted",
        "data": data,
        "format": THOUGHT_FORMAT,
    }


def stream_error(error: object) -> UpstreamError:
    """The error of an ``error`` event, which comes in an answer of status 200."""
    kind = error.get("type") if isinstance(error, Mapping) else None
    found = _ERRORS.get(kind, UpstreamInvalid) if isinstance(kind, str) else UpstreamInvalid
    return found("The upstream broke off its stream with an error.")


class AnthropicStream(Translator):
    """One streamed message as chunks."""

    def __init__(self, asked: Asked, framing: Framing) -> None:
        super().__init__(framing)
        self._chunks = ChunkWriter(asked.model, asked.now)
        self._said: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._calls = 0
        self._reason: object = None

    @property
    def usage(self) -> dict[str, Any] | None:
        return usage_of(self._said) if self._said else None

    def _event(self, event: Any) -> list[dict[str, Any]]:
        if not isinstance(event, dict):
            raise UpstreamInvalid("The upstream sent a stream event that is no object.")
        kind = event.get("type")
        if kind == "error":
            raise stream_error(event.get("error"))
        if kind == "message_start":
            return self._start(event.get("message"))
        if kind == "content_block_start":
            return self._block(event.get("index"), event.get("content_block"))
        if kind == "content_block_delta":
            return self._delta(self._blocks.get(event.get("index")), event.get("delta"))
        if kind == "content_block_stop":
            return self._block_end(self._blocks.pop(event.get("index"), None))
        if kind == "message_delta":
            merge(self._said, event.get("usage"))
            delta = event.get("delta")
            self._reason = (delta or {}).get("stop_reason") or self._reason
        if kind == "message_stop":
            return self._stop()
        return []

    def _start(self, message: Any) -> list[dict[str, Any]]:
        if isinstance(message, dict):
            self._chunks.id = str(message.get("id") or "")
            self._chunks.model = str(message.get("model") or self._chunks.model)
            merge(self._said, message.get("usage"))
        return [self._chunks.delta({})]

    def _block(self, index: Any, block: Any) -> list[dict[str, Any]]:
        if not isinstance(block, dict):
            return []
        state: dict[str, Any] = {"type": block.get("type"), "text": [], "place": index}
        self._blocks[index] = state
        if state["type"] == "tool_use":
            state |= {"index": self._calls, "input": block.get("input")}
            self._calls += 1
            call = tool_call(str(block.get("id")), str(block.get("name")), "", index=state["index"])
            return [self._chunks.delta({"tool_calls": [call]})]
        if state["type"] == "text" and block.get("text"):
            return [self._chunks.delta({"content": block["text"]})]
        if state["type"] == "redacted_thinking":
            return [self._chunks.delta({"reasoning_details": [redacted(block.get("data"), index)]})]
        return []

    def _delta(self, state: dict[str, Any] | None, delta: Any) -> list[dict[str, Any]]:
        if state is None or not isinstance(delta, dict):
            return []
        kind = delta.get("type")
        if kind == "text_delta" and state["type"] == "text":
            return [self._chunks.delta({"content": delta.get("text") or ""})]
        if kind == "thinking_delta":
            state["text"].append(delta.get("thinking") or "")
            return [self._chunks.delta({"reasoning_content": delta.get("thinking") or ""})]
        if kind == "signature_delta":
            state["signature"] = state.get("signature", "") + (delta.get("signature") or "")
        if kind == "input_json_delta" and state["type"] == "tool_use" and delta.get("partial_json"):
            state["begun"] = True
            return [self._arguments(state["index"], delta["partial_json"])]
        return []

    def _block_end(self, state: dict[str, Any] | None) -> list[dict[str, Any]]:
        if state is None:
            return []
        if state["type"] == "tool_use" and "begun" not in state:
            return [self._arguments(state["index"], arguments_text(state["input"]))]
        if state["type"] == "thinking" and state.get("signature"):
            details = [signed("".join(state["text"]), state["signature"], state["place"])]
            return [self._chunks.delta({"reasoning_details": details})]
        return []

    def _arguments(self, index: int, text: str) -> dict[str, Any]:
        call = {"index": index, "function": {"arguments": text}}
        return self._chunks.delta({"tool_calls": [call]})

    def _stop(self) -> list[dict[str, Any]]:
        if self._reason is None:
            raise cut_off()
        self.done = True
        chunks = [self._chunks.finish(finish_reason(self._reason))]
        if self.usage is not None:
            chunks.append(self._chunks.usage(self.usage))
        return chunks
