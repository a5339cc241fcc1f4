"""The chain, outside to inside, and who writes and who reads each fact of an exchange.

    Granian → RequestId(Litestar(Metering(Protocol(Auth(Body(route))))))

| fact            | written by            | read by                                 |
|-----------------|-----------------------|-----------------------------------------|
| request_id      | RequestId             | Metering, route (forwarded), errors     |
| headers         | RequestId             | Protocol, Auth, Body, route             |
| started         | RequestId             | Metering                                |
| key             | Auth                  | route, Metering                         |
| body, request   | Body                  | route, Metering (body, if told to log)  |
| reply_headers   | route                 | RequestId, when the answer starts       |
| outcome.status, .first_byte | RequestId | Metering                                |
| outcome.error_code | whoever refuses    | Metering                                |
| outcome.alias   | Body                  | Metering                                |
| outcome.provider, .model, .usage, .attempts, .upstream_time, .text | route | Metering |

Places that are kept for what comes: Guardrails, RateLimit, ResponseCache and Budget stand between
Body and the route, in that order.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from time import time
from typing import Any, cast

import structlog
from litestar import Litestar, Request, Router, asgi
from litestar.exceptions import HTTPException
from litestar.middleware import DefineMiddleware
from litestar.response import Response

from app.config import Loaded
from app.config_checks import expiry, key_digests
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.completions import parse
from app.core.errors import GatewayError, NotFound, Refused
from app.core.exchange import exchange_of
from app.core.keys import Key, KeyRing, allowed_models
from app.providers.routing import Router as TargetRouter
from app.routes.completions import completions_app
from app.routes.health import Readiness, live_app, ready_app
from app.routes.models import PREFIX, models_app
from app.settings import Settings
from middleware.auth import Auth
from middleware.body import Body
from middleware.metering import Metering
from middleware.protocol import Protocol
from middleware.request_id import RequestId

App = Callable[[Scope, Receive, Send], Awaitable[None]]


def build(loaded: Loaded, targets: TargetRouter, readiness: Readiness) -> ASGIApp:
    """The whole gateway for one configuration, as one ASGI application."""
    settings, generation = loaded.settings, loaded.generation
    log = structlog.get_logger("headgate")
    keys = key_ring(settings)
    server = settings.server

    def metered(method: str, capability: str | None) -> list[DefineMiddleware]:
        return [
            _layer(Metering, log=log.info, log_prompts=settings.log.prompts),
            _layer(Protocol, method=method),
            _layer(Auth, keys=keys, capability=capability),
        ]

    completions = [
        *metered("POST", "completions"),
        _layer(
            Body,
            parse=parse,
            max_bytes=int(server.max_body_bytes),
            timeout=float(server.body_timeout),
        ),
    ]
    beside = [_layer(Protocol, method="GET")]
    litestar = Litestar(
        route_handlers=[
            _route("/v1/completions", completions_app(targets), completions),
            _route(PREFIX, models_app(settings.models, int(time())), metered("GET", None), True),
            _route("/health/live", live_app(generation), beside),
            _route("/health/ready", ready_app(generation, readiness), beside),
        ],
        exception_handlers={
            GatewayError: _answer_gateway_error,
            HTTPException: _answer_http_exception,
            Exception: _answer_crash,
        },
        openapi_config=None,
        logging_config=None,
    )

    def on_crash(request_id: str, error: BaseException) -> None:
        log.error("crash", request_id=request_id, exc_info=error)

    fixed = [(b"x-headgate-config", generation.encode())]
    return RequestId(litestar, fixed=fixed, on_crash=on_crash)


def key_ring(settings: Settings) -> KeyRing:
    """The callers of a configuration."""
    return KeyRing(
        Key(
            id=key.id,
            tenant=key.tenant,
            digests=key_digests(key),
            capabilities=frozenset(key.capabilities),
            models=allowed_models(key.models, settings.models),
            expires=expiry(key.expires) if key.expires is not None else None,
        )
        for key in settings.keys
    )


def _layer(kind: type, **settings: Any) -> DefineMiddleware:
    """A layer of ours as Litestar takes it; only the spelling of the ASGI types differs."""
    return DefineMiddleware(cast("Any", kind), **settings)


def _route(path: str, app: App, layers: list[DefineMiddleware], below: bool = False) -> Router:
    """One raw ASGI route behind its layers; with ``below``, every path under it too."""
    return Router(
        path="/",
        route_handlers=[asgi(path, is_mount=below, copy_scope=False)(app)],
        middleware=layers,
    )


def _answer_gateway_error(request: Request[Any, Any, Any], error: GatewayError) -> Response[bytes]:
    exchange_of(request.scope).outcome.error_code = error.code
    return Response(
        error.body(),
        status_code=error.status,
        media_type="application/json",
        headers={name.decode(): value.decode("latin-1") for name, value in error.headers},
    )


def _answer_http_exception(
    request: Request[Any, Any, Any], error: HTTPException
) -> Response[bytes]:
    """What Litestar itself refuses: unknown paths and methods."""
    ours: GatewayError
    if error.status_code == 404:
        ours = NotFound("There is nothing at this path.", retryable=False)
    else:
        ours = Refused(str(error.detail), status=error.status_code)
    return _answer_gateway_error(request, ours)


def _answer_crash(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    exchange = exchange_of(request.scope)
    structlog.get_logger("headgate").error("crash", request_id=exchange.request_id, exc_info=error)
    return _answer_gateway_error(request, GatewayError("The gateway failed; see its log."))
