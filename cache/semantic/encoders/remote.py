"""Any OpenAI-compatible ``/v1/embeddings``, through one of the gateway's own providers."""

from __future__ import annotations

import asyncio
import math
import struct
from typing import Any, Protocol

from app.core.errors import UpstreamError

MAX_DIMENSIONS = 8192


class Embeds(Protocol):
    """A provider with an embeddings endpoint."""

    slug: str

    async def embed(self, text: str, model: str) -> Any:
        """What the endpoint answers for one text. Raises UpstreamError."""
        ...


class RemoteEncoder:
    """Asks ``model`` at ``provider``; waits at most ``deadline`` seconds."""

    def __init__(self, provider: Embeds, model: str, deadline: float) -> None:
        self._provider = provider
        self._model = model
        self._deadline = deadline
        self.identity = f"{provider.slug}/{model}"

    async def vector(self, text: str) -> bytes | None:
        try:
            async with asyncio.timeout(self._deadline):
                document = await self._provider.embed(text, self._model)
        except (TimeoutError, UpstreamError):
            return None
        return unit_vector(_numbers(document))


def unit_vector(numbers: list[float] | None) -> bytes | None:
    """Numbers as a vector of length one; None for what has no direction."""
    if not numbers:
        return None
    length = math.sqrt(sum(number * number for number in numbers))
    if not math.isfinite(length) or not length:
        return None
    return struct.pack(f"<{len(numbers)}f", *[number / length for number in numbers])


def _numbers(document: Any) -> list[float] | None:
    """The embedding in an answer, if it is one."""
    try:
        [item] = document["data"]
        numbers = item["embedding"]
    except (TypeError, KeyError, ValueError):
        return None
    if not isinstance(numbers, list) or not 0 < len(numbers) <= MAX_DIMENSIONS:
        return None
    if any(type(number) is not float and type(number) is not int for number in numbers):
        return None
    return [float(number) for number in numbers]
