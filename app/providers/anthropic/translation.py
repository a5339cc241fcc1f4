"""Chat over the Anthropic Messages API. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from app.providers.anthropic.answer import AnthropicStream, answer, usage_of
from app.providers.anthropic.request import message_request
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.streams import SseFraming, object_in


class AnthropicTranslation:
    """``/v1/messages``; the base URL ends in the API's version."""

    media_type = b"text/event-stream"

    def prepare(self, asked: Asked) -> Prepared:
        return Prepared("/messages", orjson.dumps(message_request(asked)))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        return answer(asked, data)

    def usage(self, data: bytes) -> dict[str, Any] | None:
        said = object_in(data, "usage")
        return usage_of(said) if said is not None else None

    def translator(self, asked: Asked, max_event_bytes: int) -> AnthropicStream:
        return AnthropicStream(asked, SseFraming(max_event_bytes))
