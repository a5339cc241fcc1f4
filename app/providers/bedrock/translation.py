"""Chat over Bedrock's Converse API, embeddings over InvokeModel. Pure, but for a random id: the API gives its answers none."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote
from uuid import uuid4

import orjson

from app.providers.bedrock.answer import ConverseStream, answer, usage_of
from app.providers.bedrock.embeddings import embeddings_of, embeddings_request
from app.providers.bedrock.request import converse_request
from app.providers.translation.base import Asked, Prepared
from app.providers.translation.streams import object_in


class BedrockTranslation:
    """``/model/{id}/converse`` and ``/invoke``; an id may be an inference profile's ARN."""

    media_type = b"application/vnd.amazon.eventstream"

    def prepare(self, asked: Asked) -> Prepared:
        model = quote(asked.model, safe="-_.~")
        if asked.operation == "embeddings":
            return Prepared(f"/model/{model}/invoke", orjson.dumps(embeddings_request(asked)))
        call = "converse-stream" if asked.stream else "converse"
        return Prepared(f"/model/{model}/{call}", orjson.dumps(converse_request(asked)))

    def answer(self, asked: Asked, data: bytes) -> dict[str, Any]:
        if asked.operation == "embeddings":
            return embeddings_of(asked, data)
        return answer(asked, uuid4().hex, data)

    def usage(self, data: bytes) -> dict[str, Any] | None:
        said = object_in(data, "usage")
        return usage_of(said) if said is not None else None

    def translator(self, asked: Asked, max_event_bytes: int) -> ConverseStream:
        return ConverseStream(asked, uuid4().hex, max_event_bytes)
