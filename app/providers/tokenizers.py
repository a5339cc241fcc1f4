"""The servers that are asked for their tokenizers, for the models that declare them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.config.providers import OpenAILike, base_url_of
from app.config.settings import Settings
from app.core.errors import UpstreamInvalid
from app.openai import lenient_json
from app.providers.adapters.plain_request import PlainRequest
from app.providers.adapters.stopping import Stopping
from app.providers.base import Provider, UpstreamCall
from app.providers.openai import OpenAIProvider


class Tokenizer:
    """One model's server; its paths stand beside the versioned API."""

    def __init__(self, provider: OpenAIProvider, root: str, model: str) -> None:
        self._provider = provider
        self._root = root
        self._model = model

    async def info(self) -> bytes:
        """What the server says of its tokenizer. Raises UpstreamError."""
        return await self._ask("GET", "/tokenizer_info", {})

    async def tokenize(self, document: Mapping[str, Any]) -> bytes:
        """The tokens of what a request's body asks for. Raises UpstreamError."""
        return await self._ask("POST", "/tokenize", document)

    async def detokenize(self, tokens: Sequence[int]) -> str:
        """The text that token ids stand for. Raises UpstreamError."""
        answer = await self._ask("POST", "/detokenize", {"tokens": list(tokens)})
        text = lenient_json.decode(answer).get("prompt")
        if not isinstance(text, str):
            raise UpstreamInvalid("The upstream's answer holds no text for the token ids.")
        return text

    async def _ask(self, method: str, path: str, document: Mapping[str, Any]) -> bytes:
        call = UpstreamCall("tokenize", PlainRequest(document), self._model)
        body = call.request.body_for(self._model) if document else b""
        data = await self._provider.pass_on(method, self._root + path, body, call)
        try:
            return orjson.dumps(lenient_json.decode(data))
        except lenient_json.NotJson:
            raise UpstreamInvalid("The upstream's answer is not valid JSON.") from None


Tokenizers = Mapping[str, Tokenizer]


def make_tokenizers(settings: Settings, providers: Mapping[str, Provider]) -> Tokenizers:
    """Those of the models that say ``tokenizer: true``."""
    made = {}
    for alias, model in settings.models.items():
        target = model.targets[0]
        section = settings.providers[target.provider]
        provider = providers[target.provider]
        inner = provider.inner if isinstance(provider, Stopping) else provider
        if (
            model.tokenizer
            and isinstance(section, OpenAILike)
            and isinstance(inner, OpenAIProvider)
        ):
            root = base_url_of(section).removesuffix("/v1")
            made[alias] = Tokenizer(inner, root, target.model)
    return made
