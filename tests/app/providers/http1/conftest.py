"""Each test of the contract runs over our transport and over httpx's own.

Those marked `ours_only` say why httpx's is not held to them.
"""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.providers.http1.transport import Http1Transport
from tests.app.providers.http1.transport_peer import Make


def ours(**options: Any) -> Http1Transport:
    return Http1Transport(**options)


def theirs(
    *, ssl_context: Any = True, max_connections: int = 100, keepalive_expiry: float = 15.0
) -> httpx.AsyncHTTPTransport:
    limits = httpx.Limits(
        max_connections=max_connections,
        max_keepalive_connections=max_connections,
        keepalive_expiry=keepalive_expiry,
    )
    return httpx.AsyncHTTPTransport(verify=ssl_context, limits=limits, trust_env=False)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "make" in metafunc.fixturenames:
        kinds: dict[str, Make] = {"ours": ours}
        if not metafunc.definition.get_closest_marker("ours_only"):
            kinds["httpx"] = theirs
        metafunc.parametrize("make", kinds.values(), ids=kinds.keys())
