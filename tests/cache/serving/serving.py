"""The serving part of the cache without a socket: its services, plans and look-ups over ``memory://``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from app.cache_services import CacheServices
from app.concurrency.loop_lag import LoopLag
from app.config.loading import load
from app.config.settings import Caching
from app.config.settings import Store as StoreSettings
from app.core.call import Call
from app.core.errors import HeaderList
from app.core.keys import Key
from app.policy.caching import CachePlans
from cache.answers.directives import read_directives
from cache.answers.entry import CacheEntry
from cache.serving.coalesced import CacheParts
from cache.serving.lookup import CacheLookup
from cache.serving.plan import CachePlan
from tests.harness.chain import ALIAS, KEY, ORIGIN, USAGE, FailingStore, answer_of, call_of

FAR = Key("far", "other", (), frozenset(), frozenset({ALIAS}), None)  # of another tenant
PRICE = {"input_per_million": 1, "output_per_million": 2}
COST = 7000  # nano-dollars that ``USAGE`` costs at that price
FRESH = 60_000  # milliseconds


def plans_of(
    exact: dict[str, Any] | None = None, forwarded: Sequence[str] = (), **cache: Any
) -> CachePlans:
    """The plans of a configuration whose only model is cached so.

    ``forwarded`` are the callers' headers that its provider is sent.
    """
    assert ORIGIN.target is not None
    provider, model = ORIGIN.target
    upstream = {"kind": "openai", "base_url": "http://127.0.0.1:9/v1"}
    document = {
        "providers": {provider: upstream | {"forward_headers": list(forwarded)}},
        "models": {
            ALIAS: {
                "targets": [{"provider": provider, "model": model}],
                "price": PRICE,
                "cache": {"exact": {"ttl": "60s"} | (exact or {})} | cache,
            }
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            {"id": key.id, "tenant": key.tenant, "secret": f"hg-{key.id}-0123456789abcdef"}
            for key in (KEY, FAR)
        ],
    }
    return CachePlans(load(orjson.dumps(document).decode()).settings)  # JSON is YAML


def plan_of(exact: dict[str, Any] | None = None, **cache: Any) -> CachePlan:
    plan = plans_of(exact, **cache).of(KEY, ALIAS)
    assert plan is not None
    return plan


def lookup_of(
    call: Call | None = None, plan: CachePlan | None = None, headers: HeaderList | None = None
) -> CacheLookup:
    """A call as the cache sees it, its fingerprints taken and nothing looked up."""
    call = call or call_of(headers)
    plan = plan or plan_of()
    directives = read_directives(call.headers)
    lookup = CacheLookup(call, plan, directives, plan.where(call.family, directives.namespace))
    lookup.identify(lookup.where.fingerprints(call.request, lookup.headers))
    return lookup


def entry_of(
    text: str = "kept",
    now: int = 0,
    *,
    age: int = 0,
    fresh: int = FRESH,
    revalidate: int = 0,
    on_error: int = 0,
) -> CacheEntry:
    """An entry that was stored ``age`` milliseconds before ``now``, to be fresh for ``fresh``."""
    assert ORIGIN.target is not None
    stored = now - age
    until = stored + fresh
    times = (stored, stored, until, until + revalidate, until + on_error)
    return CacheEntry(answer_of(text).body, ORIGIN.provider, ORIGIN.model, USAGE, COST, *times)


class Worker:
    """What a worker's cache works with, on a store that can be out."""

    def __init__(self) -> None:
        self.store = FailingStore()
        services = CacheServices(
            StoreSettings(), self.store, Caching(), None, LoopLag(), wants_vectors=False
        )
        self.services: CacheParts = services.parts

    async def now(self) -> int:
        """The store's time in milliseconds."""
        found = await self.services.responses.look_up(lookup_of().place, [])
        return found.now

    async def keep(self, lookup: CacheLookup, *texts: str, **times: int) -> list[CacheEntry]:
        """Keep an entry for each of the first prompts of a look-up."""
        now = await self.now()
        entries = [entry_of(text, now, **times) for text in texts]
        pairs = list(zip(lookup.digests, entries, strict=False))
        self.services.responses.keep(lookup.place, pairs)
        return entries

    async def kept(self, lookup: CacheLookup) -> list[CacheEntry | None]:
        """What the store has for each prompt."""
        found = await self.services.responses.look_up(lookup.place, lookup.digests)
        return found.entries

    @property
    def idle(self) -> bool:
        """Whether nothing is under way."""
        return not self.services.flights.all()
