"""Completions with a ``suffix`` over llama.cpp's ``/infill``. Pure.

The endpoint takes the options of ``/completion``, and answers as it does: a stream has no end mark,
its last event says ``stop: true`` and has the counts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import orjson

from app.core.errors import UpstreamInvalid
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.problems import Problems
from app.providers.translation.streams import SseFraming, Translator, cut_off, decode_answer
from app.providers.translation.usage import count, usage_document

# What both endpoints call the same, beside what is renamed below.
_SAME = (
    "temperature top_p top_k min_p seed stop presence_penalty frequency_penalty repeat_penalty "
    "input_extra"
).split()
HONOURED = frozenset([*_SAME, "suffix", "max_tokens", "max_completion_tokens", "n_predict", "user"])


class InfillTranslation:
    """``url`` is where the server has ``/infill``: beside its versioned API."""

    media_type = b"text/event-stream"

    def __init__(self, url: str) -> None:
        self._url = url

    def prepare(self, asked: Asked) -> Prepared:
        document = asked.document
        problems = Problems()
        problems.refuse_members(document, HONOURED)
        prompt = document.get("prompt")
        if isinstance(prompt, list) and len(prompt) == 1:
            prompt = prompt[0]
        if not isinstance(prompt, str):
            problems.add("prompt", "must be one text where there is a `suffix`")
        problems.raise_any()
        body = {name: document[name] for name in _SAME if document.get(name) is not None}
        if isinstance(body.get("stop"), str):
            body["stop"] = [body["stop"]]
        for name in ("n_predict", "max_tokens", "max_completion_tokens"):
            if document.get(name) is not None:
                body["n_predict"] = document[name]
        body |= {"input_prefix": prompt, "input_suffix": document["suffix"], "stream": asked.stream}
        return Prepared(self._url, orjson.dumps(body))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        document = decode_answer(data)
        if not isinstance(document.get("content"), str):
            raise UpstreamInvalid("The upstream's answer has no content.")
        made = _completion(asked, uuid4().hex, document["content"], _reason(document))
        return made | {"usage": _usage(document)}

    def usage(self, data: bytes) -> dict[str, Any] | None:
        try:
            return _usage(decode_answer(data))
        except UpstreamInvalid:
            return None

    def translator(self, asked: Asked, max_event_bytes: int) -> InfillStream:
        return InfillStream(asked, max_event_bytes)


class InfillStream(Translator):
    """One streamed answer as chunks of a completion."""

    def __init__(self, asked: Asked, max_event_bytes: int) -> None:
        super().__init__(SseFraming(max_event_bytes))
        self._asked = asked
        self._id = uuid4().hex
        self._usage: dict[str, Any] | None = None

    @property
    def usage(self) -> dict[str, Any] | None:
        return self._usage

    def _event(self, event: Any) -> list[dict[str, Any]]:
        if not isinstance(event, dict) or event.get("error"):
            raise UpstreamInvalid("The upstream broke off its stream with an error.")
        text = event.get("content")
        if not isinstance(text, str):
            raise UpstreamInvalid("The upstream sent a stream event without content.")
        self.done = event.get("stop") is True
        reason = _reason(event) if self.done else None
        chunks = [_completion(self._asked, self._id, text, reason)]
        if self.done:
            self._usage = _usage(event)
            envelope = _completion(self._asked, self._id, "", None)
            chunks.append(envelope | {"choices": [], "usage": self._usage})
        return chunks

    def _end(self) -> list[dict[str, Any]]:
        raise cut_off()


def _completion(asked: Asked, answer_id: str, text: str, reason: str | None) -> dict[str, Any]:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": reason}
    return {
        "id": f"cmpl-{answer_id}",
        "object": "text_completion",
        "created": asked.now,
        "model": asked.model,
        "choices": [choice],
    }


def _reason(document: Mapping[str, Any]) -> str:
    """Older servers say it by ``stopped_limit``, newer by ``stop_type``."""
    limited = document.get("stop_type") == "limit" or document.get("stopped_limit") is True
    return "length" if limited else "stop"


def _usage(document: Mapping[str, Any]) -> dict[str, Any]:
    return usage_document(count(document, "tokens_evaluated"), count(document, "tokens_predicted"))
