"""Every kind of provider: whose settings make which."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app.config import providers as kinds
from app.config.settings import Settings
from app.providers.adapters.stopping import Stopping
from app.providers.base import Provider
from app.providers.llamacpp.provider import LlamaCppProvider
from app.providers.openai import OpenAIProvider
from app.providers.presets import (
    AzureProvider,
    DeepSeekProvider,
    GroqProvider,
    OpenRouterProvider,
)
from app.providers.simulator.provider import SimulatorProvider
from app.providers.vendors import (
    make_anthropic,
    make_bedrock,
    make_cohere,
    make_gemini,
    make_mistral,
)

KINDS: Mapping[type, Callable[[str, Any], Provider]] = {
    kinds.OpenAIProvider: OpenAIProvider,
    kinds.AzureProvider: AzureProvider,
    kinds.AnthropicProvider: make_anthropic,
    kinds.GeminiProvider: make_gemini,
    kinds.BedrockProvider: make_bedrock,
    kinds.MistralProvider: make_mistral,
    kinds.CohereProvider: make_cohere,
    kinds.GroqProvider: GroqProvider,
    kinds.TogetherProvider: OpenAIProvider,
    kinds.FireworksProvider: OpenAIProvider,
    kinds.OpenRouterProvider: OpenRouterProvider,
    kinds.PerplexityProvider: OpenAIProvider,
    kinds.XaiProvider: OpenAIProvider,
    kinds.CerebrasProvider: OpenAIProvider,
    kinds.DeepSeekProvider: DeepSeekProvider,
    kinds.OllamaProvider: OpenAIProvider,
    kinds.VllmProvider: OpenAIProvider,
    kinds.SglangProvider: OpenAIProvider,
    kinds.LlamaCppProvider: LlamaCppProvider,
    kinds.SimulatorProvider: SimulatorProvider,
}


def make_providers(settings: Settings) -> dict[str, Provider]:
    """Every provider of a configuration, by its name."""
    return {
        name: stopping(KINDS[type(part)](name, part)) for name, part in settings.providers.items()
    }


def stopping(provider: Provider) -> Provider:
    """The provider, with stop sequences applied that it does not take itself."""
    traits = provider.traits
    return provider if traits.stop_limit is None and traits.blank_stops else Stopping(provider)
