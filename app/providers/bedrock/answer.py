"""Converse's answers as chat completions, plain and streamed. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_ConverseStream.html.
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
from app.openai import lenient_json
from app.providers.anthropic.answer import redacted, signed
from app.providers.bedrock.event_stream import BadFrame, EventStreamParser, Frame
from app.providers.translation.base import Asked
from app.providers.translation.chunks import (
    ChunkWriter,
    Message,
    arguments_text,
    chat_answer,
    tool_call,
)
from app.providers.translation.streams import Translator, cut_off, decode_answer
from app.providers.translation.usage import count, merge, usage_document

_REASONS = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "guardrail_intervened": "content_filter",
    "content_filtered": "content_filter",
}
_EXCEPTIONS: dict[str, type[UpstreamError]] = {
    "throttlingException": UpstreamOverloaded,
    "serviceUnavailableException": UpstreamOverloaded,
    "modelTimeoutException": UpstreamTimeout,
    "accessDeniedException": UpstreamAuth,
}


def finish_reason(reason: object, *, calls: bool) -> str:
    """The wire's reason. Raises UpstreamInvalid where the model failed."""
    if reason == "tool_use":
        return "tool_calls" if calls else "stop"  # the provider's own tools are not the caller's
    found = _REASONS.get(reason) if isinstance(reason, str) else None
    if found is None:
        raise UpstreamInvalid("The model ended its answer for a reason that cannot be used.")
    return found


def usage_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The wire's usage: what came from and went to the prompt cache is prompt, too."""
    read, written = count(said, "cacheReadInputTokens"), count(said, "cacheWriteInputTokens")
    prompt = count(said, "inputTokens") + read + written
    return usage_document(prompt, count(said, "outputTokens"), cached=read, written=written)


def answer(asked: Asked, answer_id: str, data: bytes) -> dict[str, Any]:
    """A chat completion from a plain answer. Raises UpstreamInvalid."""
    document = decode_answer(data)
    output = document.get("output")
    said = output.get("message") if isinstance(output, dict) else None
    blocks = said.get("content") if isinstance(said, dict) else None
    if not isinstance(blocks, list):
        raise UpstreamInvalid("The upstream's answer is not a message.")
    message = Message()
    for block in blocks:
        if isinstance(block, dict):
            _add(message, block)
    counts = document.get("usage")
    usage = usage_of(counts) if isinstance(counts, Mapping) else None
    reason = finish_reason(document.get("stopReason"), calls=message.calls)
    choices = [(message.document(), reason, None)]
    return chat_answer(answer_id, asked.model, asked.now, choices, usage)


def _add(message: Message, block: dict[str, Any]) -> None:
    use, thought = block.get("toolUse"), block.get("reasoningContent")
    if isinstance(block.get("text"), str):
        message.text(block["text"])
    elif isinstance(use, dict) and use.get("type") != "server_tool_use":
        call = tool_call(
            str(use.get("toolUseId")), str(use.get("name")), arguments_text(use.get("input"))
        )
        message.add("tool_calls", call)
    elif isinstance(thought, dict):
        text = thought.get("reasoningText")
        place = message.count("reasoning_details")
        if isinstance(text, dict):
            message.thought(str(text.get("text") or ""))
            if text.get("signature"):
                message.add("reasoning_details", signed(text.get("text"), text["signature"], place))
        elif thought.get("redactedContent"):
            message.add("reasoning_details", redacted(thought["redactedContent"], place))


class ConverseFraming:
    """Binary frames in, (kind of event, payload) out."""

    def __init__(self, max_event_bytes: int) -> None:
        self._parser = EventStreamParser(max_event_bytes)

    def feed(self, packet: bytes) -> tuple[list[Any], UpstreamError | None]:
        broken: UpstreamError | None = None
        try:
            frames = self._parser.feed(packet)
        except BadFrame as error:
            frames = error.before
            broken = UpstreamInvalid(f"The upstream's stream cannot be read: {error}.")
        events: list[Any] = []
        for frame in frames:
            try:
                events.append(_event(frame))
            except lenient_json.NotJson:
                return events, UpstreamInvalid(
                    "The upstream sent a stream event that is not valid JSON."
                )
        return events, broken


def _event(frame: Frame) -> tuple[str, Any]:
    if frame.headers.get(":message-type") == "event":
        return frame.headers.get(":event-type", ""), lenient_json.decode(frame.payload)
    kind = frame.headers.get(":exception-type") or frame.headers.get(":error-code") or ""
    return "exception", kind


