"""Does the caller bring a route of its own? Portkey's configs: one call for each target on the way.

Each target of a config is an alias, and its call passes the whole chain behind this layer: its own
limits, budget, cache and price hold, as if the caller had asked for it by name.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from random import random
from typing import NamedTuple

import orjson

from app.core.call import Call, Handler
from app.core.errors import GatewayError, HeaderList
from app.core.keys import Key
from app.core.reply import ReplyWriter
from app.core.request import ModelRequest
from app.portkey.conditions import Mistake
from app.portkey.config import Leaf, Node, place_text
from app.portkey.headers import CONFIG, Asked, asks, read_headers, refusal
from app.portkey.hosts import provider_at
from app.portkey.legs import leaves, legs_of
from app.portkey.reply import LegReply
from app.providers.routing.retry import Kind, failure_of
from app.providers.routing.selection import facts_of
from app.providers.routing.steering import CallsLeft, Steering
from cache.quotas.limiter import LimitPlan

ASIDE_BYTES = 32 << 10  # parsed for longer than the event loop should stand still
FRESH_ENOUGH = 10**9  # seconds: any age will do, but nothing that is over
_OURS = (b"cache-control", b"x-headgate-cache-ttl", b"x-headgate-cache-namespace")


class Bound(NamedTuple):
    """A target of a config that may be asked: the alias that it means, and its provider."""

    leaf: Leaf
    alias: str
    provider: str | None


class Portkey:
    """Answers a call by the config in its headers; passes on every other.

    Only keys with ``portkey: true`` may send one. ``configs`` are the stored ones by id,
    ``providers_of`` says which providers an alias has (none: there is no such alias),
    ``addresses_of`` which of them may be chosen by their address, and what that is, ``limits_of``
    which limits stand on a key's requests for it, ``paths`` the URL paths by family.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        configs: Mapping[str, Node],
        providers_of: Callable[[str], frozenset[str]],
        addresses_of: Callable[[str], Mapping[str, str]],
        limits_of: Callable[[Key, str], LimitPlan | None],
        paths: Mapping[str, str],
        chance: Callable[[], float] = random,
    ) -> None:
        self._inner = inner
        self._configs = configs
        self._providers_of = providers_of
        self._addresses_of = addresses_of
        self._limits_of = limits_of
        self._paths = paths
        self._chance = chance

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        if not call.key.portkey:
            if CONFIG in call.headers:
                raise refusal("x-portkey-config", "may be sent only with a key that allows it")
            return self._inner(call, reply)
        if not asks(call.headers):
            return self._inner(call, reply)
        asked = read_headers(call.headers, self._configs)
        call.metadata = asked.metadata
        if asked.steers:
            return self._route(call, reply, asked)
        if asked.trace_id is not None:
            call.reply_headers.append((b"x-portkey-trace-id", asked.trace_id))
        return self._inner(call, reply)

    async def _route(self, call: Call, reply: ReplyWriter, asked: Asked) -> None:
        node = asked.node or _only_target(asked.provider)
        bound = {leaf.path: self._bound(leaf, call, asked) for leaf in leaves(node)}
        try:
            legs = legs_of(node, facts_of(call, self._paths), self._chance)
        except Mistake as mistake:
            raise refusal(place_text(mistake.path), mistake.message) from None
        left = CallsLeft()
        position: int | None = 0
        taken = call.taken
        while position is not None:
            leg = legs[position]
            one = await self._leg(call, bound[leg.leaf.path], asked, left)
            one.taken = taken
            out = LegReply(
                call,
                one,
                reply,
                path=leg.leaf.path,
                steering=one.steering,
                trace_id=asked.trace_id,
                refresh=asked.refresh and leg.leaf.cache is not None,
            )
            try:
                await self._inner(one, out)
                position = None
            except GatewayError as error:
                failure = failure_of(error)
                goes_on = failure.kind is not Kind.OURS and left.count > 0
                position = leg.after(failure.statuses) if goes_on else None
                if position is None:
                    out.name(one.outcome.provider)
                    raise
                taken = (*taken, *self._taken(call.key, one.request.model))
            finally:
                out.add_up()

    def _bound(self, leaf: Leaf, call: Call, asked: Asked) -> Bound:
        """The alias that a target means. Raises InvalidRequest where the key may not use it, or its
        provider is not the alias's own."""
        said = leaf.overrides.get("model")
        alias = call.request.model if said is None else said
        place = f"{leaf.path}.override_params.model" if said is not None else "model"
        provider = leaf.provider or asked.provider
        if not isinstance(alias, str):
            raise refusal(place, "must be a text")
        if alias.startswith("@") and alias not in call.key.models:
            slug, _, alias = alias[1:].partition("/")
            if provider not in (None, slug):
                raise refusal(place, f"names the provider {slug!r}, and `provider` another")
            provider = slug
        known = self._providers_of(alias) if alias in call.key.models else frozenset[str]()
        if not known and said is not None:
            raise refusal(place, f"is no model that this key may use: {alias!r}")
        provider = self._at_host(leaf, alias if known else "", provider, asked)
        if provider is None and asked.node is not None:
            raise refusal(leaf.path, "needs a `provider`")
        if known and provider is not None and provider not in known:
            raise refusal(
                f"{leaf.path}.provider",
                f"must be the model's own: {alias!r} is not on {provider!r}",
            )
        return Bound(leaf, alias, provider)

    def _at_host(self, leaf: Leaf, alias: str, provider: str | None, asked: Asked) -> str | None:
        """The provider at the address that is asked for, by the header before the config; the one
        that was named where no address is. Raises InvalidRequest for any address but that of one of
        the alias's own providers whose settings allow it."""
        host, place = asked.host, "x-portkey-custom-host"
        if host is None:
            host, place = leaf.host, f"{leaf.path}.custom_host"
        if host is None:
            return provider
        chosen = provider_at(host, provider, self._addresses_of(alias))
        if chosen is None:
            raise refusal(
                place,
                "is not allowed: it is no address by which the model's provider may be chosen",
            )
        return chosen

    async def _leg(self, call: Call, bound: Bound, asked: Asked, left: CallsLeft) -> Call:
        leaf = bound.leaf
        if len(call.body) > ASIDE_BYTES:
            request = await asyncio.to_thread(_request, call, bound)
        else:
            request = _request(call, bound)
        steering = Steering(
            leaf,
            bound.provider,
            left,
            timeout=asked.timeout or leaf.timeout,
            forward=leaf.forward if asked.forward is None else asked.forward,
        )
        return call.leg(request, _lines(call, leaf, asked), steering)

    def _taken(self, key: Key, alias: str) -> tuple[str, ...]:
        """The buckets of requests that a call for this alias has taken one from."""
        plan = self._limits_of(key, alias)
        if plan is None:
            return ()
        pairs = zip(plan.keys, plan.buckets, strict=False)
        return tuple(name for name, bucket in pairs if bucket.unit == "requests")


