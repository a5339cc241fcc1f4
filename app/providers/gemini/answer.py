"""Gemini's answers as chat completions, plain and streamed. Pure.

Source: https://ai.google.dev/api/generate-content (FinishReason, UsageMetadata). Tools that the
provider runs itself (code execution, search) are not the caller's tool calls.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from app.core.errors import UpstreamError, UpstreamInvalid, UpstreamOverloaded, UpstreamTimeout
from app.providers.gemini.request import OWN_CALL_ID
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

_FILTERED = frozenset(
    "SAFETY RECITATION BLOCKLIST PROHIBITED_CONTENT SPII LANGUAGE MODEL_ARMOR".split()
)

_ERRORS: dict[str, type[UpstreamError]] = {
    "UNAVAILABLE": UpstreamOverloaded,
    "RESOURCE_EXHAUSTED": UpstreamOverloaded,
    "DEADLINE_EXCEEDED": UpstreamTimeout,
}


def finish_reason(reason: str, *, calls: bool) -> str:
    """The wire's reason. Raises UpstreamInvalid where the model failed.

    ``STOP`` is also said of function calls; a malformed call is a failure, not a stop.
    """
    if reason == "STOP":
        return "tool_calls" if calls else "stop"
    if reason == "MAX_TOKENS":
        return "length"
    if reason in _FILTERED or reason.startswith("IMAGE_"):
        return "content_filter"
    shown = reason if reason.replace("_", "").isalpha() and len(reason) < 64 else "unreadable"
    raise UpstreamInvalid(f"The model failed to answer: {shown}.")


def usage_of(said: Mapping[str, Any]) -> dict[str, Any]:
    """The wire's usage: thoughts are completion, what the provider's own tools read is prompt."""
    thoughts = count(said, "thoughtsTokenCount")
    return usage_document(
        count(said, "promptTokenCount") + count(said, "toolUsePromptTokenCount"),
        count(said, "candidatesTokenCount") + thoughts,
        cached=count(said, "cachedContentTokenCount"),
        reasoning=thoughts,
    )


def parts_of(candidate: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The parts of a candidate; none where it was blocked."""
    content = candidate.get("content")
    parts = content.get("parts") if isinstance(content, Mapping) else None
    return [part for part in parts or () if isinstance(part, dict)]


def blocked(document: Mapping[str, Any]) -> bool:
    """Whether the prompt was refused by the provider's filter: there are no candidates then."""
    feedback = document.get("promptFeedback")
    return isinstance(feedback, Mapping) and bool(feedback.get("blockReason"))


class CallIds:
    """Ids for function calls, the provider's own where it gives one."""

    def __init__(self) -> None:
        self._given = 0

    def of(self, call: Mapping[str, Any], answer_id: str) -> str:
        self._given += 1
        return str(call.get("id") or f"{OWN_CALL_ID}{answer_id}_{self._given}")


def image_of(part: Mapping[str, Any]) -> dict[str, Any] | None:
    """An image that the model made, as OpenRouter gives images in chat answers."""
    data = part.get("inlineData")
    if not isinstance(data, Mapping):
        return None
    url = f"data:{data.get('mimeType')};base64,{data.get('data')}"
    return {"type": "image_url", "image_url": {"url": url}}


def logprobs_of(candidate: Mapping[str, Any]) -> dict[str, Any] | None:
    """Log-probabilities in the chat's shape."""
    result = candidate.get("logprobsResult")
    if not isinstance(result, Mapping):
        return None
    tops = [top.get("candidates") or () for top in result.get("topCandidates") or ()]
    content = []
    for index, chosen in enumerate(result.get("chosenCandidates") or ()):
        listed = tops[index] if index < len(tops) else ()
        content.append(_logprob(chosen) | {"top_logprobs": [_logprob(top) for top in listed]})
    return {"content": content, "refusal": None}


def _logprob(item: Mapping[str, Any]) -> dict[str, Any]:
    token = str(item.get("token") or "")
    return {"token": token, "logprob": item.get("logProbability"), "bytes": list(token.encode())}


def answer(asked: Asked, data: bytes) -> dict[str, Any]:
    """A chat completion from a plain answer. Raises UpstreamInvalid."""
    document = decode_answer(data)
    answer_id = str(document.get("responseId") or "")
    ids = CallIds()
    choices = []
    for candidate in _candidates(document):
        message = Message()
        for part in parts_of(candidate):
            _add(message, part, ids, answer_id)
        said = candidate.get("finishReason")
        if not isinstance(said, str):
            raise UpstreamInvalid("The upstream's answer has a candidate without an end.")
        reason = finish_reason(said, calls=message.calls)
        choices.append((message.document(), reason, logprobs_of(candidate)))
    if not choices:
        if not blocked(document):
            raise UpstreamInvalid("The upstream's answer has no candidates.")
        choices.append(({"role": "assistant", "content": ""}, "content_filter", None))
    metadata = document.get("usageMetadata")
    usage = usage_of(metadata) if isinstance(metadata, Mapping) else None
    model = str(document.get("modelVersion") or asked.model)
    return chat_answer(answer_id, model, asked.now, choices, usage)


