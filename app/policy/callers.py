"""Every caller's key: those of the configuration's file, and those that operators made at run time."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson
from msgspec.structs import replace

from app.config.checks.references import expiry, key_digests
from app.config.checks.targets import unpriced
from app.config.objects import decoded
from app.config.settings import CallerKey, Settings, Tenant, TenantModel
from app.core.errors import Forbidden, GatewayError, Unauthenticated
from app.core.keys import Key, KeyRing, allowed_models
from app.core.refusal import store_unavailable
from app.policy.limits_and_budgets import Policies, Rules
from cache.registry.objects import Stored
from cache.registry.registry import Registry
from cache.registry.snapshot import Found, Snapshot

MAX_MADE = 20_000  # keys that were used, as values; more are made again when they are used again


def key_ring(settings: Settings) -> KeyRing:
    """The callers that a configuration names."""
    rules = Rules(settings)
    return KeyRing(
        caller(key, rules, allowed_models(key.models, settings.models)) for key in settings.keys
    )


def caller(key: CallerKey, rules: Rules, models: frozenset[str]) -> Key:
    """A key as its calls need it; ``models`` are the aliases it may use."""
    return Key(
        id=key.id,
        tenant=key.tenant,
        digests=key_digests(key),
        capabilities=frozenset(key.capabilities),
        models=models,
        expires=expiry(key.expires) if key.expires is not None else None,
        limits=rules.limits(key.limits),
        budget=rules.budget(key.budget),
        max_output_tokens=key.max_output_tokens,
        cache_ttl=key.cache_ttl,
        portkey=key.portkey,
    )


class Callers:
    """Finds keys in the file first, then in the worker's copy of those made at run time.

    A key of the file hides one of the same id. ``settings`` is the file with the tenants, limits and
    budgets made at run time; ``policies`` go by it. ``now`` gives unix seconds.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        policies: Policies,
        now: Callable[[], float],
    ) -> None:
        self._of_file = settings
        self._ring = key_ring(settings)
        self._filed = {key.id for key in settings.keys}
        self._registry = registry
        self._policies = policies
        self._now = now
        self._made: dict[str, tuple[Stored, Key | None]] = {}
        self._models: dict[tuple[tuple[str, ...], bool], frozenset[str]] = {}
        self.policies_changed()
        registry.watch(self)

    def policies_changed(self) -> None:
        """Go by the tenants, limits and budgets that are there now."""
        self.settings = overlaid(self._of_file, self._registry.snapshot)
        self._rules = Rules(self.settings)
        self._policies.adopt(self.settings)
        self._made.clear()

    def find(self, secret: bytes) -> Key | None:
        """The key that a secret opens, if it may be used."""
        key = self._ring.find(secret)
        if key is not None:
            return key
        found = self._registry.snapshot.find(hashlib.sha256(secret).digest())
        return self._usable(found) if found is not None and not self._refusal(found) else None

    async def unknown(self, secret: bytes) -> Key | GatewayError:
        """The key of a secret that `find` does not find, or why there is none."""
        digest = hashlib.sha256(secret).digest()
        registry = self._registry
        found = registry.snapshot.find(digest) or await registry.look_up(digest)
        if found is None:
            if not registry.whole:
                return store_unavailable("keys")
            return Unauthenticated("The API key is not valid here.", code="invalid_api_key")
        return self._refusal(found) or self._usable(found) or _unusable()

    def _refusal(self, found: Found) -> GatewayError | None:
        if found.id in self._filed:
            return Unauthenticated("The API key is not valid here.", code="invalid_api_key")
        if b'"blocked":true' in found.stored.document and is_blocked(found.stored):
            return Unauthenticated("The API key is blocked.", code="blocked_api_key")
        if found.until is not None and found.until <= self._now():
            return Unauthenticated(
                "The API key has a new secret, and this one is over.", code="expired_api_key"
            )
        return None

    def _usable(self, found: Found) -> Key | None:
        """The key as a value; None where what it refers to is gone."""
        known = self._made.get(found.id)
        if known is None or known[0] is not found.stored:
            if len(self._made) >= MAX_MADE:
                self._made.clear()
            known = self._made[found.id] = (found.stored, self._value(found.id, found.stored))
        return known[1]

    def _value(self, name: str, stored: Stored) -> Key | None:
        key = decoded("keys", name, orjson.loads(stored.document)["spec"])
        settings = self.settings
        if key is None or not refers_to_what_is_there(key, settings):
            return None
        return caller(key, self._rules, self._models_of(key))

    def _models_of(self, key: CallerKey) -> frozenset[str]:
        """The aliases it may use: of those on which it spends from a budget, only those with a price."""
        tenant = self.settings.tenants[key.tenant]
        everywhere = key.budget is not None or tenant.budget is not None
        place = key.models, everywhere
        found = self._models.get(place)
        if found is None:
            if len(self._models) >= MAX_MADE:
                self._models.clear()
            found = allowed_models(key.models, self.settings.models)
            if everywhere:
                found = frozenset(alias for alias in found if self._has_a_price(alias))
            self._models[place] = found
        own = [a for a, part in tenant.models.items() if part.budget is not None and a in found]
        return found - {alias for alias in own if not self._has_a_price(alias)}

    def _has_a_price(self, alias: str) -> bool:
        model = self.settings.models[alias]
        return all(one.warns for one in unpriced(model, self.settings, ""))


def _unusable() -> GatewayError:
    return Forbidden(
        "This API key refers to a tenant, limits or a budget that are not there any more; "
        "its operator can mend it.",
        code="key_unusable",
    )


def is_blocked(stored: Stored) -> bool:
    """Whether a key is not to be used until it is unblocked."""
    return bool(orjson.loads(stored.document).get("blocked"))


def overlaid(settings: Settings, snapshot: Snapshot) -> Settings:
    """A configuration with what was made at run time; the file's entries hide those of the same name.

    A tenant that refers to what is not there is left out, so its keys cannot be used.
    """
    limits = {**_sections("limits", snapshot), **settings.limits}
    budgets = {**_sections("budgets", snapshot), **settings.budgets}
    merged = replace(settings, limits=limits, budgets=budgets)
    tenants: Mapping[str, Tenant] = _sections("tenants", snapshot)
    whole = {name: tenant for name, tenant in tenants.items() if _is_whole(tenant, merged)}
    return replace(merged, tenants={**whole, **settings.tenants})


def _sections(kind: str, snapshot: Snapshot) -> dict[str, Any]:
    found = (
        (name, decoded(kind, name, orjson.loads(stored.document)["spec"]))
        for name, stored in snapshot.of(kind)
    )
    return {name: section for name, section in found if section is not None}


def _is_whole(tenant: Tenant, settings: Settings) -> bool:
    parts: list[Tenant | TenantModel] = [tenant, *tenant.models.values()]
    return _known(settings.limits, (part.limits for part in parts)) and _known(
        settings.budgets, (part.budget for part in parts)
    )


def refers_to_what_is_there(key: CallerKey, settings: Settings) -> bool:
    """Whether its tenant, limits and budget are there."""
    return (
        key.tenant in settings.tenants
        and _known(settings.limits, [key.limits])
        and _known(settings.budgets, [key.budget])
    )


def _known(table: Mapping[str, Any], names: Iterable[str | None]) -> bool:
    return all(name is None or name in table for name in names)
