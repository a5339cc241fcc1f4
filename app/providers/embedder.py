"""The gateway's own use of embeddings: one text, through one of its providers."""

from __future__ import annotations

from time import time

from app.openai.embeddings.answer import read_answer, vectors_of
from app.openai.embeddings.request import request_for
from app.providers.base import Provider, UpstreamCall


class Embedder:
    """A provider, asked for embeddings of single texts."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.slug = provider.slug

    async def embed(self, text: str, model: str) -> list[float]:
        """The text's vector. Raises UpstreamError, and InvalidRequest for a text of nothing."""
        request = request_for(model, [text])
        data = await self._provider.answer(UpstreamCall("embeddings", request, model))
        [vector] = vectors_of(read_answer(data, request, model, int(time())).body)
        return vector
