"""The kinds of providers, each a section with its defaults: a base URL and what the API can do.

Sources of the rows: the providers' API references, as of November 2026. Whatever a row says can be
set otherwise in the file, because providers change.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal
from urllib.parse import urlsplit

from msgspec import Meta, field

from app.config.section import Section
from app.config.values.header_names import TRACING, HeaderName
from app.config.values.quantities import Duration, Secret, Size

Positive = Annotated[int, Meta(ge=1)]
Rate = Annotated[float, Meta(ge=0, le=1)]
EndpointName = Literal["completions", "chat", "embeddings"]

_VERSION = re.compile(r"/v\d+[a-z0-9]*(?:/|$)")

# What chat-only presets lack; the bridge refuses it by name, and so does chat itself.
_NO_LOGPROBS = ("logprobs", "top_logprobs")

ANTHROPIC_VERSION = "2023-06-01"


class Timeouts(Section, frozen=True):
    connect: Duration = Duration(5)
    first_byte: Duration = Duration(60)
    idle: Duration = Duration(60)
    total: Duration = Duration(600)


class HttpProvider(Section, frozen=True):
    """Whatever is asked over HTTP."""

    base_url: str = ""
    api_key: Secret = Secret("")
    headers: dict[str, Secret] = field(default_factory=dict)
    timeouts: Timeouts = Timeouts()
    stop_limit: Positive | None = None
    forward_headers: tuple[HeaderName, ...] = tuple(map(HeaderName, TRACING))
    neutral_headers: tuple[HeaderName, ...] | None = None
    max_response_bytes: Size = Size(64 << 20)
    max_event_bytes: Size = Size(8 << 20)
    embedding_inputs: Annotated[int, Meta(ge=1, le=2048)] = 2048
    max_connections: Positive = 1024
    keepalive: Duration = Duration(15)
    proxy: Secret = Secret("")
    ca_file: str = ""
    custom_host: bool = False


class OpenAILike(HttpProvider, frozen=True):
    """Servers that speak the OpenAI API."""

    endpoints: tuple[EndpointName, ...] = ("completions", "chat", "embeddings")
    unsupported: tuple[str, ...] = ()
    unsupported_completions: tuple[str, ...] = ()
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    zero_max_tokens: Literal["forward", "refuse"] = "forward"
    forward_members: tuple[str, ...] = ("all",)
    stream_usage: bool = True


class OpenAIProvider(OpenAILike, frozen=True, tag_field="kind", tag="openai"):
    base_url: str


class AzureProvider(OpenAILike, frozen=True, tag_field="kind", tag="azure"):
    base_url: str
    api_version: str = "2024-10-21"
    stop_limit: Positive | None = 4


class AnthropicProvider(HttpProvider, frozen=True, tag_field="kind", tag="anthropic"):
    base_url: str = "https://api.anthropic.com/v1"


class GeminiProvider(HttpProvider, frozen=True, tag_field="kind", tag="gemini"):
    base_url: str = "https://generativelanguage.googleapis.com/v1beta"
    stop_limit: Positive | None = 5
    embedding_inputs: Annotated[int, Meta(ge=1, le=2048)] = 100


class BedrockProvider(HttpProvider, frozen=True, kw_only=True, tag_field="kind", tag="bedrock"):
    region: Annotated[str, Meta(pattern="^[a-z]{2}(-[a-z]+)+-[0-9]+$")]
    access_key_id: str = ""
    secret_access_key: Secret = Secret("")
    session_token: Secret = Secret("")
    stop_limit: Positive | None = 4
    embedding_inputs: Annotated[int, Meta(ge=1, le=2048)] = 1


class MistralProvider(HttpProvider, frozen=True, tag_field="kind", tag="mistral"):
    base_url: str = "https://api.mistral.ai/v1"


class CohereProvider(HttpProvider, frozen=True, tag_field="kind", tag="cohere"):
    base_url: str = "https://api.cohere.com/v2"
    stop_limit: Positive | None = 5
    embedding_inputs: Annotated[int, Meta(ge=1, le=2048)] = 96


class GroqProvider(OpenAILike, frozen=True, tag_field="kind", tag="groq"):
    """Source: https://console.groq.com/docs/openai."""

    base_url: str = "https://api.groq.com/openai/v1"
    endpoints: tuple[EndpointName, ...] = ("chat",)
    unsupported: tuple[str, ...] = ("n", "logit_bias", *_NO_LOGPROBS)
    stop_limit: Positive | None = 4


