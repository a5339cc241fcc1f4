"""What the types of a configuration cannot say: references, uniqueness, combinations."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib.util import find_spec
from ipaddress import ip_network
from typing import Any

from msgspec.structs import replace

from app.config.checks.admin import admin_faults
from app.config.checks.advice import secret_faults
from app.config.checks.audit import audit_faults
from app.config.checks.guardrails import GuardrailChecks
from app.config.checks.providers import ProviderCheck, certificates_problem
from app.config.checks.retrieval import RetrievalChecks
from app.config.checks.targets import Found, target_faults, unpriced
from app.config.decoding import Fault, Path
from app.config.fim import fim_target
from app.config.guardrails import TopicsRule
from app.config.providers import HttpProvider, OpenAILike, SimulatorProvider
from app.config.settings import Cache, CallerKey, Fim, Model, RemoteEncoder, Settings, Store
from app.config.values.encryption_key import parse_encryption_key
from app.config.values.patterns import MAX_PATTERNS, compiled
from app.config.values.store_url import parse_store_url
from app.core.keys import allowed_models, digest_of
from app.core.pricing import MAX_DOLLARS
from app.portkey.conditions import Mistake
from app.portkey.config import parse_config

MAX_SECRETS = 2
MIN_CACHE_BYTES = 1 << 20
MIN_SECRET_LENGTH = 16

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_NAME_RULE = "must be 1 to 64 letters, digits, dots, dashes or underscores"


def check_references(
    settings: Settings, declared: Mapping[str, Any] | None = None
) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings. ``declared`` is the raw file, where only parts of it could be decoded:
    a name that stands there counts as known, however wrong its content is."""
    check = _Check(settings, declared or {})
    check.server()
    check.cache()
    check.providers()
    check.encoders()
    check.models()
    check.configs()
    check.tenants()
    check.keys()
    check.guardrails()
    check.retrieval()
    check.money()
    check.audit()
    callers = [digest for key in settings.keys if key is not None for digest in key_digests(key)]
    faults = [*check.faults, *secret_faults(settings), *admin_faults(settings, callers)]
    return faults, check.warnings


def check_key(settings: Settings) -> tuple[list[Fault], list[Fault]]:
    """Faults and warnings of the only key of ``settings``; paths are within the key."""
    check = _Check(settings, {})
    check.keys()
    check.money()
    faults = _within([*check.faults, *secret_faults(settings)], 2, ("keys",))
    return faults, _within(check.warnings, 2, ("keys",))


def check_tenant(settings: Settings, name: str) -> tuple[list[Fault], list[Fault]]:
    """The same of one tenant."""
    check = _Check(replace(settings, tenants={name: settings.tenants[name]}), {})
    check.tenants()
    return _within(check.faults, 2, ("tenants",)), _within(check.warnings, 2, ("tenants",))


def check_names(name: str) -> list[str]:
    """What is wrong with the name of an object."""
    return [] if _NAME.fullmatch(name) else [_NAME_RULE]


def _within(faults: Iterable[Fault], depth: int, section: Path) -> list[Fault]:
    """Faults with the paths that they have inside of an object of a section."""
    return [
        fault._replace(path=fault.path[depth:]) if fault.path[:1] == section else fault
        for fault in faults
    ]


def expiry(text: str) -> float:
    """A date or a time as unix seconds; UTC where it names no zone.

    Raises ValueError.
    """
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


