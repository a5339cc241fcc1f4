"""The ``x-portkey-*`` headers of a request, read once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import orjson

from app.core.errors import InvalidRequest
from app.portkey.conditions import Mistake
from app.portkey.config import (
    MAX_TIMEOUT_MS,
    Node,
    header_names,
    parse_config,
    place_text,
    read_config,
)

PREFIX = b"x-portkey-"
CONFIG = b"x-portkey-config"
API_KEY = b"x-portkey-api-key"
MAX_METADATA = 16
MAX_METADATA_TEXT = 128

HOST = PREFIX + b"custom-host"
# What the clients say of themselves; nothing here depends on it.
_ABOUT_CLIENTS = frozenset(
    PREFIX + name.encode()
    for name in "api-key package package-version runtime runtime-version lang language os arch async "
    "span-id span-name parent-span-id debug strict-open-ai-compliance".split()
)
_READ = frozenset(
    PREFIX + name.encode()
    for name in "config provider virtual-key metadata trace-id request-timeout custom-host "
    "forward-headers cache-force-refresh cache-namespace".split()
)
_TRACE_ID = re.compile(rb"[!-~]{1,128}").fullmatch
_NAMESPACE = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch


class Asked(NamedTuple):
    """What a request's headers ask for. ``host`` is the address of the one to ask. ``timeout`` is seconds; ``node`` is the config, where there
    is one. ``steers``: the request goes where they say, and not as any other would."""

    node: Node | None
    provider: str | None
    metadata: Mapping[str, str]
    trace_id: bytes | None
    timeout: float | None
    forward: tuple[str, ...] | None
    refresh: bool
    namespace: bytes | None
    host: str | None = None

    @property
    def steers(self) -> bool:
        named = (self.node, self.provider, self.timeout, self.forward, self.host)
        return any(one is not None for one in named)


def asks(headers: Mapping[bytes, bytes]) -> bool:
    """Whether any of a request's headers is Portkey's, but those that its clients always send."""
    return any(name.startswith(PREFIX) and name not in _ABOUT_CLIENTS for name in headers)


def refusal(place: str, message: str) -> InvalidRequest:
    """A mistake in a header or a config, with its place."""
    return InvalidRequest(f"`{place}` {message}.", code="invalid_config", param=place)


def read_headers(headers: Mapping[bytes, bytes], configs: Mapping[str, Node]) -> Asked:
    """Raises InvalidRequest with the code ``invalid_config``. ``configs`` are the stored ones by id."""
    for name in headers:
        if name.startswith(PREFIX) and name not in _READ and name not in _ABOUT_CLIENTS:
            raise refusal(
                name.decode("latin-1"), "is not known here; credentials are the operator's"
            )
    host = headers.get(HOST)
    return Asked(
        _config(headers.get(CONFIG), configs),
        _provider(headers),
        _metadata(headers.get(PREFIX + b"metadata")),
        _matching(headers, b"trace-id", _TRACE_ID, "must be 1 to 128 visible characters"),
        _timeout(headers.get(PREFIX + b"request-timeout")),
        _forward(headers.get(PREFIX + b"forward-headers")),
        headers.get(PREFIX + b"cache-force-refresh", b"").strip().lower() == b"true",
        _matching(
            headers,
            b"cache-namespace",
            _NAMESPACE,
            "must be 1 to 64 letters, digits, dots, dashes or underscores",
        ),
        host.decode("latin-1") if host is not None else None,
    )


def _config(text: bytes | None, configs: Mapping[str, Node]) -> Node | None:
    if text is None:
        return None
    stored = configs.get(text.strip().decode("latin-1"))
    if stored is not None:
        return stored
    try:
        return parse_config(read_config(text))
    except Mistake as mistake:
        raise refusal(place_text(mistake.path), mistake.message) from None


def _provider(headers: Mapping[bytes, bytes]) -> str | None:
    names = [
        headers[name].strip().decode("latin-1").removeprefix("@")
        for name in (PREFIX + b"provider", PREFIX + b"virtual-key")
        if name in headers
    ]
    if len(set(names)) > 1:
        raise refusal("x-portkey-virtual-key", "names another provider than `x-portkey-provider`")
    return names[0] if names else None


def _metadata(text: bytes | None) -> Mapping[str, str]:
    if text is None:
        return {}
    place = "x-portkey-metadata"
    try:
        said = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise refusal(place, "is not JSON") from None
    if not isinstance(said, dict) or len(said) > MAX_METADATA:
        raise refusal(place, f"must be an object with at most {MAX_METADATA} members")
    for name, value in said.items():
        if not isinstance(value, str) or max(len(value), len(name)) > MAX_METADATA_TEXT:
            raise refusal(f"{place}.{name[:MAX_METADATA_TEXT]}", "must be a text of at most 128")
    return said


def _matching(
    headers: Mapping[bytes, bytes],
    name: bytes,
    rule: Any,
    says: str,
) -> bytes | None:
    value = headers.get(PREFIX + name)
    if value is not None and not rule(value.strip()):
        raise refusal((PREFIX + name).decode(), says)
    return value.strip() if value is not None else None


def _timeout(text: bytes | None) -> float | None:
    """Seconds, of milliseconds."""
    if text is None:
        return None
    text = text.strip()
    if not text.isdigit() or not 0 < int(text[:12]) <= MAX_TIMEOUT_MS:
        raise refusal("x-portkey-request-timeout", "must be a number of milliseconds, more than 0")
    return int(text) / 1000


def _forward(text: bytes | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.decode("latin-1").split(",") if name.strip()]
    try:
        return header_names(list(names), ())
    except Mistake as mistake:
        raise refusal("x-portkey-forward-headers", mistake.message) from None
