"""The ``llamacpp`` kind: an OpenAI-compatible server that fills in the middle at ``/infill``."""

from __future__ import annotations

from app.config.providers import LlamaCppProvider as Settings
from app.config.providers import base_url_of
from app.providers.base import ChunkSink, UpstreamCall
from app.providers.client.client import Client
from app.providers.llamacpp.infill import InfillTranslation
from app.providers.openai import OpenAIProvider
from app.providers.translated import Translated


class LlamaCppProvider(OpenAIProvider):
    """Completions with a ``suffix`` go to ``/infill``, because ``/v1/completions`` ignores it."""

    def __init__(self, slug: str, settings: Settings, client: Client | None = None) -> None:
        super().__init__(slug, settings, client)
        root = base_url_of(settings).removesuffix("/v1")
        translation = InfillTranslation(f"{root}/infill")
        self._infill = Translated(self._client, translation, self._max_event_bytes)

    async def answer(self, call: UpstreamCall) -> bytes:
        if _fills(call):
            return await self._infill.answer(call)
        return await super().answer(call)

    async def stream(self, call: UpstreamCall, sink: ChunkSink) -> None:
        if _fills(call):
            await self._infill.stream(call, sink)
        else:
            await super().stream(call, sink)


def _fills(call: UpstreamCall) -> bool:
    return call.operation == "completions" and bool(call.request.document.get("suffix"))