class _Check:
    def __init__(self, settings: Settings, declared: Mapping[str, Any]) -> None:
        self._settings = settings
        self._declared = declared
        self.faults: list[Fault] = []
        self.warnings: list[Fault] = []

    def _fault(self, path: Path, message: str) -> None:
        self.faults.append(Fault(path, message))

    def _warn(self, path: Path, message: str) -> None:
        self.warnings.append(Fault(path, message))

    def _found(self, path: Path, found: Found) -> None:
        (self._warn if found.warns else self._fault)((*path, *found.path), found.message)

    def _known(self, section: str) -> set[str]:
        raw = self._declared.get(section)
        names = set(map(str, raw)) if isinstance(raw, Mapping) else set()
        return names | set(getattr(self._settings, section))

    def _reference(self, path: Path, section: str, name: str | None) -> None:
        known = self._known(section)
        if name is not None and name not in known:
            self._fault(path, f"no such entry in `{section}`: {name!r}; {_choices(known)}")

    def _name(self, path: Path, name: str) -> None:
        if not _NAME.fullmatch(name):
            self._fault(path, _NAME_RULE)

    def server(self) -> None:
        server, store = self._settings.server, self._settings.store
        url = store.url.reveal()
        if server.workers > 1 and url.startswith("memory:"):
            self._fault(
                ("server", "workers"),
                "more than one worker needs a shared store; set `store.url` to redis://…, "
                "because memory:// lives inside one process",
            )
        if store.lease < 1:
            self._fault(("store", "lease"), "must be at least 1s")
        self._store(("store",), url, store.timeout)
        self._encryption(store)
        if server.max_body_bytes < 1024:
            self._fault(("server", "max_body_bytes"), "must be at least 1KiB")
        if server.worker_timeout < 1:
            self._fault(("server", "worker_timeout"), "must be at least 1s")
        if server.management is not None and server.management.port == server.port:
            self._fault(
                ("server", "management", "port"),
                "must differ from `server.port`, on which callers are served",
            )

    def cache(self) -> None:
        own, caching = self._settings.cache_store, self._settings.cache
        if own is not None:
            url = own.url.reveal()
            self._store(("cache_store",), url, own.timeout)
            if url.startswith("memory:"):
                self._fault(
                    ("cache_store", "url"),
                    "memory:// lives inside one process, where no purge reaches it; "
                    "name a Redis, or leave `cache_store` out",
                )
        if caching.max_bytes < MIN_CACHE_BYTES:
            self._fault(("cache", "max_bytes"), "must be at least 1MiB")
        of_tenant = caching.max_bytes_per_tenant
        if of_tenant is not None and not MIN_CACHE_BYTES <= of_tenant <= caching.max_bytes:
            self._fault(
                ("cache", "max_bytes_per_tenant"), "must be from 1MiB to as much as `max_bytes`"
            )

    def _store(self, path: Path, url: str, timeout: float) -> None:
        if timeout <= 0:
            self._fault((*path, "timeout"), "must be more than 0")
        try:
            ca_file = parse_store_url(url).ca_file
        except ValueError as error:
            self._fault((*path, "url"), str(error))
        else:
            if ca_file and (problem := certificates_problem(ca_file)):
                self._fault((*path, "url"), problem)

    def _encryption(self, store: Store) -> None:
        path: Path = ("store", "encryption_keys")
        for index, key in enumerate(store.encryption_keys):
            try:
                if key is not None:
                    parse_encryption_key(key.reveal())
            except ValueError as error:
                self._fault((*path, index), str(error))
        if len(set(store.encryption_keys)) < len(store.encryption_keys):
            self._fault(path, "names a key twice")
        if store.encryption_keys and find_spec("cryptography") is None:
            self._fault(path, "needs an extra: pip install 'headgate[encryption]'")

    def _connections(self) -> None:
        server = self._settings.server
        for name in ("head_timeout", "keepalive_timeout", "send_timeout"):
            if getattr(server, name) <= 0:
                self._fault(("server", name), "must be more than 0")
        for index, network in enumerate(server.trusted_proxies):
            try:
                ip_network(network)
            except ValueError:
                self._fault(
                    ("server", "trusted_proxies", index),
                    "expected an address or a network such as 10.0.0.0/8",
                )

    def providers(self) -> None:
        for name, provider in self._settings.providers.items():
            path: Path = ("providers", name)
            self._name(path, name)
            if isinstance(provider, HttpProvider):
                ProviderCheck(path, provider, self._fault, self._warn).all()
            elif isinstance(provider, SimulatorProvider):
                shares = sum(one.share for one in provider.failures if one is not None)
                if shares > 1:
                    self._fault((*path, "failures"), "the shares add up to more than 1")

    def models(self) -> None:
        for alias, model in self._settings.models.items():
            path: Path = ("models", alias)
            if not alias.isprintable() or not 0 < len(alias) <= 256:
                self._fault(path, "an alias must be 1 to 256 printable characters")
            self._targets(path, model)
            self._reference((*path, "retrieval"), "retrieval", model.retrieval)
            if isinstance(model.fim, Fim):
                self._fim((*path, "fim"), model.fim)
            if model.cache is not None:
                self._cache((*path, "cache"), model.cache)
            for found in target_faults(model):
                self._found(path, found)

    def _fim(self, path: Path, fim: Fim) -> None:
        self._reference((*path, "provider"), "providers", fim.provider)
        marks = bool(fim.prefix or fim.suffix or fim.middle)
        target = fim.provider is not None or fim.model is not None
        if marks == target:
            self._fault(path, "must be a template (`prefix`, `suffix`, `middle`), or a target")
        elif marks and not (fim.prefix and fim.suffix):
            self._fault(path, "needs both `prefix` and `suffix`")
        elif target and (fim.provider is None or fim.model is None):
            self._fault(path, "needs both `provider` and `model`")

    def configs(self) -> None:
        """Routing configs of callers that are stored under an id."""
        for name, document in self._settings.configs.items():
            path: Path = ("configs", name)
            self._name(path, name)
            try:
                parse_config(document)
            except Mistake as mistake:
                self._fault((*path, *mistake.path), mistake.message)

    def _cache(self, path: Path, cache: Cache) -> None:
        if cache.scope == "global":
            self._warn(
                (*path, "scope"),
                "global: answers to one tenant's requests are given to every other tenant too",
            )
        if cache.exact.max_ttl is not None and cache.exact.ttl > cache.exact.max_ttl:
            self._fault((*path, "exact", "ttl"), "must be at most `max_ttl`")
        self._ignored((*path, "ignore"), cache.ignore)
        if cache.semantic is not None:
            encoder = cache.semantic.encoder
            self._reference((*path, "semantic", "encoder"), "encoders", encoder)
            if cache.semantic.enabled and not cache.exact.enabled:
                self._fault(
                    (*path, "semantic", "enabled"),
                    "needs `exact.enabled`: it points to its answers",
                )

    def _ignored(self, path: Path, patterns: tuple[str, ...]) -> None:
        if len(patterns) > MAX_PATTERNS:
            self._fault(path, f"at most {MAX_PATTERNS} patterns")
        for index, pattern in enumerate(patterns[:MAX_PATTERNS]):
            try:
                if pattern is not None:
                    compiled(pattern)
            except ValueError as error:
                self._fault((*path, index), str(error))

    def encoders(self) -> None:
        settings = self._settings
        for name, encoder in settings.encoders.items():
            path: Path = ("encoders", name)
            self._name(path, name)
            if isinstance(encoder, RemoteEncoder):
                self._reference((*path, "provider"), "providers", encoder.provider)
                provider = settings.providers.get(encoder.provider)
                if provider is not None and not isinstance(provider, OpenAILike):
                    self._fault((*path, "provider"), "must speak the OpenAI API")
            elif find_spec("wordllama") is None:
                self._fault(
                    (*path, "kind"), "local needs an extra: pip install 'headgate[semantic]'"
                )

    def _targets(self, path: Path, model: Model) -> None:
        if not model.targets:
            self._fault((*path, "targets"), "must name at least one target")
        for index, target in enumerate(model.targets):
            if target is None:
                continue
            place = (*path, "targets", index)
            self._reference((*place, "provider"), "providers", target.provider)
            self._reference((*place, "limits"), "limits", target.limits)
            provider = self._settings.providers.get(target.provider)
            if model.tokenizer and not isinstance(provider, OpenAILike | None):
                self._fault(
                    (*path, "tokenizer"), "needs a server that speaks the OpenAI API, such as vLLM"
                )
            if (
                isinstance(provider, OpenAILike)
                and model.completions == "chat"
                and "chat" not in provider.endpoints
            ):
                self._fault(
                    (*path, "completions"),
                    f"chat needs a provider with the chat endpoint; `{target.provider}` has none",
                )

    def tenants(self) -> None:
        for name, tenant in self._settings.tenants.items():
            path: Path = ("tenants", name)
            self._name(path, name)
            self._policies(path, tenant.limits, tenant.budget)
            for alias, policy in tenant.models.items():
                place = (*path, "models", alias)
                self._reference(place, "models", alias)
                if policy is not None:
                    self._policies(place, policy.limits, policy.budget)

    def _policies(self, path: Path, limits: str | None, budget: str | None) -> None:
        self._reference((*path, "limits"), "limits", limits)
        self._reference((*path, "budget"), "budgets", budget)

    def keys(self) -> None:
        ids: dict[str, int] = {}
        digests: dict[bytes, int] = {}
        for index, key in enumerate(self._settings.keys):
            if key is None:
                continue
            path: Path = ("keys", index)
            self._name((*path, "id"), key.id)
            first = ids.setdefault(key.id, index)
            if first != index:
                self._fault((*path, "id"), f"{key.id!r} is already the id of keys[{first}]")
            self._reference((*path, "tenant"), "tenants", key.tenant)
            self._policies(path, key.limits, key.budget)
            self._secrets(path, key)
            for digest in key_digests(key):
                first = digests.setdefault(digest, index)
                if first != index:
                    self._fault(path, f"has the same secret as keys[{first}]")
            self._patterns(path, key.models)
            if key.expires is not None:
                self._expiry((*path, "expires"), key.expires)

    def guardrails(self) -> None:
        """Rules that work, under names that can be asked for, for somebody who is there."""
        checks = GuardrailChecks(self._fault, self._warn)
        for name, rule in self._settings.guardrails.items():
            path: Path = ("guardrails", name)
            self._name(path, name)
            if rule is None:
                continue
            checks.check(path, name, rule)
            if isinstance(rule, TopicsRule):
                self._reference((*path, "encoder"), "encoders", rule.encoder)
            self._patterns(path, rule.models)

    def audit(self) -> None:
        audit = self._settings.audit
        if audit is not None:
            for found in audit_faults(audit, self._settings.store.url.reveal()):
                self._found(("audit",), found)

    def retrieval(self) -> None:
        checks = RetrievalChecks(self._settings, self._fault, self._reference, self._name)
        for name, section in self._settings.retrieval.items():
            path: Path = ("retrieval", name)
            self._name(path, name)
            if section is not None:
                checks.check(path, section)

    def money(self) -> None:
        """Budgets need amounts that stay exact, and a price for whatever they pay for."""
        settings = self._settings
        for name, budget in settings.budgets.items():
            if budget is not None and budget.usd > MAX_DOLLARS:
                self._fault(("budgets", name, "usd"), f"must be at most {MAX_DOLLARS}")
        payers: dict[str, str] = {}
        for key in settings.keys:
            if key is not None:
                for alias in self._budgeted(key):
                    payers.setdefault(alias, key.id)
        for alias, payer in payers.items():
            model = settings.models.get(alias)
            for one in (model, fim_target(model)) if model is not None else ():
                for found in unpriced(one, settings, payer) if one is not None else ():
                    self._found(("models", alias), found)

    def _budgeted(self, key: CallerKey) -> Iterable[str]:
        """The aliases on which a key spends from a budget."""
        settings = self._settings
        tenant = settings.tenants.get(key.tenant)
        everywhere = key.budget or (tenant is not None and tenant.budget)
        patterns = [pattern for pattern in key.models if pattern is not None]
        for alias in allowed_models(patterns, settings.models):
            own = tenant.models.get(alias) if tenant is not None else None
            if everywhere or (own is not None and own.budget):
                yield alias

    def _secrets(self, path: Path, key: CallerKey) -> None:
        count = len(key.secret) + len(key.secret_sha256)
        if not (count or key.secret_file):
            self._fault(
                path,
                "needs a `secret`, `secret_file` or `secret_sha256`; `headgate keys new` makes one",
            )
        if count > MAX_SECRETS:
            self._fault(
                path, f"has {count} secrets; at most two, the old and the new, may be valid"
            )
        for secret in key.secret:
            if secret is not None and len(secret.reveal()) < MIN_SECRET_LENGTH:
                self._fault(
                    (*path, "secret"),
                    f"must have at least {MIN_SECRET_LENGTH} characters; "
                    "`headgate keys new` makes one",
                )
        for digest in key.secret_sha256:
            if digest is not None and not _SHA256.fullmatch(digest):
                self._fault((*path, "secret_sha256"), "must be 64 hexadecimal digits")

    def _patterns(self, path: Path, patterns: Iterable[str]) -> None:
        for pattern in patterns:
            if pattern is not None and not allowed_models([pattern], self._known("models")):
                self._warn((*path, "models"), f"{pattern!r} matches no model of this file")

    def _expiry(self, path: Path, text: str) -> None:
        try:
            expiry(text)
        except ValueError:
            self._fault(path, "expected a date such as 2027-01-01 or a time in ISO 8601")


def key_digests(key: CallerKey) -> tuple[bytes, ...]:
    """The SHA-256 digests of a key's secrets."""
    plain = [digest_of(secret.reveal()) for secret in key.secret if secret]
    hashed = [bytes.fromhex(d) for d in key.secret_sha256 if d and _SHA256.fullmatch(d)]
    return (*plain, *hashed)


def _choices(known: set[str]) -> str:
    return f"expected one of {', '.join(sorted(known))}" if known else "there is none"
