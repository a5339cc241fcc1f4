"""How the answers to one key's requests for one model are cached, as values."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

from app.config.values.patterns import Patterns
from app.core.family import Family
from app.core.pricing import Price
from app.core.request import ModelRequest
from app.core.units import Digest, Millis
from cache.answers.fingerprint_form import Headers, Scope
from cache.answers.normalization import Level
from cache.answers.shared_tier import Place
from cache.semantic.plan import MeaningPlan

MAX_PLACES = 10_000  # callers choose namespaces


class Where(NamedTuple):
    """Under what, and where in the store, a request's answers stand."""

    fingerprints: Callable[[ModelRequest, Headers], list[Digest]]
    partition: Callable[[ModelRequest, str, Headers], bytes]
    place: Place


class CachePlan:
    """How one key's requests for one model are cached.

    ``accepts`` are the providers and models whose answers are kept by this plan: those of the target
    that was picked, and of any that is the same by its identity. ``varies`` are the names of callers'
    headers that go upstream and may change an answer. ``targets`` say what that target is (any change
    makes every entry another one); ``max_entry`` is bytes. ``ignore`` is what of a prompt does not
    count.
    """

    def __init__(
        self,
        alias: str,
        *,
        scope: Scope,
        targets: Sequence[Sequence[str]],
        accepts: frozenset[tuple[str, str]],
        price: Price | None = None,
        ttl: Millis,
        max_ttl: Millis,
        revalidate: Millis,
        on_error: Millis,
        max_entry: int,
        normalize: Level = "standard",
        reuse_sampled: bool = True,
        coalesce: Literal["deterministic", "all", "off"] = "deterministic",
        varies: frozenset[bytes] = frozenset(),
        meaning: MeaningPlan | None = None,
        ignore: Patterns | None = None,
    ) -> None:
        self.accepts = accepts
        self.price = price
        self.ttl = ttl
        self.max_ttl = max_ttl
        self.revalidate = revalidate
        self.on_error = on_error
        self.max_entry = max_entry
        self.reuse_sampled = reuse_sampled
        self.varies = varies
        self.coalesce = coalesce
        self.meaning = meaning
        self._alias = alias
        self._scope = scope
        self._targets = targets
        self._normalize = normalize
        self.ignore = ignore
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
                ignore=self.ignore,
            )
            place = Place.of(self._scope.tenant, self._alias, namespace)
            found = self._places[family.name, namespace] = Where(
                fingerprinter.of, fingerprinter.partition, place
            )
        return found

    def lifetimes(self, ttl: int | None, now: Millis) -> tuple[Millis, Millis, Millis]:
        """Until when an answer stored ``now`` is fresh, and may be served stale.

        ``ttl`` is what the caller asked for, in seconds.
        """
        fresh = now + (self.ttl if ttl is None else min(ttl * 1000, self.max_ttl))
        return Millis(fresh), Millis(fresh + self.revalidate), Millis(fresh + self.on_error)
