"""The names of callers' headers: which may be passed on to an upstream at all."""

from __future__ import annotations

import re
from typing import Any, Self

# They say which request this is, not what is asked: no answer depends on them.
TRACING = ("traceparent", "tracestate", "x-request-id")

_NAME = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]{1,64}").fullmatch
# Credentials, and whatever is named like one.
_CREDENTIAL = re.compile(r".*(?:api-?key|token|secret|auth|cookie|credential|password)").match
# The gateway's own, and those that say how a message was framed or by which way it came.
_OURS = re.compile(
    r"x-(?:headgate-|portkey-|forwarded|real-ip$|envoy-|original-)"
    r"|(?:host|content-.*|transfer-encoding|connection|keep-alive|proxy-.*|upgrade|te|trailer"
    r"|expect|accept|accept-encoding|user-agent|cache-control|pragma|forwarded|via|range|if-.*)$"
).match


class HeaderName(str):
    """The name of a header that may be passed on, in lower case."""

    __slots__ = ()

    expects = "names of headers, such as [traceparent, tracestate, x-request-id]; [] passes none on"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises ValueError saying what would be right."""
        if isinstance(value, bool):
            raise ValueError(
                f"is no longer true or false, but a list: {cls.expects}. "
                "Name the x-* headers that your upstream needs"
            )
        if not isinstance(value, str) or not _NAME(name := value.strip().lower()):
            raise ValueError(f"expected {cls.expects}")
        if _CREDENTIAL(name):
            raise ValueError(
                f"{name!r} is named like a credential, and those are never passed on; "
                "send the provider's own with `api_key` or `headers`"
            )
        if _OURS(name):
            raise ValueError(f"{name!r} is between the caller and the gateway, never passed on")
        return cls(name)