def _candidates(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    listed = document.get("candidates") or []
    if not isinstance(listed, list) or not all(isinstance(item, dict) for item in listed):
        raise UpstreamInvalid("The upstream's answer has candidates that are no objects.")
    return sorted(listed, key=lambda item: count(item, "index"))


def _add(message: Message, part: dict[str, Any], ids: CallIds, answer_id: str) -> None:
    call = part.get("functionCall")
    if isinstance(call, dict):
        arguments = arguments_text(call.get("args"))
        signature = str(part.get("thoughtSignature") or "")
        name = str(call.get("name"))
        message.add("tool_calls", tool_call(ids.of(call, answer_id), name, arguments, signature))
    elif isinstance(part.get("text"), str):
        (message.thought if part.get("thought") else message.text)(part["text"])
    elif (image := image_of(part)) is not None:
        message.add("images", image)


def stream_error(error: object) -> UpstreamError:
    """The error of an event in an answer of status 200, by Google's canonical code."""
    status = error.get("status") if isinstance(error, Mapping) else None
    found = _ERRORS.get(status, UpstreamInvalid) if isinstance(status, str) else UpstreamInvalid
    return found("The upstream broke off its stream with an error.")


class GeminiStream(Translator):
    """One streamed answer as chunks. The end is the end of the body: there is no end mark, and an
    early event may already carry a finish reason."""

    def __init__(self, asked: Asked, framing: Framing) -> None:
        super().__init__(framing)
        self._chunks = ChunkWriter(asked.model, asked.now)
        self._said: dict[str, Any] = {}
        self._ids = CallIds()
        self._calls: dict[int, int] = {}
        self._reasons: dict[int, str | None] = {}
        self._blocked = False

    @property
    def usage(self) -> dict[str, Any] | None:
        return usage_of(self._said) if self._said else None

    def _event(self, event: Any) -> list[dict[str, Any]]:
        if not isinstance(event, dict):
            raise UpstreamInvalid("The upstream sent a stream event that is no object.")
        if event.get("error"):
            raise stream_error(event["error"])
        self._chunks.id = self._chunks.id or str(event.get("responseId") or "")
        self._chunks.model = str(event.get("modelVersion") or self._chunks.model)
        merge(self._said, event.get("usageMetadata"))
        self._blocked = self._blocked or blocked(event)
        chunks: list[dict[str, Any]] = []
        for candidate in _candidates(event):
            index = count(candidate, "index")
            chunks += self._deltas(index, candidate)
            said = candidate.get("finishReason")
            self._reasons[index] = said if isinstance(said, str) else self._reasons.get(index)
        return chunks

    def _deltas(self, index: int, candidate: dict[str, Any]) -> Iterator[dict[str, Any]]:
        logprobs = logprobs_of(candidate)
        for part in parts_of(candidate):
            delta = self._delta(index, part)
            if delta:
                yield self._chunks.delta(delta, index, logprobs)
                logprobs = None  # of the whole event: once
        if logprobs is not None:
            yield self._chunks.delta({}, index, logprobs)

    def _delta(self, index: int, part: dict[str, Any]) -> dict[str, Any]:
        call = part.get("functionCall")
        if isinstance(call, dict):
            place = self._calls.get(index, 0)
            self._calls[index] = place + 1
            whole = tool_call(
                self._ids.of(call, self._chunks.id),
                str(call.get("name")),
                arguments_text(call.get("args")),
                str(part.get("thoughtSignature") or ""),
                place,
            )
            return {"tool_calls": [whole]}
        if isinstance(part.get("text"), str) and part["text"]:
            return {"reasoning_content" if part.get("thought") else "content": part["text"]}
        image = image_of(part)
        return {"images": [image]} if image is not None else {}

    def _end(self) -> list[dict[str, Any]]:
        reasons = self._reasons or ({0: None} if self._blocked else {})
        if not reasons:
            raise cut_off()
        chunks = []
        for index, said in sorted(reasons.items()):
            if said is None and not self._blocked:
                raise cut_off()
            calls = index in self._calls
            reason = finish_reason(said, calls=calls) if said else "content_filter"
            chunks.append(self._chunks.finish(reason, index))
        if self.usage is not None:
            chunks.append(self._chunks.usage(self.usage))
        self.done = True
        return chunks
