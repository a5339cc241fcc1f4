"""Which transport a provider's settings ask for: ours, or httpx's through a forward proxy."""

from __future__ import annotations

import ssl

import httpx

from app.config.providers import HttpProvider
from app.providers.http1.transport import Http1Transport


def make_transport(settings: HttpProvider) -> httpx.AsyncBaseTransport:
    """One pool of connections to one origin."""
    context = _tls_context(settings)
    if settings.proxy:
        limits = httpx.Limits(
            max_connections=settings.max_connections, keepalive_expiry=settings.keepalive
        )
        return httpx.AsyncHTTPTransport(
            verify=context or True,
            trust_env=False,
            limits=limits,
            proxy=httpx.Proxy(settings.proxy.reveal()),
        )
    return Http1Transport(
        max_connections=settings.max_connections,
        keepalive_expiry=float(settings.keepalive),
        max_body_bytes=int(settings.max_response_bytes),
        ssl_context=context,
    )


def _tls_context(settings: HttpProvider) -> ssl.SSLContext | None:
    if not settings.ca_file:
        return None
    return ssl.create_default_context(cafile=settings.ca_file)