class ConverseStream(Translator):
    """One streamed answer as chunks. The usage comes after ``messageStop``, the end with the body."""

    def __init__(self, asked: Asked, answer_id: str, max_event_bytes: int) -> None:
        super().__init__(ConverseFraming(max_event_bytes))
        self._chunks = ChunkWriter(asked.model, asked.now)
        self._chunks.id = answer_id
        self._said: dict[str, Any] = {}
        self._blocks: dict[Any, dict[str, Any]] = {}
        self._calls = 0
        self._reason: str | None = None

    @property
    def usage(self) -> dict[str, Any] | None:
        return usage_of(self._said) if self._said else None

    def _event(self, event: Any) -> list[dict[str, Any]]:
        kind, payload = event
        if kind == "exception":
            found = _EXCEPTIONS.get(payload, UpstreamInvalid)
            raise found("The upstream broke off its stream with an error.")
        if not isinstance(payload, dict):
            raise UpstreamInvalid("The upstream sent a stream event that is no object.")
        if kind == "messageStart":
            return [self._chunks.delta({})]
        index = payload.get("contentBlockIndex")
        if kind == "contentBlockStart":
            return self._start(index, payload.get("start"))
        if kind == "contentBlockDelta":
            return self._delta(
                self._blocks.setdefault(index, {"place": index}), payload.get("delta")
            )
        if kind == "contentBlockStop":
            return self._stop(self._blocks.pop(index, {}))
        if kind == "messageStop":
            self._reason = finish_reason(payload.get("stopReason"), calls=self._calls > 0)
        if kind == "metadata":
            merge(self._said, payload.get("usage"))
        return []

    def _start(self, index: Any, start: Any) -> list[dict[str, Any]]:
        use = start.get("toolUse") if isinstance(start, dict) else None
        state: dict[str, Any] = {
            "place": index,
            "foreign": not isinstance(use, dict) and bool(start),
        }
        self._blocks[index] = state
        if not isinstance(use, dict):
            return []
        if use.get("type") == "server_tool_use":
            state["foreign"] = True
            return []
        state["call"] = self._calls
        self._calls += 1
        call = tool_call(str(use.get("toolUseId")), str(use.get("name")), "", index=state["call"])
        return [self._chunks.delta({"tool_calls": [call]})]

    def _delta(self, state: dict[str, Any], delta: Any) -> list[dict[str, Any]]:
        if not isinstance(delta, dict) or state.get("foreign"):
            return []
        use, thought = delta.get("toolUse"), delta.get("reasoningContent")
        if isinstance(delta.get("text"), str):
            return [self._chunks.delta({"content": delta["text"]})]
        if isinstance(use, dict) and "call" in state and use.get("input"):
            state["begun"] = True
            return [self._arguments(state["call"], str(use["input"]))]
        if isinstance(thought, dict):
            return self._thought(state, thought)
        return []

    def _thought(self, state: dict[str, Any], thought: dict[str, Any]) -> list[dict[str, Any]]:
        if thought.get("signature"):
            state["signature"] = state.get("signature", "") + thought["signature"]
        if thought.get("redactedContent"):
            details = [redacted(thought["redactedContent"], state["place"])]
            return [self._chunks.delta({"reasoning_details": details})]
        if not thought.get("text"):
            return []
        state.setdefault("text", []).append(thought["text"])
        return [self._chunks.delta({"reasoning_content": thought["text"]})]

    def _stop(self, state: dict[str, Any]) -> list[dict[str, Any]]:
        if "call" in state and "begun" not in state:
            return [self._arguments(state["call"], "{}")]
        if state.get("signature"):
            details = [signed("".join(state.get("text", ())), state["signature"], state["place"])]
            return [self._chunks.delta({"reasoning_details": details})]
        return []

    def _arguments(self, index: int, text: str) -> dict[str, Any]:
        call = {"index": index, "function": {"arguments": text}}
        return self._chunks.delta({"tool_calls": [call]})

    def _end(self) -> list[dict[str, Any]]:
        if self._reason is None:
            raise cut_off()
        self.done = True
        chunks = [self._chunks.finish(self._reason)]
        if self.usage is not None:
            chunks.append(self._chunks.usage(self.usage))
        return chunks
