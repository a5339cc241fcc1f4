"""From settings to plans: how the answers to a key's requests for a model are cached."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import NamedTuple

import orjson

from app.caching.meaning_plan import MeaningPlan, model_place
from app.core.family import Family
from app.core.fingerprint import Headers, Scope
from app.core.header_names import TRACING
from app.core.keys import Key, digest_of
from app.core.pricing import Price
from app.core.request import ModelRequest
from app.encoders.base import Encoder
from app.prices import price_of
from app.settings import Cache, Model, OpenAIProvider, Settings, Target
from cache.responses import Place

MAX_PLACES = 10_000  # callers choose namespaces
DAY = 86_400_000  # milliseconds


class Where(NamedTuple):
    """Under what, and where in the store, a request's answers stand."""

    fingerprints: Callable[[ModelRequest, Headers], list[bytes]]
    partition: Callable[[ModelRequest, str, Headers], bytes]
    place: Place


class CachePlan:
    """How one key's requests for one model are cached. Times in milliseconds.

    ``target`` is the only provider and model whose answers are kept under this alias. ``varies``
    are the names of callers' headers that go upstream and may change an answer.
    """

    def __init__(
        self,
        key: Key,
        alias: str,
        model: Model,
        settings: Settings,
        meaning: MeaningPlan | None = None,
    ) -> None:
        self.key = key
        self.meaning = meaning
        cache = model.cache
        assert cache is not None
        exact = cache.exact
        self.target = (model.targets[0].provider, model.targets[0].model)
        self.price: Price | None = price_of(model, settings)
        self.ttl = _ms(exact.ttl if key.cache_ttl is None else key.cache_ttl)
        self.max_ttl = max(self.ttl, DAY) if exact.max_ttl is None else _ms(exact.max_ttl)
        self.revalidate = _ms(exact.stale_while_revalidate)
        self.on_error = _ms(exact.stale_if_error)
        self.max_entry = int(exact.max_entry)
        self.reuse_sampled = cache.sampled == "reuse"
        self._coalesce = cache.coalesce
        self.varies = _varies(model, settings)
        self._scope = _scope(cache, key)
        self._alias = alias
        self._normalize = cache.normalize
        self._targets = [_identity(target, model, settings) for target in model.targets]
        self._places: dict[tuple[str, str], Where] = {}

    def where(self, family: Family, namespace: str) -> Where:
        """Where the answers of a family stand in a namespace."""
        found = self._places.get((family.name, namespace))
        if found is None:
            if len(self._places) >= MAX_PLACES:
                self._places.clear()
            fingerprinter = family.fingerprints(
                scope=self._scope,
                namespace=namespace,
                alias=self._alias,
                targets=self._targets,
                normalize=self._normalize,
            )
            place = Place.of(self._scope.tenant, self._alias, namespace)
            found = self._places[family.name, namespace] = Where(
                fingerprinter.of, fingerprinter.partition, place
            )
        return found

    def may_coalesce(self, request: ModelRequest) -> bool:
        """Whether others may have the answer while it is being made."""
        if self._coalesce == "deterministic":
            return not request.sampled
        return self._coalesce == "all"

    def lifetimes(self, ttl: int | None, now: int) -> tuple[int, int, int]:
        """Until when an answer stored ``now`` is fresh, and may be served stale.

        ``ttl`` is what the caller asked for, in seconds.
        """
        fresh = now + (self.ttl if ttl is None else min(ttl * 1000, self.max_ttl))
        return fresh, fresh + self.revalidate, fresh + self.on_error


class CachePlans:
    """Plans by key and alias; there are at most keys x aliases of them."""

    def __init__(
        self, settings: Settings, encoders: Mapping[str, Encoder] = MappingProxyType({})
    ) -> None:
        self._settings = settings
        self._meanings = {
            alias: _meaning(alias, model, encoders) for alias, model in settings.models.items()
        }
        self._plans: dict[tuple[str, str], CachePlan] = {}

    def of(self, key: Key, alias: str) -> CachePlan | None:
        """The plan for a key's requests for a model; None where nothing of it is cached."""
        plan = self._plans.get((key.id, alias))
        if plan is None or plan.key is not key:
            model = self._settings.models.get(alias) if alias in key.models else None
            if model is None or model.cache is None or not model.cache.exact.enabled:
                return None
            plan = CachePlan(key, alias, model, self._settings, self._meanings[alias])
            self._plans[key.id, alias] = plan
        return plan


def places(settings: Settings) -> list[tuple[str, str, bytes]]:
    """Tenant, alias and place of the counts of every model with answers by meaning."""
    found = []
    for alias, model in settings.models.items():
        cache = model.cache
        if cache is None or cache.semantic is None or not cache.semantic.enabled:
            continue
        tenants = [""] if cache.scope == "global" else settings.tenants
        found += [(tenant, alias, model_place(alias)) for tenant in tenants]
    return found


def _meaning(alias: str, model: Model, encoders: Mapping[str, Encoder]) -> MeaningPlan | None:
    semantic = model.cache.semantic if model.cache is not None else None
    if semantic is None or not semantic.enabled:
        return None
    encoder = encoders[semantic.encoder] if semantic.encoder is not None else None
    return MeaningPlan.of(alias, semantic, encoder)


def _scope(cache: Cache, key: Key) -> Scope:
    if cache.scope == "global":
        return Scope("global", "", "")
    return Scope(cache.scope, key.tenant, key.id if cache.scope == "key" else "")


def _identity(target: Target, model: Model, settings: Settings) -> list[str]:
    """What makes a target another one: where it is, what it is asked for, and how."""
    slug, name = target.provider, target.model
    provider = settings.providers[slug]
    if not isinstance(provider, OpenAIProvider):
        return [slug, "simulator", "", name, model.completions, ""]
    headers = {header: value.reveal() for header, value in provider.headers.items()}
    # Headers can choose a deployment; as a hash, because they can also be secrets.
    said = digest_of(orjson.dumps(headers, option=orjson.OPT_SORT_KEYS).decode()).hex()
    return [slug, "openai", provider.base_url, name, model.completions, said if headers else ""]


def _varies(model: Model, settings: Settings) -> frozenset[bytes]:
    """The headers that some target is sent, but for those that it declares neutral."""
    names: set[str] = set()
    for target in model.targets:
        provider = settings.providers[target.provider]
        if isinstance(provider, OpenAIProvider):
            neutral = TRACING if provider.neutral_headers is None else provider.neutral_headers
            names |= set(provider.forward_headers) - set(neutral)
    return frozenset(name.encode() for name in names)


def _ms(seconds: float) -> int:
    return int(seconds * 1000)
