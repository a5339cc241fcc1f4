"""What is raised in a route, or by Litestar itself, as an answer."""

from __future__ import annotations

from typing import Any

import structlog
from litestar import Request
from litestar.exceptions import HTTPException
from litestar.response import Response

from app.core.errors import GatewayError, NotFound, Refused
from app.core.exchange import exchange_of


def answer_gateway_error(request: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    """In our envelope, with its code noted."""
    exchange_of(request.scope).outcome.error_code = error.code
    return Response(
        error.body(),
        status_code=error.status,
        media_type="application/json",
        headers={name.decode(): value.decode("latin-1") for name, value in error.headers},
    )


def answer_http_exception(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """What Litestar itself refuses: unknown paths and methods."""
    ours: GatewayError
    if error.status_code == 404:
        ours = NotFound("There is nothing at this path.", retryable=False)
    else:
        ours = Refused(str(error.detail), status=error.status_code)
    return answer_gateway_error(request, ours)


def answer_crash(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """What nobody expected: logged with the request's id."""
    exchange = exchange_of(request.scope)
    structlog.get_logger("headgate").error("crash", request_id=exchange.request_id, exc_info=error)
    return answer_gateway_error(request, GatewayError("The gateway failed; see its log."))