class TogetherProvider(OpenAILike, frozen=True, tag_field="kind", tag="together"):
    """Source: https://docs.together.ai/docs/inference/openai-compatibility (which now writes
    ``api.together.ai``; prices are published under the older name)."""

    base_url: str = "https://api.together.xyz/v1"
    unsupported_completions: tuple[str, ...] = ("best_of", "suffix")


class FireworksProvider(OpenAILike, frozen=True, tag_field="kind", tag="fireworks"):
    """Source: https://docs.fireworks.ai/tools-sdks/openai-compatibility."""

    base_url: str = "https://api.fireworks.ai/inference/v1"
    unsupported_completions: tuple[str, ...] = ("best_of", "suffix")
    stop_limit: Positive | None = 4


class OpenRouterProvider(OpenAILike, frozen=True, tag_field="kind", tag="openrouter"):
    base_url: str = "https://openrouter.ai/api/v1"
    unsupported: tuple[str, ...] = ("n",)
    unsupported_completions: tuple[str, ...] = ("n", "best_of", "suffix", "echo")
    stop_limit: Positive | None = 4


class PerplexityProvider(OpenAILike, frozen=True, tag_field="kind", tag="perplexity"):
    """Source: https://docs.perplexity.ai/docs/sonar/openai-compatibility."""

    base_url: str = "https://api.perplexity.ai"
    endpoints: tuple[EndpointName, ...] = ("chat",)
    unsupported: tuple[str, ...] = (
        "n", "seed", "logit_bias", "tools", "tool_choice", "parallel_tool_calls", *_NO_LOGPROBS,
    )  # fmt: skip


class XaiProvider(OpenAILike, frozen=True, tag_field="kind", tag="xai"):
    base_url: str = "https://api.x.ai/v1"
    unsupported: tuple[str, ...] = ("logit_bias",)
    unsupported_completions: tuple[str, ...] = ("suffix", "best_of")
    stop_limit: Positive | None = 4


class CerebrasProvider(OpenAILike, frozen=True, tag_field="kind", tag="cerebras"):
    """Source: https://inference-docs.cerebras.ai/resources/openai."""

    base_url: str = "https://api.cerebras.ai/v1"
    endpoints: tuple[EndpointName, ...] = ("chat",)
    unsupported: tuple[str, ...] = ("n", "logit_bias", "presence_penalty", "frequency_penalty")
    max_tokens_field: Literal["max_tokens", "max_completion_tokens"] = "max_completion_tokens"
    stop_limit: Positive | None = 4


class DeepSeekProvider(OpenAILike, frozen=True, tag_field="kind", tag="deepseek"):
    """Text completions, with and without ``suffix``, stand at ``/beta/completions``."""

    base_url: str = "https://api.deepseek.com/v1"
    endpoints: tuple[EndpointName, ...] = ("completions", "chat")
    unsupported: tuple[str, ...] = ("n", "seed", "logit_bias", "parallel_tool_calls")
    unsupported_completions: tuple[str, ...] = ("n", "best_of", "seed", "logit_bias")
    stop_limit: Positive | None = 16


class OllamaProvider(OpenAILike, frozen=True, tag_field="kind", tag="ollama"):
    """Source: https://docs.ollama.com/api/openai-compatibility."""

    base_url: str = "http://127.0.0.1:11434/v1"
    unsupported: tuple[str, ...] = ("n", "logit_bias", "tool_choice", *_NO_LOGPROBS)
    unsupported_completions: tuple[str, ...] = ("n", "best_of", "echo", "logit_bias", "logprobs")
    zero_max_tokens: Literal["forward", "refuse"] = "refuse"


