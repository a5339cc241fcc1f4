"""The error tree, and the one envelope that every error leaves in.

GatewayError
├── InvalidRequest        400  the body, a field or a combination is wrong
├── GuardrailBlocked      400  a rule refuses a text
├── Unauthenticated       401  no key, a wrong key, an expired key
├── Forbidden             403  the key lacks the route's capability
├── NotFound              404  unknown path, or an alias this key may not use
├── Conflict              409  what is there does not allow it: the file's, of that name, in use
├── PreconditionFailed    412  it is not the revision that the operator knows
├── Unprocessable         422  an idempotency key that stands for another request
├── Refused               4xx  transport-level refusals: method, size, media type, slow body
├── NotImplementedHere    501  the target has no such endpoint
├── Unavailable           503  a dependency of the gateway is missing
│   └── GuardrailUnavailable   a rule gave no verdict
└── UpstreamError              what went wrong behind us
    ├── UpstreamRefused   4xx  the upstream's own 4xx, in our envelope
    ├── UpstreamInvalid   502  rubbish, a cut answer, a redirect, a 5xx
    ├── UpstreamAuth      502  our credentials were refused: the operator's problem
    ├── UpstreamNotFound  502  nothing at the path that we ask: the operator's problem too
    ├── UpstreamUnreachable 502
    ├── UpstreamOverloaded  503
    │   └── UpstreamPoolFull  503  our own bound on connections to it
    └── UpstreamTimeout   504
        └── UpstreamNotConnected  504  within the time to connect
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import orjson

HeaderList = list[tuple[bytes, bytes]]

_NO_RETRY: tuple[bytes, bytes] = (b"x-should-retry", b"false")


class Problem(NamedTuple):
    """One thing wrong with a request: the member it concerns and what would be right."""

    param: str | None
    message: str


class GatewayError(Exception):
    """Anything that ends a request with an error answer.

    ``retryable`` is what an SDK should know: ``False`` adds ``x-should-retry: false``. ``answered``
    is the status of the upstream's answer that led to it, and ``wait`` the seconds until a retry as
    that answer told them; both None where there was no such answer.
    """

    status = 500
    type = "server_error"
    code: str | None = "internal_error"
    retryable = True
    answered: int | None = None
    wait: float | None = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        details: Sequence[Problem] = (),
        headers: HeaderList | None = None,
        status: int | None = None,
        type: str | None = None,
        retryable: bool | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.details = details
        self.headers: HeaderList = headers or []
        if code is not None:
            self.code = code
        if status is not None:
            self.status = status
        if type is not None:
            self.type = type
        if retryable is not None:
            self.retryable = retryable
        if not self.retryable:
            self.headers = [*self.headers, _NO_RETRY]

    def envelope(self) -> dict[str, object]:
        """The error as the wire shows it, a superset of OpenAI's envelope."""
        error: dict[str, object] = {
            "message": self.message,
            "type": self.type,
            "code": self.code,
            "param": self.param,
        }
        if self.details:
            error["details"] = [{"param": p.param, "message": p.message} for p in self.details]
        return {"error": error}

    def body(self) -> bytes:
        """The envelope as JSON bytes."""
        return orjson.dumps(self.envelope())


class InvalidRequest(GatewayError):
    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    retryable = False

    @classmethod
    def of(cls, problems: Sequence[Problem], code: str | None = None) -> InvalidRequest:
        """Every problem in one error; ``param`` and ``message`` carry the first."""
        first = problems[0]
        return cls(first.message, code=code, param=first.param, details=problems)


class GuardrailBlocked(GatewayError):
    """A rule refuses a text; says which rule, in which phase and where, and never the text."""

    status = 400
    type = "content_filter"
    code = "guardrail_blocked"
    retryable = False


class Unauthenticated(GatewayError):
    status = 401
    type = "authentication_error"
    code = "invalid_api_key"

    def __init__(self, message: str, *, code: str) -> None:
        super().__init__(message, code=code, headers=[(b"www-authenticate", b"Bearer")])


class Forbidden(GatewayError):
    status = 403
    type = "permission_error"
    code = "capability_required"


class NotFound(GatewayError):
    status = 404
    type = "invalid_request_error"
    code = "not_found"


class Conflict(GatewayError):
    status = 409
    type = "invalid_request_error"
    code = "conflict"
    retryable = False


class PreconditionFailed(GatewayError):
    status = 412
    type = "invalid_request_error"
    code = "precondition_failed"
    retryable = False


class Unprocessable(GatewayError):
    status = 422
    type = "invalid_request_error"
    code = "idempotency_key_reused"
    retryable = False


class Refused(GatewayError):
    """A refusal below the level of fields; give ``status`` and ``code``."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"
    retryable = False


class NotImplementedHere(GatewayError):
    status = 501
    type = "not_implemented"
    code = "not_implemented"
    retryable = False


class Unavailable(GatewayError):
    status = 503
    type = "service_unavailable"
    code = "service_unavailable"


class GuardrailUnavailable(Unavailable):
    code = "guardrail_unavailable"


class RetrievalUnavailable(Unavailable):
    code = "retrieval_unavailable"


class UpstreamError(GatewayError):
    """What went wrong behind us. ``status`` is what the caller is told."""

    status = 502
    type = "upstream_error"
    code = "upstream_invalid_response"


class UpstreamRefused(UpstreamError):
    """The upstream's own 4xx, its text made safe; status, type and code are given."""

    status = 400
    type = "invalid_request_error"
    code = "invalid_request"


class UpstreamInvalid(UpstreamError):
    pass


class UpstreamAuth(UpstreamError):
    code = "upstream_auth_failed"
    retryable = False


class UpstreamNotFound(UpstreamError):
    code = "upstream_not_found"
    retryable = False


class UpstreamUnreachable(UpstreamError):
    code = "upstream_unreachable"


class UpstreamOverloaded(UpstreamError):
    status = 503
    type = "service_unavailable"
    code = "upstream_overloaded"


class UpstreamTimeout(UpstreamError):
    status = 504
    code = "upstream_timeout"


class UpstreamPoolFull(UpstreamOverloaded):
    pass


class UpstreamNotConnected(UpstreamTimeout):
    pass