def _only_target(provider: str | None) -> Leaf:
    """What the headers alone ask for: the body's model."""
    return Leaf("config", None, 1.0, provider, {}, None, None, None, None, ())


def _request(call: Call, bound: Bound) -> ModelRequest:
    """The caller's body with the target's overrides, checked as any other. Raises InvalidRequest."""
    overrides = bound.leaf.overrides
    if not overrides and bound.alias == call.request.model:
        return call.request
    document = orjson.loads(call.body) | overrides | {"model": bound.alias}
    request: ModelRequest = call.family.parse(orjson.dumps(document))
    return request


def _lines(call: Call, leaf: Leaf, asked: Asked) -> HeaderList:
    """The caller's headers, with what the config wants of the cache in the gateway's own words."""
    lines = [pair for pair in call.header_lines if pair[0] not in _OURS]
    if leaf.cache is None:
        return [*lines, (b"cache-control", b"no-cache, no-store")]
    age = leaf.cache.max_age
    control = b"max-age=%d" % (FRESH_ENOUGH if age is None else age)
    if asked.refresh:
        control = b"no-cache"
    lines.append((b"cache-control", control))
    if age is not None:
        lines.append((b"x-headgate-cache-ttl", b"%d" % age))
    if asked.namespace is not None:
        lines.append((b"x-headgate-cache-namespace", asked.namespace))
    return lines
