"""From alias to target: who answers for a model, and over which of its endpoints."""

from __future__ import annotations

from typing import Literal, NamedTuple

import msgspec

from app.config.prices import price_of
from app.config.settings import Model, Settings
from app.config.settings import OpenAIProvider as OpenAISettings
from app.config.settings import SimulatorProvider as SimulatorSettings
from app.core.errors import InvalidRequest, NotFound, NotImplementedHere
from app.core.pricing import UNBOUNDED, Price
from app.openai.completions.bounds import cost_bound
from app.openai.completions.forwarded_members import ALL, forwardable
from app.openai.completions.output_limits import DIALECTS, Dialect, says_more
from app.openai.completions.part_tokens import PartTokens
from app.openai.completions.prompt_size import TEMPLATE_OVERHEAD
from app.openai.completions.request import CompletionRequest
from app.openai.messages import single_user_text
from app.providers.base import Completions, Provider
from app.providers.chat_only import ChatOnly
from app.providers.openai import OpenAIProvider
from app.providers.simulator import SimulatorProvider


class Route(NamedTuple):
    """Where an alias leads, and by which rules its requests are sent and charged.

    ``completions`` is None where nobody answers completions for it. ``repeated``: several choices
    are made of several calls. ``members`` are those that may be sent; None for all.
    """

    provider: str
    model: str
    completions: Completions | None
    forward_headers: frozenset[bytes]
    native: bool
    price: Price | None
    repeated: bool
    max_calls: int
    dialect: Dialect
    members: frozenset[str] | None
    part_tokens: PartTokens
    unknown_usage: Literal["prompt", "bound", "nothing"]

    def calls_of(self, request: CompletionRequest) -> int:
        """How many upstream calls a request makes: one, or on a chat model one a prompt."""
        if self.native:
            return 1
        return max(1, len(request.prompts)) * self.times(request)

    def times(self, request: CompletionRequest) -> int:
        """How often each prompt is sent: for each choice, where they are made of several calls."""
        return request.n if self.repeated else 1


class Router:
    """Every alias of a configuration, resolved once."""

    def __init__(self, settings: Settings) -> None:
        self._providers: dict[str, Provider] = {}
        for name, section in settings.providers.items():
            if isinstance(section, OpenAISettings):
                self._providers[name] = OpenAIProvider(name, section)
            else:
                self._providers[name] = SimulatorProvider(name, section)
        self._routes = {
            alias: self._route(model, settings) for alias, model in settings.models.items()
        }

    def provider(self, name: str) -> Provider:
        """The provider of this name."""
        return self._providers[name]

    def resolve(self, alias: str, allowed: frozenset[str]) -> Route:
        """Where this alias leads for a key that may use ``allowed``.

        Raises NotFound for an unknown alias and, in the same words, for a forbidden one.
        """
        route = self._routes.get(alias) if alias in allowed else None
        if route is None:
            raise NotFound(
                f"The model {alias!r} does not exist or this key may not use it; "
                "GET /v1/models lists what it may.",
                code="model_not_found",
                param="model",
                retryable=False,
            )
        return route

    def find(self, alias: str) -> Route | None:
        """Where this alias leads, whoever asks."""
        return self._routes.get(alias)

    def cost_bound(self, request: CompletionRequest) -> int | None:
        """The most that a request can cost, in nano-dollars; None where its target has no price."""
        route = self._routes.get(request.model)
        if route is None or route.price is None:
            return None
        if not request.limited and says_more(request, route.dialect):
            return UNBOUNDED
        added = 0 if route.native else TEMPLATE_OVERHEAD * route.calls_of(request)
        return cost_bound(route.price, request, route.times(request), added)

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()

    def _route(self, model: Model, settings: Settings) -> Route:
        target = model.targets[0]
        provider = self._providers[target.provider]
        section = settings.providers[target.provider]
        completions: Completions | None = None
        if model.completions == "chat" and "chat" in provider.endpoints:
            completions = ChatOnly(provider, model.fan_out)
        elif model.completions == "native" and "completions" in provider.endpoints:
            completions = provider
        return Route(
            provider.slug,
            target.model,
            completions,
            _forwarded_to(section),
            model.completions == "native",
            price_of(model, settings),
            model.completions == "chat" and "n" in provider.unsupported,
            model.max_calls,
            _dialect(section),
            forwardable(getattr(section, "forward_members", (ALL,))),
            PartTokens(**msgspec.structs.asdict(model.part_tokens)),
            model.unknown_usage,
        )


def _forwarded_to(section: object) -> frozenset[bytes]:
    """The names of the headers that a provider is sent; none, where it is in this process."""
    if not isinstance(section, OpenAISettings):
        return frozenset()
    return frozenset(name.encode() for name in section.forward_headers)


def _dialect(section: OpenAISettings | SimulatorSettings) -> Dialect:
    if isinstance(section, OpenAISettings):
        return DIALECTS["openai"]._replace(zero_is_none=section.zero_max_tokens == "forward")
    return DIALECTS["simulator"]


def completions_of(
    route: Route, request: CompletionRequest
) -> tuple[Completions, CompletionRequest]:
    """Who answers this request on this route, and the request as it is asked there.

    Raises NotImplementedHere where nobody does, InvalidRequest where the request cannot be honoured
    there. A native target is given the text of a one-message conversation as its prompt.
    """
    if route.completions is None:
        raise NotImplementedHere(
            f"The model {request.model!r} does not offer text completions.", param="model"
        )
    if route.native and request.messages is not None:
        text = single_user_text(request.messages)
        if text is None:
            raise InvalidRequest(
                "This model takes `messages` only as one user message of text; send `prompt`, "
                "or use a chat model.",
                code="unsupported_parameter",
                param="messages",
            )
        request = request.as_prompt(text)
    return route.completions, request
