"""What may stand in a label: names of the configuration and of this code, never a caller's text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple
from urllib.parse import urlsplit

from app.config.providers import HttpProvider, base_url_of, kind_of
from app.config.settings import Settings
from app.core.keys import Key

OTHER = "other"
MOST_KEYS = 200  # from so many on, metrics do not tell keys apart

# Codes that are told besides the gateway's own. Any other code of an upstream is `other`.
_CODES = frozenset({"client_closed_request", "insufficient_quota", "content_filter"})

# The attribute `gen_ai.provider.name` has well-known values; a kind without one is its own name.
_PROVIDERS = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "xai": "x_ai",
}
_PORTS = {"https": "443", "http": "80"}


class ProviderLabels(NamedTuple):
    """``name`` is the value of `gen_ai.provider.name`, ``address`` and ``port`` where it is asked."""

    name: str
    address: str = ""
    port: str = ""


class Labels:
    """The labels that a configuration allows.

    Tenants, keys and the addresses of upstreams are nobody's business on the port that callers use,
    so they are told only where metrics have a listener of their own. ``codes`` are those of the
    errors that the gateway itself answers with.
    """

    def __init__(self, settings: Settings, codes: Iterable[str]) -> None:
        self._codes = _CODES | frozenset(codes)
        self._private = settings.server.management is not None
        targets = [target for model in settings.models.values() for target in model.targets]
        self._models = frozenset(target.model for target in targets)
        self._providers = {
            name: _of_provider(kind_of(part), part if self._private else None)
            for name, part in settings.providers.items()
        }
        self._tells_keys = self._private and len(settings.keys) < MOST_KEYS

    def model(self, name: str | None) -> str:
        """The model that answered; `other` where no target of the configuration has this name."""
        return name if name in self._models else OTHER if name else ""

    def provider(self, name: str | None) -> ProviderLabels:
        """Who answered, by the provider's name in the file."""
        if not name:
            return ProviderLabels("")
        return self._providers.get(name) or ProviderLabels(OTHER)

    def owner(self, key: Key) -> tuple[str, str]:
        """Tenant and key; empty what is not told."""
        return key.tenant if self._private else "", key.id if self._tells_keys else ""

    def code(self, code: str | None) -> str:
        """An error's code; `other` for one that an upstream made up."""
        return code if code in self._codes else OTHER if code else ""


def _of_provider(kind: str, settings: object) -> ProviderLabels:
    name = _PROVIDERS.get(kind, kind)
    if not isinstance(settings, HttpProvider):
        return ProviderLabels(name)
    parts = urlsplit(base_url_of(settings))
    return ProviderLabels(
        name, parts.hostname or "", str(parts.port or _PORTS.get(parts.scheme, ""))
    )
