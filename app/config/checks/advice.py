"""What a configuration may say but should not: secrets that everybody knows, and settings without effect."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from ipaddress import ip_address

from app.config.decoding import Fault
from app.config.settings import CallerKey, Server, Settings, Tenant, TenantModel

# What examples and tutorials have where a secret belongs, and what people type to get on.
_PLACEHOLDER = re.compile(
    r"change-?_?me|replace-?_?me|your-?_?(?:api-?_?)?(?:key|secret)|insert-?_?key|placeholder|<.*>",
    re.IGNORECASE,
)
_WELL_KNOWN = (
    "", "test", "secret", "password", "changeme", "change-me", "admin", "key", "demo", "example",
    "foo", "bar", "hello", "letmein", "123456", "12345678", "1234567890", "sk-1234", "sk-test",
    "sk-123456", "api-key", "api_key", "apikey", "your-api-key", "your-secret", "token", "headgate",
    "hg-test", "none", "null", "EMPTY", "dummy", "ollama", "lm-studio",
)  # fmt: skip
WELL_KNOWN_HASHES = frozenset(hashlib.sha256(word.encode()).hexdigest() for word in _WELL_KNOWN)


def secret_faults(settings: Settings) -> Iterator[Fault]:
    """Keys that let in whoever has read an example."""
    for index, key in enumerate(settings.keys):
        if key is None:
            continue
        for place, count in (("secret", _placeholders(key)), ("secret_sha256", _known_hashes(key))):
            if count:
                yield Fault(
                    ("keys", index, place),
                    "is one that everybody knows; `headgate keys new` makes one",
                )


def advice(settings: Settings, now: datetime) -> Iterator[Fault]:
    """Warnings: what is valid, and probably not meant."""
    if not (settings.providers or settings.models or settings.keys):
        yield Fault(
            (),
            "names no provider, model or key, so every call is refused; `headgate init` writes a file to begin with",
        )
    yield from _in_the_open(settings.server)
    if settings.server.workers > 1 and settings.server.management is None:
        yield Fault(
            ("server", "workers"),
            "without `server.management`, /metrics is of whichever worker answers; "
            "with `management: {port: 9090}` it is of all of them",
        )
    for index, key in enumerate(settings.keys):
        if key is not None and key.expires is not None and _is_over(key.expires, now):
            yield Fault(
                ("keys", index, "expires"), f"is over: {key.id!r} is refused since {key.expires}"
            )
    for section, used in (
        ("limits", _named_limits(settings)),
        ("budgets", _named_budgets(settings)),
    ):
        for name in sorted(set(getattr(settings, section)) - used):
            yield Fault((section, name), "has no effect, because nothing names it")


def _placeholders(key: CallerKey) -> int:
    plain = [secret.reveal() for secret in key.secret if secret is not None]
    return sum(_is_placeholder(text) for text in plain)


def _known_hashes(key: CallerKey) -> int:
    return sum(digest in WELL_KNOWN_HASHES for digest in map(_lower, key.secret_sha256))


def _lower(digest: str | None) -> str:
    return (digest or "-").lower()


def _in_the_open(server: Server) -> Iterator[Fault]:
    try:
        open_to_others = not ip_address(server.host).is_loopback
    except ValueError:
        open_to_others = server.host != "localhost"
    if open_to_others and not server.trusted_proxies:
        yield Fault(
            ("server", "host"),
            "callers from elsewhere are served plain HTTP, so their keys can be read on the way: "
            "put TLS in front, and name what does it in `trusted_proxies`",
        )


def _is_over(text: str, now: datetime) -> bool:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return False  # said elsewhere
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)) <= now


def _named_limits(settings: Settings) -> set[str]:
    targets = (
        one for model in settings.models.values() for one in model.targets if one is not None
    )
    of_targets = _names(target.limits for target in targets)
    return _names(holder.limits for holder in _holders(settings)) | of_targets


def _named_budgets(settings: Settings) -> set[str]:
    return _names(holder.budget for holder in _holders(settings))


def _names(given: Iterable[str | None]) -> set[str]:
    return {name for name in given if name is not None}


def _holders(settings: Settings) -> Iterator[CallerKey | Tenant | TenantModel]:
    """Everything that names policies: keys, tenants, and models within tenants."""
    yield from (key for key in settings.keys if key is not None)
    for tenant in settings.tenants.values():
        if tenant is not None:
            yield tenant
            yield from (policy for policy in tenant.models.values() if policy is not None)


def _is_placeholder(text: str) -> bool:
    return bool(text) and (text in _WELL_KNOWN or _PLACEHOLDER.search(text) is not None)
