"""Kinds of OpenAI-compatible servers that say something in a place or a way of their own."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from app.config.providers import (
    AzureProvider as AzureSettings,
)
from app.config.providers import (
    DeepSeekProvider as DeepSeekSettings,
)
from app.config.providers import (
    base_url_of,
)
from app.core.reply import Chunk
from app.providers.base import UpstreamCall
from app.providers.client.client import Client
from app.providers.openai import PATHS, OpenAIProvider


class GroqProvider(OpenAIProvider):
    """Streams carry their usage in ``x_groq.usage``; newer ones repeat it where others have it."""

    def mended(self, chunks: list[Chunk]) -> list[Chunk]:
        return [_with_groq_usage(chunk) for chunk in chunks]


def _with_groq_usage(chunk: Chunk) -> Chunk:
    document: Any = chunk.document
    own = document.get("x_groq") if isinstance(document, dict) else None
    if not isinstance(own, dict) or document.get("usage") or not isinstance(own.get("usage"), dict):
        return chunk
    return Chunk(b"", document | {"usage": own["usage"]})


class OpenRouterProvider(OpenAIProvider):
    """An error comes in a chunk of a 200 that also tells what was used until then: that is told
    first, so that it is known when the stream breaks."""

    def mended(self, chunks: list[Chunk]) -> list[Chunk]:
        made: list[Chunk] = []
        for chunk in chunks:
            document: Any = chunk.document
            if isinstance(document, dict) and document.get("error") and document.get("usage"):
                made.append(Chunk(b"", {"choices": [], "usage": document["usage"]}))
            made.append(chunk)
        return made


class AzureProvider(OpenAIProvider):
    """Azure OpenAI: by deployment and API version, or below ``/openai/v1`` as OpenAI itself.

    Source: https://learn.microsoft.com/azure/ai-services/openai/reference.
    """

    def __init__(self, slug: str, settings: AzureSettings, client: Client | None = None) -> None:
        super().__init__(slug, settings, client)
        self._versioned = base_url_of(settings).endswith("/v1")
        self._version = f"?api-version={quote(settings.api_version)}"

    def _path(self, call: UpstreamCall) -> str:
        if self._versioned:
            return PATHS[call.operation]
        deployment = quote(call.model, safe="")
        return f"/openai/deployments/{deployment}{PATHS[call.operation]}{self._version}"

    def mended(self, chunks: list[Chunk]) -> list[Chunk]:
        """Without the first chunk, which names no answer: its filter results would stand before the
        role."""
        return [chunk for chunk in chunks if not _is_filter_report(chunk.document)]


def _is_filter_report(document: Any) -> bool:
    if not isinstance(document, dict) or document.get("choices") or document.get("usage"):
        return False
    return "prompt_filter_results" in document and not document.get("id")


class DeepSeekProvider(OpenAIProvider):
    """Text completions stand beside the versioned API, at ``/beta/completions``.

    Source: https://api-docs.deepseek.com/api/create-completion.
    """

    def __init__(self, slug: str, settings: DeepSeekSettings, client: Client | None = None) -> None:
        super().__init__(slug, settings, client)
        base = base_url_of(settings)
        self._root = base.removesuffix("/v1").removesuffix("/beta")

    def _path(self, call: UpstreamCall) -> str:
        if call.operation == "completions":
            return f"{self._root}/beta/completions"
        return PATHS[call.operation]
