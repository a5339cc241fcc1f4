"""Embeddings over Bedrock's InvokeModel: Amazon's Titan, and Cohere's models. Pure.

Source: https://docs.aws.amazon.com/bedrock/latest/userguide/model-parameters-titan-embed-text.html
and model-parameters-embed.html (Cohere; at most 96 texts in one request, Titan takes one).
"""

from __future__ import annotations

from typing import Any

from app.core.errors import UpstreamInvalid
from app.providers.translation.base import Asked
from app.providers.translation.problems import Problems
from app.providers.translation.streams import decode_answer
from app.providers.translation.usage import count
from app.providers.translation.vectors import embeddings_answer, texts_of

# `input_type` is Cohere's: search_document, search_query, classification or clustering.
_HONOURED = frozenset({"input", "dimensions", "encoding_format"})
_COHERE_ONLY = frozenset({"input_type"})


def embeddings_request(asked: Asked) -> dict[str, Any]:
    """The body for ``/invoke``, in the words of the model's maker. Raises InvalidRequest."""
    document = asked.document
    cohere = "cohere." in asked.model
    problems = Problems()
    problems.refuse_members(document, _HONOURED | (_COHERE_ONLY if cohere else frozenset()))
    texts = texts_of(document, problems)
    if not cohere and "titan-embed" not in asked.model:
        problems.add("model", "is not one whose embeddings the gateway can ask for")
    if not cohere and len(texts) > 1:
        problems.add("input", "must be one text for this model; set `embedding_inputs: 1`")
    problems.raise_any()
    dimensions = document.get("dimensions")
    if cohere:
        kind = document.get("input_type") or "search_document"
        more = {} if dimensions is None else {"output_dimension": dimensions}
        return {"texts": texts, "input_type": kind} | more
    return {"inputText": texts[0]} | ({} if dimensions is None else {"dimensions": dimensions})


def embeddings_of(asked: Asked, data: bytes) -> dict[str, Any]:
    """The vectors; with their tokens from Titan, which counts them. Raises UpstreamInvalid."""
    document = decode_answer(data)
    if isinstance(document.get("embedding"), list):
        tokens = count(document, "inputTextTokenCount")
        return embeddings_answer(asked, [document["embedding"]], tokens)
    listed = document.get("embeddings")
    if isinstance(listed, dict):  # by type, as newer models answer
        listed = listed.get("float")
    if not isinstance(listed, list):
        raise UpstreamInvalid("The upstream's answer holds no embeddings.")
    return embeddings_answer(asked, listed, None)
