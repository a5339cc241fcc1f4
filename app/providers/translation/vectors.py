"""Embeddings requests and answers, as far as providers share them. Pure."""

from __future__ import annotations

import struct
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any

from app.core.errors import UpstreamInvalid
from app.providers.translation.base import Asked
from app.providers.translation.problems import Problems


def texts_of(document: Mapping[str, Any], problems: Problems) -> list[str]:
    """The inputs, where each is a text; token ids are added to ``problems``."""
    given = document.get("input")
    inputs = [given] if isinstance(given, str) else list(given or ())
    if not all(isinstance(text, str) for text in inputs):
        problems.add("input", "as token ids is not supported by the model's provider")
        return []
    return inputs


def embeddings_answer(
    asked: Asked, vectors: Sequence[Any], tokens: int | None, model: str = ""
) -> dict[str, Any]:
    """An embeddings answer in input order; without ``usage`` where the provider says nothing."""
    base64 = asked.document.get("encoding_format") == "base64"
    data = []
    for index, vector in enumerate(vectors):
        if not isinstance(vector, list) or not all(type(x) in (int, float) for x in vector):
            raise UpstreamInvalid("The upstream's answer has an embedding that is no vector.")
        embedding: Any = packed(vector) if base64 else vector
        data.append({"object": "embedding", "index": index, "embedding": embedding})
    document: dict[str, Any] = {"object": "list", "data": data, "model": model or asked.model}
    if tokens is not None:
        document["usage"] = {"prompt_tokens": tokens, "total_tokens": tokens}
    return document


def packed(vector: Sequence[float]) -> str:
    """A vector as the OpenAI API's base64: little-endian floats of four bytes."""
    return b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
