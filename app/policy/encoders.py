"""Every encoder of a configuration, made once."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import cache
from struct import unpack

from app.config.guardrails import TopicsRule
from app.config.settings import LocalEncoder as LocalSettings
from app.config.settings import Settings
from app.core.errors import GatewayError
from app.providers.base import Provider
from app.providers.embedder import Embedder
from app.retrieval.chunk import Embedded, RetrievalFailure
from cache.semantic.encoders.base import Encoder
from cache.semantic.encoders.local import MAX_BYTES, LocalEncoder
from cache.semantic.encoders.remote import MAX_DIMENSIONS, RemoteEncoder, unit_vector

PIECE = MAX_BYTES // 4  # characters that are never too many bytes


class OnTheLoop:
    """The local encoder as every encoder is spoken to. It takes microseconds: no thread is worth it."""

    def __init__(self, local: LocalEncoder) -> None:
        self._local = local
        self.identity = local.identity

    async def vector(self, text: str) -> bytes | None:
        return self._local.encode(text)


@cache
def _local_encoder() -> LocalEncoder:
    """One for the process: a reload must not hold the weights twice."""
    return LocalEncoder()


def guardrail_encoders(
    settings: Settings, provider_of: Callable[[str], Provider]
) -> Mapping[str, Encoder]:
    """The encoders that guardrails read topics with, by name."""
    used = {rule.encoder for rule in settings.guardrails.values() if isinstance(rule, TopicsRule)}
    return _made(settings, used, provider_of)


def make_encoders(
    settings: Settings, provider_of: Callable[[str], Provider]
) -> Mapping[str, Encoder]:
    """The encoders that some model uses, by name. Raises EncoderUnavailable."""
    used = {
        model.cache.semantic.encoder
        for model in settings.models.values()
        if model.cache is not None
        and model.cache.semantic is not None
        and model.cache.semantic.enabled
    }
    return _made(settings, used, provider_of)


def _made(
    settings: Settings, used: AbstractSet[str | None], provider_of: Callable[[str], Provider]
) -> Mapping[str, Encoder]:
    made: dict[str, Encoder] = {}
    for name, section in settings.encoders.items():
        if name not in used:
            continue
        if isinstance(section, LocalSettings):
            made[name] = OnTheLoop(_local_encoder())
        else:
            embedder = Embedder(provider_of(section.provider))
            made[name] = RemoteEncoder(embedder, section.model, float(section.timeout))
    return made


class LocalTexts:
    """The local encoder for texts of any length: each in pieces that it takes, the pieces summed up."""

    def __init__(self, local: LocalEncoder) -> None:
        self._local = local
        self.identity = local.identity

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        """One unit vector a text; others have their turn between two pieces."""
        found = []
        for text in texts:
            found.append(await self._vector(text))
            if len(texts) > 1:
                await sleep(0)
        return Embedded(found)

    async def _vector(self, text: str) -> bytes:
        pieces = [text] if len(text) <= PIECE else _pieces(text)
        vectors: list[bytes] = []
        for piece in pieces:
            if vectors:
                await sleep(0)
            vector = self._local.encode(piece)
            if vector is not None:
                vectors.append(vector)
        if not vectors:
            raise RetrievalFailure("no_vector")
        if len(vectors) == 1:
            return vectors[0]
        numbers = zip(*(unpack(f"<{self._local.dimensions}f", one) for one in vectors), strict=True)
        return unit_vector([sum(column) for column in numbers]) or vectors[0]


class RemoteTexts:
    """A provider's ``/v1/embeddings``, asked for all texts at once."""

    def __init__(self, embedder: Embedder, model: str) -> None:
        self._embedder = embedder
        self._model = model
        self.identity = f"{embedder.slug}/{model}"

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        try:
            numbers, usage = await self._embedder.embed_all(texts, self._model)
        except GatewayError as error:
            raise RetrievalFailure(error.code or "failed") from None
        found = [unit_vector(one) for one in numbers if len(one) <= MAX_DIMENSIONS]
        vectors = [one for one in found if one is not None]
        if len(vectors) != len(texts):
            raise RetrievalFailure("no_vector")
        return Embedded(vectors, usage)


def retrieval_encoder(
    name: str, settings: Settings, provider_of: Callable[[str], Provider]
) -> LocalTexts | RemoteTexts:
    """An encoder as retrieval uses it. Raises EncoderUnavailable."""
    section = settings.encoders[name]
    if isinstance(section, LocalSettings):
        return LocalTexts(_local_encoder())
    return RemoteTexts(Embedder(provider_of(section.provider)), section.model)


def _pieces(text: str) -> Iterator[str]:
    """A text in pieces that the local encoder takes; halves of characters are left out."""
    whole = text.encode(errors="ignore").decode()
    size = MAX_BYTES if whole.isascii() else MAX_BYTES // 4
    return (whole[at : at + size] for at in range(0, len(whole), size))
