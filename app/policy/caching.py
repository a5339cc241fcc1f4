"""From settings and keys to plans: how the answers to a key's requests for a model are cached."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import msgspec
import orjson

from app.config.fim import fim_target
from app.config.prices import price_of
from app.config.providers import HttpProvider, base_url_of, kind_of
from app.config.settings import Cache, Model, Settings, Target
from app.config.values.header_names import TRACING
from app.config.values.patterns import Patterns
from app.core.call import Call
from app.core.keys import Key, digest_of
from app.core.pricing import nano_dollars
from app.core.units import Millis
from cache.answers.fingerprint_form import Scope
from cache.semantic import canonical
from cache.semantic import near_match as guard
from cache.semantic.canonical import wide
from cache.semantic.encoders.base import Encoder
from cache.semantic.plan import MeaningPlan, model_place
from cache.serving.plan import CachePlan

DAY = Millis(86_400_000)


class CachePlans:
    """Plans by key, alias and identity of a target; there are at most keys x targets of them."""

    def __init__(
        self, settings: Settings, encoders: Mapping[str, Encoder] = MappingProxyType({})
    ) -> None:
        self._settings = settings
        self._semantic_plans = {
            alias: _meaning(alias, model, encoders) for alias, model in settings.models.items()
        }
        self._plans: dict[tuple[str, str, str], tuple[Key, CachePlan]] = {}

    def of_call(self, call: Call) -> CachePlan | None:
        """The plan for a call to the target that was picked; None where nothing of it is cached."""
        picked = call.targets[0].identity if call.targets else None
        return self.of(call.key, call.request.model, picked)

    def of(self, key: Key, alias: str, picked: str | None = None) -> CachePlan | None:
        """The plan for a key's requests for a model; None where nothing of it is cached.

        ``picked`` is the identity of the target that was picked, the first one's where it is None.
        """
        model = self._settings.models.get(alias) if alias in key.models else None
        if model is None or model.cache is None or not model.cache.exact.enabled:
            return None
        picked = picked or model.targets[0].answers_as
        known, plan = self._plans.get((key.id, alias, picked), (None, None))
        if plan is None or known is not key:
            plan = _plan(key, alias, model, self._settings, self._semantic_plans[alias], picked)
            self._plans[key.id, alias, picked] = key, plan
        return plan


def _plan(
    key: Key,
    alias: str,
    model: Model,
    settings: Settings,
    meaning: MeaningPlan | None,
    picked: str,
) -> CachePlan:
    cache = model.cache
    assert cache is not None
    exact = cache.exact
    ttl = _ms(exact.ttl if key.cache_ttl is None else key.cache_ttl)
    filler = fim_target(model)
    all_targets = (*model.targets, *(filler.targets if filler is not None else ()))
    same = [target for target in all_targets if target.answers_as == picked]
    # Told by the one that the identity is named after, so that a new twin changes no entry.
    named = [one for one in same if one.name == picked]
    first = (named or same)[0]
    return CachePlan(
        alias,
        scope=_scope(cache, key),
        targets=[_identity(first, model, settings)],
        accepts=frozenset((target.provider, target.model) for target in same),
        price=price_of(model, settings, first),
        ttl=ttl,
        max_ttl=max(ttl, DAY) if exact.max_ttl is None else _ms(exact.max_ttl),
        revalidate=_ms(exact.stale_while_revalidate),
        on_error=_ms(exact.stale_if_error),
        max_entry=int(exact.max_entry),
        normalize=cache.normalize,
        reuse_sampled=cache.sampled == "reuse",
        coalesce=cache.coalesce,
        varies=_varies(same, settings),
        meaning=meaning,
        ignore=Patterns(cache.ignore) if cache.ignore else None,
    )


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
    cache = model.cache
    semantic = cache.semantic if cache is not None else None
    if cache is None or semantic is None or not semantic.enabled:
        return None
    encoder = encoders[semantic.encoder] if semantic.encoder is not None else None
    verify = semantic.verify
    versions = f"{canonical.VERSION}.{wide.VERSION}.{guard.VERSION}"
    return MeaningPlan(
        encoder,
        semantic.threshold,
        semantic.dry_run,
        semantic.sampled == "reuse",
        semantic.tier1b,
        verify.tier1,
        verify.tier1b,
        verify.tier2,
        verify.control,
        verify.max_error,
        nano_dollars(verify.usd_per_day),
        f"{versions}/{encoder.identity if encoder is not None else ''}",
        model_place(alias),
        Patterns(cache.ignore) if cache.ignore else None,
        frozenset(semantic.languages) - {"en"},
    )


def _scope(cache: Cache, key: Key) -> Scope:
    if cache.scope == "global":
        return Scope("global", "", "")
    return Scope(cache.scope, key.tenant, key.id if cache.scope == "key" else "")


def _identity(target: Target, model: Model, settings: Settings) -> list[str]:
    """What makes a target another one: where it is, what it is asked for, and how."""
    slug, name = target.provider, target.model
    provider = settings.providers[slug]
    if not isinstance(provider, HttpProvider):
        return [slug, "simulator", "", name, model.completions, ""]
    # How a suffix is written for the model, where it has a way of its own.
    fim = [msgspec.json.encode(model.fim).decode()] if model.fim is not None else []
    headers = {header: value.reveal() for header, value in provider.headers.items()}
    # Headers can choose a deployment; as a hash, because they can also be secrets.
    said = digest_of(orjson.dumps(headers, option=orjson.OPT_SORT_KEYS).decode()).hex()
    return [
        slug,
        kind_of(provider),
        base_url_of(provider),
        name,
        model.completions,
        said if headers else "",
        *fim,
    ]


def _varies(targets: Iterable[Target], settings: Settings) -> frozenset[bytes]:
    """The headers that some target is sent, but for those that it declares neutral."""
    names: set[str] = set()
    for target in targets:
        provider = settings.providers[target.provider]
        if isinstance(provider, HttpProvider):
            neutral = TRACING if provider.neutral_headers is None else provider.neutral_headers
            names |= set(provider.forward_headers) - set(neutral)
    return frozenset(name.encode() for name in names)


def _ms(seconds: float) -> Millis:
    return Millis(int(seconds * 1000))
