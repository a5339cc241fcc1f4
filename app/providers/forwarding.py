"""Which of a caller's headers an upstream sees: tracing and custom ones, never credentials."""

from __future__ import annotations

import re

from app.core.call import Call
from app.core.errors import HeaderList

_TRACE = frozenset({b"traceparent", b"tracestate", b"baggage"})
# The gateway's own, those that describe the way here, and whatever smells of a credential.
_WITHHELD = re.compile(
    rb"x-(?:headgate-|request-id$|portkey-|forwarded|real-ip$|envoy-|original-)"
    rb"|.*(?:api-?key|token|secret|auth|cookie|credential|password)"
)


def forwarded_headers(call: Call) -> HeaderList:
    """The headers to pass on with a call, the request id among them."""
    passed = [
        (name, value)
        for name, value in call.header_lines
        if name in _TRACE or (name.startswith(b"x-") and not _WITHHELD.match(name))
    ]
    connection = call.headers.get(b"connection")
    if connection is not None and passed:
        named = {token.strip().lower() for token in connection.split(b",")}
        passed = [pair for pair in passed if pair[0] not in named]
    passed.append((b"x-request-id", call.request_id.encode()))
    return passed
