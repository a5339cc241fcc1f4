"""Embeddings over ``:batchEmbedContents``. Pure.

Source: https://ai.google.dev/api/embeddings; at most 100 texts in one request.
"""

from __future__ import annotations

from typing import Any

from app.core.errors import UpstreamInvalid
from app.providers.translation.base import Asked
from app.providers.translation.problems import Problems
from app.providers.translation.streams import decode_answer
from app.providers.translation.usage import count
from app.providers.translation.vectors import embeddings_answer, texts_of

MAX_TEXTS = 100
_HONOURED = frozenset({"input", "dimensions", "encoding_format"})


def embeddings_request(asked: Asked, name: str) -> dict[str, Any]:
    """The body for the model of this resource name. Raises InvalidRequest."""
    problems = Problems()
    problems.refuse_members(asked.document, _HONOURED)
    texts = texts_of(asked.document, problems)
    problems.raise_any()
    dimensions = asked.document.get("dimensions")
    more = {"outputDimensionality": dimensions} if dimensions is not None else {}
    return {
        "requests": [
            {"model": name, "content": {"parts": [{"text": text}]}} | more for text in texts
        ]
    }


def embeddings_of(asked: Asked, data: bytes) -> dict[str, Any]:
    """The vectors, with the tokens where the model counts them. Raises UpstreamInvalid."""
    document = decode_answer(data)
    listed = document.get("embeddings")
    if not isinstance(listed, list):
        raise UpstreamInvalid("The upstream's answer holds no embeddings.")
    vectors = [item.get("values") if isinstance(item, dict) else None for item in listed]
    said = document.get("usageMetadata")
    tokens = count(said, "promptTokenCount") if isinstance(said, dict) else None
    return embeddings_answer(asked, vectors, tokens)
