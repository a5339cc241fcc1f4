"""From alias to target: who answers for a model, and by which rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import msgspec

from app.config.fim import fim_target
from app.config.prices import price_of
from app.config.providers import HttpProvider, base_url_of
from app.config.settings import Model, Settings, Target
from app.core.call import Call
from app.core.errors import GatewayError, NotFound, NotImplementedHere
from app.core.keys import GATEWAY
from app.core.limits import LimitRule
from app.core.pricing import UNBOUNDED, Price
from app.core.request import DEFAULT_MAX_OUTPUT, ONE_CALL, FanOut, PartTokens, TargetRules
from app.core.units import NanoDollars
from app.openai.completions.fim import TEMPLATES, FimTemplate
from app.portkey.conditions import REQUEST_FACTS, Query, names_in, parse_query
from app.providers.adapters.best_of import BestOf
from app.providers.adapters.chat_only import ChatOnly
from app.providers.adapters.embedding_calls import EmbeddingCalls
from app.providers.adapters.filling import Filling
from app.providers.base import Answers, Provider
from app.providers.kinds import make_providers
from app.providers.routing.retry import DEFAULT_RULES, Rules
from app.providers.routing.targets import Picker
from app.providers.tokenizers import Tokenizers, make_tokenizers
from app.providers.unknown_usage import Rule
from cache.quotas.limiter import LimitPlan

BUDGET = "budget.remaining"
TOTAL_SECONDS = 600.0


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
    """One target of a model: where it leads, and by which rules it is chosen, asked and charged.

    ``endpoints`` are by operation. ``name`` is what its health is known by, ``identity`` what its
    cached answers are: targets that give the same answers share one. ``context`` is in tokens.
    ``timeouts`` (seconds by name) go over the provider's, ``total`` is how long all calls of one
    request may take together. ``capacity`` is what all callers may ask of it. ``breaker``: it is left
    alone when it fails again and again.
    """

    provider: str
    model: str
    endpoints: Mapping[str, Endpoint]
    rules: TargetRules
    forward_headers: frozenset[bytes]
    price: Price | None
    max_calls: int
    unknown_usage: Rule
    name: str = ""
    identity: str = ""
    tier: int = 0
    weight: float = 1.0
    context: int | None = None
    when: Query | None = None
    timeouts: Mapping[str, float] | None = None
    total: float = TOTAL_SECONDS
    capacity: LimitPlan | None = None
    failures: Rules = DEFAULT_RULES
    breaker: bool = True


class Alias(NamedTuple):
    """What callers put into ``model``: its targets, and how one of them is picked.

    ``only``: there is nothing to choose. ``asks_budget``: a condition asks what is left of a budget.
    """

    name: str
    routes: tuple[Route, ...]
    pick: Picker
    sticky_header: bytes
    only: bool
    asks_budget: bool

    def of_provider(self, provider: str | None) -> Alias:
        """The alias with the targets of one provider; with all where it is None."""
        if provider is None or all(route.provider == provider for route in self.routes):
            return self
        routes = tuple(route for route in self.routes if route.provider == provider)
        return self._replace(routes=routes, only=False)


class Router:
    """Every alias of a configuration, resolved once."""

    def __init__(self, settings: Settings) -> None:
        self._providers = make_providers(settings)
        self._addresses = {
            name: base_url_of(one)
            for name, one in settings.providers.items()
            if isinstance(one, HttpProvider) and one.custom_host
        }
        self._aliases = {
            alias: self._alias(alias, model, settings) for alias, model in settings.models.items()
        }
        self._fim_aliases = {
            alias: self._alias(alias, filler, settings)
            for alias, model in settings.models.items()
            if (filler := fim_target(model)) is not None
        }

    def tokenizers(self, settings: Settings) -> Tokenizers:
        """The servers of the models that declare their tokenizers, by alias."""
        return make_tokenizers(settings, self._providers)

    def provider(self, name: str) -> Provider:
        """The provider of this name."""
        return self._providers[name]

    def troubles(self) -> dict[str, str]:
        """What keeps providers from answering, by name, for the operator."""
        named = ((name, provider.trouble) for name, provider in self._providers.items())
        return {name: trouble for name, trouble in named if trouble is not None}

    def find(self, call: Call) -> Alias | None:
        """Where a call leads, whoever asks: one with a ``suffix`` to the target that fills in the
        middle."""
        name = call.request.model
        if call.request.document.get("suffix") and call.family.name == "completions":
            return self._fim_aliases.get(name) or self._aliases.get(name)
        return self._aliases.get(name)

    def providers_of(self, alias: str) -> frozenset[str]:
        """The providers of an alias's targets; empty where there is no such alias."""
        found = self._aliases.get(alias)
        return frozenset(route.provider for route in found.routes) if found else frozenset()

    def addresses_of(self, alias: str) -> Mapping[str, str]:
        """The addresses of an alias's providers that callers may choose by them."""
        names = self.providers_of(alias)
        return {name: one for name, one in self._addresses.items() if name in names}

    def refusal(self, call: Call) -> GatewayError:
        """Why a call has no targets: the same words for an unknown alias as for one that its key may
        not use; or nobody answers this operation of it."""
        alias = call.request.model
        if alias in call.key.models and alias in self._aliases:
            return NotImplementedHere(
                f"The model {alias!r} does not offer {call.family.name}.", param="model"
            )
        return NotFound(
            f"The model {alias!r} does not exist or this key may not use it; "
            "GET /v1/models lists what it may.",
            code="model_not_found",
            param="model",
            retryable=False,
        )

    async def aclose(self) -> None:
        for provider in self._providers.values():
            await provider.aclose()

    def _alias(self, name: str, model: Model, settings: Settings) -> Alias:
        routes = tuple(self._route(model, target, settings) for target in model.targets)
        fixed = len(routes) == 1 and routes[0].when is None and routes[0].context is None
        return Alias(
            name,
            routes,
            model.pick,
            model.sticky_header.encode(),
            fixed,
            any(one.when is not None and BUDGET in names_in(one.when) for one in routes),
        )

    def _route(self, model: Model, target: Target, settings: Settings) -> Route:
        provider = self._providers[target.provider]
        traits = provider.traits
        said = msgspec.structs.asdict(target.timeouts)
        timeouts = {what: float(value) for what, value in said.items() if value is not None}
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
            price_of(model, settings, target),
            model.max_calls,
            model.unknown_usage,
            name=target.name,
            identity=target.answers_as,
            tier=target.tier,
            weight=target.weight,
            context=target.context,
            when=parse_query(target.when, REQUEST_FACTS) if target.when is not None else None,
            timeouts=_transport_timeouts(timeouts),
            total=timeouts.get("total", _total_of(settings.providers[target.provider])),
            capacity=_capacity(target, settings),
            failures=Rules(model.on_timeout, model.on_content_filter),
            breaker=model.breaker,
        )


