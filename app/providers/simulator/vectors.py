"""The simulator's embeddings: vectors in which texts that share words are near each other.

Each word has a direction of its own, by its hash, and a text points where its words do together.
Nothing more is meant by it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import orjson

from app.openai.embeddings.answer import to_base64
from app.providers.simulator.text import Prompt, tokens_of

DIMENSIONS = 256
MOST_DIMENSIONS = 4096


def answer(document: Mapping[str, Any], model: str) -> bytes:
    """The embeddings answer to a request, in OpenAI's shape."""
    given = document["input"]
    inputs: list[Prompt] = [given] if isinstance(given, str) or type(given[0]) is int else given
    dimensions = min(document.get("dimensions") or DIMENSIONS, MOST_DIMENSIONS)
    tokens = [tokens_of(one) for one in inputs]
    as_text = document.get("encoding_format") == "base64"
    vectors = [vector(words, dimensions) for words in tokens]
    data = [
        {"object": "embedding", "index": index, "embedding": to_base64(one) if as_text else one}
        for index, one in enumerate(vectors)
    ]
    used = sum(map(len, tokens))
    usage = {"prompt_tokens": used, "total_tokens": used}
    return orjson.dumps({"object": "list", "data": data, "model": model, "usage": usage})


def vector(words: list[str], dimensions: int) -> list[float]:
    """A vector of length one."""
    total = [0.0] * dimensions
    for word in words:
        digest = blake2b(word.strip().lower().encode()).digest()
        for place in range(0, len(digest), 4):
            number = int.from_bytes(digest[place : place + 4], "big")
            total[(number >> 1) % dimensions] += 1.0 if number & 1 else -1.0
    length = math.sqrt(sum(number * number for number in total)) or 1.0
    return [number / length for number in total] if any(total) else [1.0] + [0.0] * (dimensions - 1)
