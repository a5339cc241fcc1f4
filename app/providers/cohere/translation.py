"""Chat and embeddings over Cohere's API. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.core.errors import UpstreamInvalid
from app.providers.cohere.answer import CohereStream, answer, usage_of
from app.providers.cohere.request import chat_request, embed_request
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.streams import SseFraming, decode_answer, object_in
from app.providers.translation.usage import count
from app.providers.translation.vectors import embeddings_answer


class CohereTranslation:
    """The base URL ends in the API's version, ``/v2``."""

    media_type = b"text/event-stream"

    def prepare(self, asked: Asked) -> Prepared:
        if asked.operation == "embeddings":
            return Prepared("/embed", orjson.dumps(embed_request(asked)))
        return Prepared("/chat", orjson.dumps(chat_request(asked)))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        if asked.operation != "embeddings":
            return answer(asked, data)
        document = decode_answer(data)
        listed = document.get("embeddings")
        vectors = listed.get("float") if isinstance(listed, Mapping) else None
        if not isinstance(vectors, list):
            raise UpstreamInvalid("The upstream's answer holds no embeddings.")
        billed = (document.get("meta") or {}).get("billed_units") or {}
        return embeddings_answer(asked, vectors, count(billed, "input_tokens"))

    def usage(self, data: bytes) -> dict[str, Any] | None:
        said = object_in(data, "usage")
        return None if said is None else usage_of(said)

    def translator(self, asked: Asked, max_event_bytes: int) -> CohereStream:
        return CohereStream(asked, SseFraming(max_event_bytes))
