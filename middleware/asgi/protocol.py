"""Is this HTTP as the route speaks it? Before anything else is looked at."""

from __future__ import annotations

from collections.abc import Awaitable

from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import GatewayError, Refused
from app.core.exchange import exchange_of
from app.core.refusal import refuse

MAX_PATH = 128  # characters of a path, and of a method, that an answer repeats
MAX_METHOD = 16

# Members of which two would let two parsers read two requests, or two callers.
_SINGLE = (
    b"host",
    b"content-length",
    b"content-type",
    b"authorization",
    b"x-api-key",
    b"api-key",
    b"x-portkey-api-key",
    b"x-portkey-config",
    b"x-portkey-provider",
    b"x-portkey-virtual-key",
    b"x-portkey-metadata",
    b"transfer-encoding",
)


class Protocol:
    """Refuses other methods, and framing that parsers could read in two ways.

    hyper, below us, already refuses malformed lengths and lines; this is what it lets through.
    ``also`` are further methods that the route answers as it answers ``method``.
    Source: RFC 9112 sections 3.2 and 6.1, RFC 9110 section 15.5.6.
    """

    def __init__(self, app: ASGIApp, *, method: str, also: tuple[str, ...] = ()) -> None:
        self._app = app
        self._methods = (method, *also)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        error = self._refusal(scope)
        if error is None:
            return self._app(scope, receive, send)
        return refuse(exchange_of(scope), send, error)

    def _refusal(self, scope: Scope) -> GatewayError | None:
        if scope["method"] not in self._methods:
            asked = scope["raw_path"][:MAX_PATH].decode("ascii", "replace")
            return Refused(
                f"This path answers {' and '.join(self._methods)} only, not "
                f"{scope['method'][:MAX_METHOD]}; did you mean {self._methods[0]} {asked}?",
                status=405,
                code="method_not_allowed",
                headers=[(b"allow", ", ".join(self._methods).encode())],
            )
        headers = exchange_of(scope).headers
        if len(headers) != len(scope["headers"]):
            names = [name for name, _ in scope["headers"]]
            for name in _SINGLE:
                if names.count(name) > 1:
                    return Refused(f"The header {name.decode()} was sent more than once.")
        if not headers.get(b"host") and scope["http_version"] == "1.1":
            return Refused("The header host is missing.")
        coding = headers.get(b"transfer-encoding")
        if coding is not None and b"content-length" in headers:
            return Refused("Send content-length or transfer-encoding, not both.")
        if coding is not None and coding.strip().lower() != b"chunked":
            return Refused("The only transfer-encoding understood here is chunked.")
        return None
