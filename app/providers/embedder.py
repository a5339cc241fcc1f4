"""The gateway's own use of embeddings, through one of its providers."""

from __future__ import annotations

from collections.abc import Sequence
from time import time

from app.core.usage import Usage
from app.openai.embeddings.answer import read_answer, vectors_of
from app.openai.embeddings.request import request_for
from app.providers.base import Provider, UpstreamCall


class Embedder:
    """A provider, asked for embeddings."""

    def __init__(self, provider: Provider) -> None:
        self._provider = provider
        self.slug = provider.slug

    async def embed(self, text: str, model: str) -> list[float]:
        """The text's vector. Raises UpstreamError, and InvalidRequest for a text of nothing."""
        [vector], _ = await self.embed_all([text], model)
        return vector

    async def embed_all(
        self, texts: Sequence[str], model: str
    ) -> tuple[list[list[float]], Usage | None]:
        """The texts' vectors, and what they used. Raises as ``embed``."""
        request = request_for(model, texts)
        data = await self._provider.answer(UpstreamCall("embeddings", request, model))
        answer = read_answer(data, request, model, int(time()))
        return vectors_of(answer.body), answer.usage
