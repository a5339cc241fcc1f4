"""The kinds whose languages are translated: which header has the key, and what each can do."""

from __future__ import annotations

from collections.abc import Iterable

from app.config.providers import (
    AnthropicProvider,
    BedrockProvider,
    CohereProvider,
    GeminiProvider,
    HttpProvider,
    MistralProvider,
)
from app.openai.output_limits import OPENAI
from app.providers.anthropic.translation import AnthropicTranslation
from app.providers.aws_credentials import Signer
from app.providers.base import Traits
from app.providers.bedrock.translation import BedrockTranslation
from app.providers.client.client import Client
from app.providers.cohere.translation import CohereTranslation
from app.providers.gemini.translation import GeminiTranslation
from app.providers.mistral.translation import MistralTranslation
from app.providers.translated import Translated, TranslatedProvider


def make_anthropic(slug: str, settings: AnthropicProvider) -> TranslatedProvider:
    """Chat over the Messages API."""
    client = Client(settings, name=slug)
    calls = Translated(client, AnthropicTranslation(), int(settings.max_event_bytes))
    # The API refuses a stop sequence of white space.
    traits = _traits(settings, {"chat"}, {"n"}, {"top_k"}, blank_stops=False)
    return TranslatedProvider(slug, traits, client, calls)


def make_gemini(slug: str, settings: GeminiProvider) -> TranslatedProvider:
    """Chat and embeddings over the Gemini API. The bridge makes ``n`` answers of ``n`` calls,
    because not every model gives several at once."""
    client = Client(settings, name=slug)
    calls = Translated(client, GeminiTranslation(), int(settings.max_event_bytes))
    traits = _traits(settings, {"chat", "embeddings"}, {"n"}, {"top_k"})
    traits = traits._replace(ranked=frozenset({"chat"}))
    return TranslatedProvider(slug, traits, client, calls)


def make_bedrock(slug: str, settings: BedrockProvider) -> TranslatedProvider:
    """Chat over the Converse API, and embeddings; with an API key as a bearer, else signed."""
    traits = _traits(settings, {"chat", "embeddings"}, {"n"}, {"input_type"})
    secrets = (settings.secret_access_key.reveal(), settings.session_token.reveal())
    client = Client(settings, name=slug, secrets=secrets)
    size = int(settings.max_event_bytes)
    if settings.api_key.reveal():
        calls = Translated(client, BedrockTranslation(), size)
    else:
        calls = Translated(client, BedrockTranslation(), size, Signer(settings).sign)
    return TranslatedProvider(slug, traits, client, calls)


def make_mistral(slug: str, settings: MistralProvider) -> TranslatedProvider:
    """Chat, embeddings, and completions over fill-in-the-middle."""
    client = Client(settings, name=slug)
    calls = Translated(client, MistralTranslation(), int(settings.max_event_bytes))
    members = {"safe_prompt", "prompt_mode", "min_tokens"}
    traits = _traits(settings, {"chat", "completions", "embeddings"}, (), members)
    return TranslatedProvider(slug, traits, client, calls)


def make_cohere(slug: str, settings: CohereProvider) -> TranslatedProvider:
    """Chat and embeddings over version 2 of the API."""
    client = Client(settings, name=slug)
    calls = Translated(client, CohereTranslation(), int(settings.max_event_bytes))
    traits = _traits(settings, {"chat", "embeddings"}, {"n"}, {"top_k", "input_type"})
    return TranslatedProvider(slug, traits, client, calls)


def _traits(
    settings: HttpProvider,
    operations: Iterable[str],
    unsupported: Iterable[str],
    members: Iterable[str] = (),
    *,
    blank_stops: bool = True,
) -> Traits:
    return Traits(
        operations=frozenset(operations),
        dialect=OPENAI,
        unsupported=frozenset(unsupported),
        forward_headers=frozenset(name.encode() for name in settings.forward_headers),
        members=frozenset(members),
        embedding_inputs=settings.embedding_inputs,
        stop_limit=settings.stop_limit,
        blank_stops=blank_stops,
    )