class VllmProvider(OpenAILike, frozen=True, tag_field="kind", tag="vllm"):
    """Source: https://docs.vllm.ai/en/stable/serving/openai_compatible_server."""

    base_url: str = "http://127.0.0.1:8000/v1"
    unsupported_completions: tuple[str, ...] = ("best_of", "suffix")


class SglangProvider(OpenAILike, frozen=True, tag_field="kind", tag="sglang"):
    """Source: https://docs.sglang.io/docs/basic_usage/openai_api_completions."""

    base_url: str = "http://127.0.0.1:30000/v1"
    unsupported_completions: tuple[str, ...] = ("best_of", "suffix")


class LlamaCppProvider(OpenAILike, frozen=True, tag_field="kind", tag="llamacpp"):
    """llama.cpp's own server; a ``suffix`` goes to its ``/infill``."""

    base_url: str = "http://127.0.0.1:8080/v1"
    unsupported_completions: tuple[str, ...] = ("best_of",)


class SimulatedFailure(Section, frozen=True):
    share: Rate
    status: Annotated[int, Meta(ge=400, le=599)] | None = None
    retry_after: Duration | None = None
    latency: Duration | None = None
    cut_after: Annotated[int, Meta(ge=0)] | None = None
    reset: bool = False


class SimulatorProvider(Section, frozen=True, tag_field="kind", tag="simulator"):
    latency: Duration = Duration(0)
    tokens_per_second: Annotated[float, Meta(ge=0)] = 0
    failure_rate: Rate = 0
    failures: tuple[SimulatedFailure, ...] = ()


AnyProvider = (
    OpenAIProvider
    | AzureProvider
    | AnthropicProvider
    | GeminiProvider
    | BedrockProvider
    | MistralProvider
    | CohereProvider
    | GroqProvider
    | TogetherProvider
    | FireworksProvider
    | OpenRouterProvider
    | PerplexityProvider
    | XaiProvider
    | CerebrasProvider
    | DeepSeekProvider
    | OllamaProvider
    | VllmProvider
    | SglangProvider
    | LlamaCppProvider
    | SimulatorProvider
)


_KEY_HEADERS: dict[type[HttpProvider], tuple[str, str]] = {
    AnthropicProvider: ("x-api-key", ""),
    GeminiProvider: ("x-goog-api-key", ""),
    AzureProvider: ("api-key", ""),
}


def kind_of(provider: AnyProvider | HttpProvider) -> str:
    """The ``kind`` that the file names."""
    return str(type(provider).__struct_config__.tag)


def base_url_of(provider: HttpProvider) -> str:
    """Below which address a provider is asked, without a slash at the end.

    Where the address of an API that has a version lacks it, it is added: both forms are usual.
    """
    if isinstance(provider, BedrockProvider):
        own = f"https://bedrock-runtime.{provider.region}.amazonaws.com"
        return (provider.base_url or own).rstrip("/")
    base = provider.base_url.rstrip("/")
    if isinstance(provider, AzureProvider):
        return base.removesuffix("/openai")
    version = {
        AnthropicProvider: "/v1",
        GeminiProvider: "/v1beta",
        MistralProvider: "/v1",
        CohereProvider: "/v2",
    }
    if type(provider) in version and not _VERSION.search(urlsplit(base).path):
        return base + version[type(provider)]
    return base


def key_headers(provider: HttpProvider) -> dict[str, str]:
    """The headers that carry a provider's key, and what its API wants beside it."""
    dialect = (
        {"anthropic-version": ANTHROPIC_VERSION} if type(provider) is AnthropicProvider else {}
    )
    key = provider.api_key.reveal()
    if not key:
        return dialect
    name, before = _KEY_HEADERS.get(type(provider), ("authorization", "Bearer "))
    return dialect | {name: before + key}


def headers_of(provider: HttpProvider) -> dict[str, str]:
    """The headers of every request to a provider, by their lower-case names; the file's win."""
    own = {name.lower(): value.reveal() for name, value in provider.headers.items()}
    return key_headers(provider) | own
