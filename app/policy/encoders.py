"""Every encoder of a configuration, made once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from functools import cache

from app.config.guardrails import TopicsRule
from app.config.settings import LocalEncoder as LocalSettings
from app.config.settings import Settings
from app.providers.base import Provider
from app.providers.embedder import Embedder
from cache.semantic.encoders.base import Encoder
from cache.semantic.encoders.local import LocalEncoder
from cache.semantic.encoders.remote import RemoteEncoder


class OnTheLoop:
    """The local encoder as every encoder is spoken to. It takes microseconds: no thread is worth it."""

    def __init__(self, local: LocalEncoder) -> None:
        self._local = local
        self.identity = local.identity

    async def vector(self, text: str) -> bytes | None:
        return self._local.encode(text)


@cache
def _local() -> OnTheLoop:
    """One for the process: a reload must not hold the weights twice."""
    return OnTheLoop(LocalEncoder())


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
            made[name] = _local()
        else:
            embedder = Embedder(provider_of(section.provider))
            made[name] = RemoteEncoder(embedder, section.model, float(section.timeout))
    return made
