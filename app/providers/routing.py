"""From alias to target: who answers for a model, and by which rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import msgspec

from app.config.fim import fim_target
from app.config.prices import price_of
from app.config.settings import Model, Settings
from app.core.call import Call
from app.core.errors import NotFound, NotImplementedHere
from app.core.pricing import UNBOUNDED, Price
from app.core.request import DEFAULT_MAX_OUTPUT, ONE_CALL, FanOut, PartTokens, TargetRules
from app.core.units import NanoDollars
from app.openai.completions.fim import TEMPLATES, FimTemplate
from app.providers.base import Answers, Provider
from app.providers.chat_only import ChatOnly
from app.providers.embedding_calls import EmbeddingCalls
from app.providers.filling import Filling
from app.providers.kinds import make_providers
from app.providers.tokenizers import Tokenizers, make_tokenizers
from app.providers.unknown_usage import Rule


def one_call(_: object) -> FanOut:
    """How a request is sent to a target that has its endpoint itself."""
    return ONE_CALL


class Endpoint(NamedTuple):
    """Who answers one operation of a model, and in how many upstream calls.

    ``native``: the target has this endpoint itself.
    """

    answers: Answers
    fan_out: Callable[[object], FanOut] = one_call
    native: bool = True


class Route(NamedTuple):
    """Where an alias leads, and by which rules its requests are sent and charged.

    ``endpoints`` are by operation.
    """

    provider: str
    model: str
    endpoints: Mapping[str, Endpoint]
    rules: TargetRules
    forward_headers: frozenset[bytes]
    price: Price | None
    max_calls: int
    unknown_usage: Rule


class Router:
    """Every alias of a configuration, resolved once."""

    def __init__(self, settings: Settings) -> None:
        self._providers = make_providers(settings)
        self._routes = {
            alias: self._route(model, settings) for alias, model in settings.models.items()
        }
        self._fim_routes = {
            alias: self._route(filler, settings)
            for alias, model in settings.models.items()
            if (filler := fim_target(model)) is not None
        }

    def tokenizers(self, settings: Settings) -> Tokenizers:
        """The servers of the models that declare their tokenizers, by alias."""
        return make_tokenizers(settings, self._providers)

    def provider(self, name: str) -> Provider:
        """The provider of this name."""
        return self._providers[name]

    def resolve(self, call: Call) -> tuple[Route, Endpoint]:
        """Where this call leads, and who answers it there.

        Raises NotFound for an unknown alias and, in the same words, for one that its key may not
        use, and NotImplementedHere where nobody answers.
        """
        alias, operation = call.request.model, call.family.name
        route = self._route_of(call) if alias in call.key.models else None
        if route is None:
            raise NotFound(
                f"The model {alias!r} does not exist or this key may not use it; "
                "GET /v1/models lists what it may.",
                code="model_not_found",
                param="model",
                retryable=False,
            )
        endpoint = route.endpoints.get(operation)
        if endpoint is None:
            raise NotImplementedHere(
                f"The model {alias!r} does not offer {operation}.", param="model"
            )
        return route, endpoint

    def find(self, alias: str) -> Route | None:
        """Where this alias leads, whoever asks."""
        return self._routes.get(alias)

    def cost_bound(self, call: Call) -> NanoDollars | None:
        """The most that a call can cost; None where its target has no price."""
        family, request = call.family, call.request
        route = self._route_of(call)
        endpoint = route.endpoints.get(family.name) if route is not None else None
        if route is None or route.price is None or endpoint is None:
            return None
        if not family.is_bounded(request, route.rules.dialect):
            return UNBOUNDED
        fan_out = endpoint.fan_out(request)
        prompt, output, _ = fan_out.over(family.most(request))
        return route.price.of(prompt + fan_out.added, output)

    def _route_of(self, call: Call) -> Route | None:
        """Where a call leads: one with a ``suffix`` to the target that fills in the middle."""
        alias = call.request.model
        if call.request.document.get("suffix") and call.family.name == "completions":
            return self._fim_routes.get(alias) or self._routes.get(alias)
        return self._routes.get(alias)

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()

    def _route(self, model: Model, settings: Settings) -> Route:
        target = model.targets[0]
        provider = self._providers[target.provider]
        traits = provider.traits
        return Route(
            provider.slug,
            target.model,
            _endpoints(provider, model),
            TargetRules(
                traits.dialect,
                traits.members,
                PartTokens(**msgspec.structs.asdict(model.part_tokens)),
                traits.max_tokens_field,
                model.max_output_tokens or DEFAULT_MAX_OUTPUT,
            ),
            traits.forward_headers,
            price_of(model, settings),
            model.max_calls,
            model.unknown_usage,
        )


def fim_template(model: Model) -> FimTemplate | None:
    """How a model itself is asked to fill in the middle."""
    fim = model.fim
    if isinstance(fim, str):
        return TEMPLATES[fim]
    return FimTemplate(fim.prefix, fim.suffix, fim.middle) if fim and fim.prefix else None


def _endpoints(provider: Provider, model: Model) -> dict[str, Endpoint]:
    """Whatever the provider has itself; completions as the model's setting says."""
    native = provider.traits.operations
    endpoints = {name: Endpoint(provider) for name in native}
    template = fim_template(model)
    if template is not None and "completions" in native:
        filling = Filling(provider, template)
        endpoints["completions"] = Endpoint(filling, filling.fan_out)
    if "embeddings" in native:
        calls = EmbeddingCalls(provider, model.fan_out)
        endpoints["embeddings"] = Endpoint(calls, calls.fan_out)
    if model.completions != "native":
        endpoints.pop("completions", None)
    if model.completions == "chat" and "chat" in native:
        over_chat = ChatOnly(provider, model.fan_out)
        endpoints["completions"] = Endpoint(over_chat, over_chat.fan_out, native=False)
    return endpoints