def cost_bound(call: Call) -> NanoDollars | None:
    """The most that a call can cost at the dearest of its targets; None where none has a price."""
    family, request = call.family, call.request
    bounds = []
    for route in call.targets:
        endpoint = route.endpoints.get(family.name)
        if route.price is None or endpoint is None:
            continue
        if not family.is_bounded(request, route.rules.dialect):
            return UNBOUNDED
        fan_out = endpoint.fan_out(request)
        most = fan_out.over(family.most(request))
        bounds.append(route.price.most(most.prompt_tokens + fan_out.added, most.completion_tokens))
    return max(bounds, default=None)


def _transport_timeouts(said: Mapping[str, float]) -> Mapping[str, float] | None:
    """A target's own time limits under the transport's names; None where it has none."""
    named = dict(said)
    if "connect" in said:
        named["pool"] = said["connect"]
    if "first_byte" in said:
        named["read"] = named["write"] = said["first_byte"]
    return named or None


def _total_of(section: Any) -> float:
    timeouts = getattr(section, "timeouts", None)
    return float(timeouts.total) if timeouts is not None else TOTAL_SECONDS


def _capacity(target: Target, settings: Settings) -> LimitPlan | None:
    """What all callers together may ask of a target: under the gateway's own name in the store."""
    if target.limits is None:
        return None
    rule = LimitRule(**msgspec.structs.asdict(settings.limits[target.limits]))
    scope = f"target:{target.name}"
    return LimitPlan.of(GATEWAY, [*rule.buckets(scope)], [*rule.slots(scope)])


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
    if "completions" in endpoints:
        endpoints["completions"] = _ranking(endpoints["completions"], provider, model)
    return endpoints


def _ranking(endpoint: Endpoint, provider: Provider, model: Model) -> Endpoint:
    """The endpoint, with ``best_of`` made of several choices where the target has none itself."""
    traits = provider.traits
    operation = "completions" if endpoint.native else "chat"
    if operation not in traits.ranked or (endpoint.native and not traits.no_best_of):
        return endpoint
    one_by_one = endpoint.native and traits.one_choice
    ranking = BestOf(endpoint.answers, endpoint.fan_out, model.fan_out, one_by_one=one_by_one)
    return endpoint._replace(answers=ranking, fan_out=ranking.fan_out)
