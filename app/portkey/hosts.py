"""Whose address a caller's ``custom_host`` is: one of the operator's own, or nobody's."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

_PORTS = {"http": 80, "https": 443}


def address_of(url: str) -> str | None:
    """An address in one spelling; None for what is none, or names a user, a query or a fragment."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    if parts.query or parts.fragment:
        return None
    path = parts.path.rstrip("/")
    return f"{parts.scheme}://{parts.hostname}:{port or _PORTS[parts.scheme]}{path}"


def provider_at(host: str, named: str | None, addresses: Mapping[str, str]) -> str | None:
    """The provider with this address, and the one that was named where one was; None where it is
    nobody's. ``addresses`` are those of the providers that may be chosen so, by their names."""
    address = address_of(host)
    if address is None:
        return None
    names = [name for name, one in addresses.items() if address_of(one) == address]
    if named is not None:
        return named if named in names else None
    return names[0] if names else None
