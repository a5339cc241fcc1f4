"""Which targets a request may be answered by, and in which order they are asked.

Decided once a request, before the cache is asked, because the key of an entry holds who was picked.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import random
from typing import Any, NamedTuple

from app.core.call import Call
from app.core.errors import GatewayError, InvalidRequest
from app.core.usage import Usage
from app.portkey.conditions import holds
from app.providers.routing.breaker import Phase
from app.providers.routing.routes import Alias, Route
from app.providers.routing.shared_health import SharedHealth
from app.providers.routing.targets import (
    Choice,
    Load,
    Pick,
    in_order,
    prefix_key,
    sticky_key,
)

# Answers of different targets that do not mix: vectors of two models are of two spaces.
_ONE_IDENTITY = frozenset({"embeddings"})
_AWAY = frozenset({Phase.OPEN, Phase.RESTING, Phase.PROBING})


class Skipped(NamedTuple):
    """A target that is not asked, and why, in a word."""

    route: Route
    reason: str


class Selection(NamedTuple):
    """Who is asked, in order, and who is not."""

    routes: tuple[Route, ...]
    skipped: tuple[Skipped, ...] = ()


class Selector:
    """Orders the targets of an alias for one request. ``paths`` are the URL paths by family."""

    def __init__(
        self,
        health: SharedHealth,
        paths: Mapping[str, str],
        chance: Callable[[], float] = random,
    ) -> None:
        self._health = health
        self._paths = paths
        self._chance = chance

    def select(self, alias: Alias, call: Call, remaining: float | None = None) -> Selection:
        """The order for a request; ``remaining`` is what is left of its budgets, in dollars.

        Raises GatewayError where no target can honour the request. Where all that could are resting,
        they stay: there may be an answer in the cache.
        """
        usage = call.family.likely(call.request)
        if call.to_add:
            usage = usage.plus(Usage(call.to_add, 0))
        facts = self._facts(call, usage, remaining)
        able: list[Route] = []
        skipped: list[Skipped] = []
        for route in alias.routes:
            reason = self._unable(route, call, usage, facts)
            if reason is None:
                able.append(route)
            else:
                skipped.append(Skipped(route, reason))
        if not able:
            raise _nobody(skipped)
        well = [route for route in able if self._phase(route) not in _AWAY]
        if well:
            skipped += [
                Skipped(route, self._phase(route).value) for route in able if route not in well
            ]
        order = in_order(
            [self._choice(route) for route in well or able], self._pick(alias, call, usage)
        )
        routes = tuple((well or able)[position] for position in order)
        if call.family.name in _ONE_IDENTITY:
            routes = tuple(one for one in routes if one.identity == routes[0].identity)
        return Selection(routes, tuple(skipped))

    def _unable(
        self, route: Route, call: Call, usage: Usage, facts: Mapping[str, Any]
    ) -> str | None:
        """Why a target cannot answer this request, or should not."""
        if route.weight <= 0:
            return "weight"
        if call.family.name not in route.endpoints:
            return "endpoint"
        if route.context is not None and usage.total_tokens > route.context:
            return "context"
        if route.when is not None and not holds(route.when, facts):
            return "condition"
        return None

    def _phase(self, route: Route) -> Phase:
        return self._health.phase(self._health.of(route.name))

    def _choice(self, route: Route) -> Choice:
        ramp = self._health.ramp(self._health.of(route.name))
        return Choice(route.name, route.tier, route.weight * ramp, route.price)

    def _pick(self, alias: Alias, call: Call, usage: Usage) -> Pick:
        key = b""
        tenant, document = call.key.tenant, call.request.document
        if alias.pick == "sticky":
            header = call.headers.get(alias.sticky_header, b"").decode("latin-1")
            user, said = document.get("user"), _metadata(call).get("session_id")
            named = [one if isinstance(one, str) else None for one in (user, said)]
            key = sticky_key(tenant, header, *named, call.key.id)
        elif alias.pick == "prefix":
            key = prefix_key(tenant, alias.name, document)
        loads: dict[str, Load] = {}
        if alias.pick in ("least_busy", "prefix"):
            loads = {route.name: self._health.of(route.name).load() for route in alias.routes}
        return Pick(alias.pick, self._chance, key, loads, usage)

    def _facts(self, call: Call, usage: Usage, remaining: float | None) -> dict[str, Any]:
        return facts_of(call, self._paths) | {
            "tokens": {"prompt": usage.prompt_tokens, "total": usage.total_tokens},
            "budget": {"remaining": remaining},
        }


def facts_of(call: Call, paths: Mapping[str, str]) -> dict[str, Any]:
    """What conditions may ask of a request. What a caller says of itself is under ``metadata``."""
    return {
        "params": call.request.document,
        "metadata": _metadata(call),
        "key": {"id": call.key.id, "tenant": call.key.tenant},
        "url": {"pathname": paths.get(call.family.name)},
        "stream": call.request.stream,
    }


def _metadata(call: Call) -> Mapping[str, Any]:
    """The body's own ``metadata``, and what a header says over it."""
    said = call.request.document.get("metadata")
    return {**said, **call.metadata} if isinstance(said, dict) else call.metadata


def _nobody(skipped: Sequence[Skipped]) -> GatewayError:
    """Why a request has no target: the reason that it could do most about."""
    reasons = {one.reason for one in skipped}
    if "context" in reasons:
        largest = max(one.route.context or 0 for one in skipped if one.reason == "context")
        return InvalidRequest(
            f"The request is longer than every target of this model takes: {largest} tokens, "
            "prompt and answer together.",
            code="context_length_exceeded",
        )
    return InvalidRequest(
        "No target of this model takes a request like this one; its conditions exclude all.",
        code="no_target",
        param="model",
    )
