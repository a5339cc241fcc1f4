"""Any OpenAI-compatible ``/v1/embeddings``, through one of the gateway's own providers."""

from __future__ import annotations

import asyncio
import math
import struct
from typing import Protocol

from app.core.errors import GatewayError

MAX_DIMENSIONS = 8192


class Embeds(Protocol):
    """A provider with an embeddings endpoint."""

    slug: str

    async def embed(self, text: str, model: str) -> list[float]:
        """The text's vector. Raises GatewayError."""
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
                numbers = await self._provider.embed(text, self._model)
        except (TimeoutError, GatewayError):
            return None
        return unit_vector(numbers) if len(numbers) <= MAX_DIMENSIONS else None


def unit_vector(numbers: list[float]) -> bytes | None:
    """Numbers as a vector of length one; None for what has no direction."""
    if not numbers:
        return None
    length = math.sqrt(sum(number * number for number in numbers))
    if not math.isfinite(length) or not length:
        return None
    return struct.pack(f"<{len(numbers)}f", *[number / length for number in numbers])
