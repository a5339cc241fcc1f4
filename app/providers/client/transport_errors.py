"""What an exception of a transport is to a caller."""

from __future__ import annotations

import httpx

from app.core.errors import (
    UpstreamError,
    UpstreamInvalid,
    UpstreamNotConnected,
    UpstreamPoolFull,
    UpstreamTimeout,
    UpstreamUnreachable,
)
from app.providers.http1.errors import ResponseTooLarge

# First match wins, so the narrow ones come first.
TRANSPORT_ERRORS: tuple[tuple[type[httpx.HTTPError], type[UpstreamError], str], ...] = (
    (httpx.PoolTimeout, UpstreamPoolFull, "Every connection to the upstream is busy."),
    (
        httpx.ConnectTimeout,
        UpstreamNotConnected,
        "The upstream did not accept a connection in time.",
    ),
    (httpx.TimeoutException, UpstreamTimeout, "The upstream did not answer in time."),
    (httpx.ConnectError, UpstreamUnreachable, "The upstream cannot be reached."),
    (httpx.ProxyError, UpstreamUnreachable, "The proxy to the upstream refused."),
    (httpx.NetworkError, UpstreamUnreachable, "The connection to the upstream broke."),
    (ResponseTooLarge, UpstreamInvalid, "The upstream's answer is too large."),
    (httpx.ProtocolError, UpstreamInvalid, "The upstream broke the HTTP protocol."),
    (httpx.TransportError, UpstreamUnreachable, "The upstream cannot be reached."),
    (httpx.HTTPError, UpstreamInvalid, "The upstream's answer cannot be read."),
)


def translate(error: httpx.HTTPError) -> UpstreamError:
    """A transport's exception as the error that the caller gets."""
    for foreign, ours, message in TRANSPORT_ERRORS:
        if isinstance(error, foreign):
            return ours(message, retryable=False if foreign is ResponseTooLarge else None)
    raise TypeError(f"not an httpx error: {type(error).__name__}")


def broken(error: httpx.HTTPError) -> UpstreamError:
    """An error after the head: a cut answer is an invalid one, whatever cut it."""
    if isinstance(error, httpx.TimeoutException | ResponseTooLarge):
        return translate(error)
    return UpstreamInvalid("The upstream's answer was cut off.")
