"""Chat and embeddings over the Gemini API. Pure."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from app.providers.gemini.answer import GeminiStream, answer, usage_of
from app.providers.gemini.embeddings import embeddings_of, embeddings_request
from app.providers.gemini.request import generate_request
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.streams import SseFraming, object_in


class GeminiTranslation:
    """``/models/{model}:…``; the base URL ends in the API's version, or in Vertex's publisher."""

    media_type = b"text/event-stream"

    def prepare(self, asked: Asked) -> Prepared:
        name = asked.model if "/" in asked.model else f"models/{asked.model}"
        path = "/" + quote(name)
        if asked.operation == "embeddings":
            body = embeddings_request(asked, name)
            return Prepared(f"{path}:batchEmbedContents", orjson.dumps(body))
        call = ":streamGenerateContent?alt=sse" if asked.stream else ":generateContent"
        return Prepared(path + call, orjson.dumps(generate_request(asked)))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        return (embeddings_of if asked.operation == "embeddings" else answer)(asked, data)

    def usage(self, data: bytes) -> dict[str, Any] | None:
        said = object_in(data, "usageMetadata")
        return usage_of(said) if said is not None else None

    def translator(self, asked: Asked, max_event_bytes: int) -> GeminiStream:
        return GeminiStream(asked, SseFraming(max_event_bytes))
