"""The gateway's own use of embeddings: one text, through one of its providers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.core.errors import UpstreamInvalid
from app.providers.base import Provider, UpstreamCall


class EmbeddingsRequest:
    """A request for one text's embedding as numbers."""

    def __init__(self, text: str) -> None:
        self.document = {"input": text, "encoding_format": "float"}
        self.stream_options: Mapping[str, Any] = {}

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        made = {name: orjson.Fragment(value) for name, value in (changes or {}).items()}
        return orjson.dumps({"model": model, **self.document, **made})


class Embedder:
    """A provider, asked for embeddings of single texts."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.slug = provider.slug

    async def embed(self, text: str, model: str) -> Any:
        """What the embeddings endpoint answers for one text. Raises UpstreamError."""
        call = UpstreamCall("embeddings", EmbeddingsRequest(text), model)
        try:
            return orjson.loads(await self._provider.answer(call))
        except orjson.JSONDecodeError:
            raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None
