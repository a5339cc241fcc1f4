"""The errors of the HTTP/1.1 transport that httpx has no name for.

Each is a subclass of the httpx error that an ordinary httpx transport would raise in its place, so
a caller that knows only httpx's tree still classifies it rightly.
"""

from __future__ import annotations

import httpx


class FirstByteTimeout(httpx.ReadTimeout):
    """No complete response head came within `first_byte` seconds of the request being sent."""


class IdleTimeout(httpx.ReadTimeout):
    """The reader waited `idle` seconds and no byte of the body came."""


class TotalTimeout(httpx.ReadTimeout):
    """The exchange, body included, was not over after `total` seconds.

    Raised only once the request is on its way: before that, the same clock running out is a
    `PoolTimeout` or a `ConnectTimeout`, so that a caller knows that nothing was sent.
    """


class ResponseTooLarge(httpx.RemoteProtocolError):
    """The body is, or says that it is, longer than `max_body_bytes`."""


class AddressRefused(httpx.ConnectError):
    """Every address of the host is one that this transport must not connect to."""


class CertificateError(httpx.ConnectError):
    """The peer's TLS certificate is not trusted, or is not for this host."""
