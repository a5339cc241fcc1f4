"""Which of a caller's headers an upstream sees: those that the provider's settings name."""

from __future__ import annotations

from collections.abc import Collection

from app.core.call import Call
from app.core.errors import HeaderList

_REQUEST_ID = b"x-request-id"
_TRACE_PARENT, _TRACE_STATE = b"traceparent", b"tracestate"


def forwarded_headers(call: Call, names: Collection[bytes]) -> HeaderList:
    """The headers of a call that have one of these names (lower case), as they came.

    The request id is the gateway's own, and so is ``traceparent`` where requests are traced. What the request's `connection` header names stays here
    (RFC 9110, section 7.6.1).
    """
    passed = [pair for pair in call.header_lines if pair[0] in names and pair[0] != _REQUEST_ID]
    connection = call.headers.get(b"connection")
    if connection is not None and passed:
        named = {token.strip().lower() for token in connection.split(b",")}
        passed = [pair for pair in passed if pair[0] not in named]
    trace = call.outcome.trace
    if trace is not None and _TRACE_PARENT in names:
        # A caller's trace that is not valid is not continued, and its state belongs to it.
        left = (_TRACE_PARENT,) if trace.parent is not None else (_TRACE_PARENT, _TRACE_STATE)
        passed = [pair for pair in passed if pair[0] not in left]
        passed.append((_TRACE_PARENT, trace.header()))
    if _REQUEST_ID in names:
        passed.append((_REQUEST_ID, call.request_id.encode()))
    return passed
