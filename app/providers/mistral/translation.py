"""Chat, fill-in-the-middle and embeddings over Mistral's API. Pure."""

from __future__ import annotations

from typing import Any

import orjson

from app.core.errors import UpstreamInvalid
from app.providers.mistral.answer import MistralStream, answer
from app.providers.mistral.request import chat_request, embeddings_request, fim_request
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.streams import SseFraming, decode_answer, object_in
from app.providers.translation.usage import count
from app.providers.translation.vectors import embeddings_answer


class MistralTranslation:
    """A completions request goes to ``/fim/completions``; the base URL ends in the API's version."""

    media_type = b"text/event-stream"

    def prepare(self, asked: Asked) -> Prepared:
        if asked.operation == "embeddings":
            return Prepared("/embeddings", orjson.dumps(embeddings_request(asked)))
        if asked.operation == "completions":
            return Prepared("/fim/completions", orjson.dumps(fim_request(asked)))
        return Prepared("/chat/completions", orjson.dumps(chat_request(asked)))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        if asked.operation != "embeddings":
            return answer(asked, data)
        document = decode_answer(data)
        listed = document.get("data")
        if not isinstance(listed, list):
            raise UpstreamInvalid("The upstream's answer holds no embeddings.")
        listed = sorted(listed, key=lambda item: count(item, "index"))
        said = document.get("usage")
        tokens = count(said, "prompt_tokens") if isinstance(said, dict) else None
        model = str(document.get("model") or "")
        vectors = [item.get("embedding") for item in listed]
        return embeddings_answer(asked, vectors, tokens, model)

    def usage(self, data: bytes) -> dict[str, Any] | None:
        return object_in(data, "usage")

    def translator(self, asked: Asked, max_event_bytes: int) -> MistralStream:
        return MistralStream(asked, SseFraming(max_event_bytes))
