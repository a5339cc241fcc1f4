"""Topics, by what a text means: the cosine to examples that the operator gives."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Mapping, Sequence
from typing import Protocol

from app.guardrails.rule import Asked, RemoteFailure, Verdict

MAX_CHARACTERS = 2000  # of a text that are looked at: a topic shows at its beginning


class Encoder(Protocol):
    """Gives the unit vector of a text, as 32-bit floats; None where there is none to be had."""

    async def vector(self, text: str) -> bytes | None: ...


class Topics:
    """Refuses texts near the examples of a topic. The examples are encoded with the first text."""

    def __init__(
        self, encoder: Encoder, topics: Mapping[str, Sequence[str]], threshold: float
    ) -> None:
        self._encoder = encoder
        self._topics = topics
        self._threshold = threshold
        self._examples: list[tuple[str, Sequence[float]]] | None = None

    async def __call__(self, asked: Asked, texts: Sequence[str]) -> Verdict:  # noqa: ARG002
        if self._examples is None:
            self._examples = [
                (name, await self._vector(example))
                for name, examples in self._topics.items()
                for example in examples
            ]
        for text in texts:
            vector = await self._vector(text[:MAX_CHARACTERS])
            for name, example in self._examples:
                if sum(a * b for a, b in zip(vector, example, strict=True)) >= self._threshold:
                    return Verdict("block", entity=name)
            await asyncio.sleep(0)
        return Verdict("allow")

    async def _vector(self, text: str) -> Sequence[float]:
        vector = await self._encoder.vector(text)
        if vector is None:
            raise RemoteFailure("no_vector")
        return struct.unpack(f"<{len(vector) // 4}f", vector)
