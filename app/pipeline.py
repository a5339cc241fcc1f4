"""The chain, outside to inside.

    Granian → Transfer(RequestId(AddressCap(CanonicalPath(Metering(Protocol(Auth(Body(Http(
        model_chain)))))))))

Calls of models go from CanonicalPath straight to their layers; every other path goes through
Litestar (``endpoints``), which finds its route, or to the operators' door (``administration``).
Up to ``Http`` the layers are ASGI, because they are about HTTP; from there on they are handlers
(``model_chain``).

docs/architecture.md has the table of who writes and who reads each fact of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING

import structlog
from litestar import Litestar
from litestar.routes import ASGIRoute

from app.administration import management_door
from app.chain.endpoints import Endpoints
from app.chain.fronts import Fronts, behind
from app.chain.model_chain import FAMILIES, model_chain
from app.config.loading import Loaded
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.call import Handler
from app.core.family import Family
from app.observability.metrics.labels import Labels
from app.observability.recorders import Recorders
from app.policy.callers import Callers
from app.policy.limits_and_budgets import Policies
from app.providers.routing.routes import Router as TargetRouter
from app.routes import fim, messages
from app.routes.chat import CHAT
from app.routes.openapi.refusals import REFUSALS
from app.shared import Shared
from cache.quotas.admission import RequestTokens
from middleware.asgi.address_cap import AddressCap
from middleware.asgi.body import Body
from middleware.asgi.canonical_path import CanonicalPath
from middleware.asgi.message_errors import MessageErrors
from middleware.asgi.request_id import RequestId
from middleware.asgi.transfer import Transfer
from middleware.http import Http

if TYPE_CHECKING:
    from app.policy.guardrails import Guardrails
    from app.policy.retrieval import Retrievals


def build(
    loaded: Loaded,
    targets: TargetRouter,
    shared: Shared,
    guardrails: Guardrails | None = None,
    retrievals: Retrievals | None = None,
) -> ASGIApp:
    """The whole gateway for one configuration, as one ASGI application."""
    settings = loaded.settings
    policies = Policies(settings)
    recorders = _recorders(loaded, shared)
    callers = None
    if settings.admin is not None:
        callers = Callers(settings, shared.registry, policies, shared.ledger.clock.now)
    fronts = Fronts(settings, shared, recorders, callers)
    tokens = RequestTokens(shared.limiter, policies.requests)
    chain = model_chain(settings, targets, shared, policies, recorders, guardrails, retrievals)
    calls = _calls(loaded, shared, chain, tokens, fronts, recorders)
    beside = Endpoints(
        loaded, targets, shared, policies, tokens, recorders, fronts, guardrails
    ).application(lambda: operators.routes)

    def known(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return paths(scope, receive, send)

    nowhere = recorders.of_nowhere()
    operators = management_door(
        loaded,
        shared,
        callers,
        lambda app: behind(fronts.of_operators(), app),
        lambda app: behind(fronts.of_probes("/docs", "HEAD"), app),
        nowhere,
        known,
    )
    paths = inner = _canonical(beside, calls, operators)
    most = settings.server.max_connections_per_address
    if most is not None and shared.proxies:
        counts = shared.running_by_address
        inner = AddressCap(
            inner, proxies=shared.proxies, most=most, counts=counts, recorded=nowhere
        )
    return _outermost(inner, loaded, shared)


def _recorders(loaded: Loaded, shared: Shared) -> Recorders:
    settings, audit = loaded.settings, shared.audit
    return Recorders(
        metrics=shared.measured.requests,
        labels=Labels(settings, (code for row in REFUSALS for code in row.codes)),
        now=shared.ledger.clock.now,
        client_of=shared.proxies.client,
        log_prompts=settings.log.prompts,
        audit=audit.under(loaded.generation) if audit is not None else None,
        tracer=shared.tracer,
        activity=shared.activity.activity if settings.admin else None,
    )


def _calls(
    loaded: Loaded,
    shared: Shared,
    chain: Handler,
    tokens: RequestTokens,
    fronts: Fronts,
    recorders: Recorders,
) -> dict[str, ASGIApp]:
    """The applications of the paths at which models are called, in OpenAI's and other forms."""
    server = loaded.settings.server
    door = Http(chain, send_timeout=float(server.send_timeout))

    def endpoint(family: Family, path: str) -> ASGIApp:
        body = Body(
            door,
            family=family,
            take=tokens.take,
            max_bytes=int(server.max_body_bytes),
            timeout=float(server.body_timeout),
        )
        recorder = recorders.of_models(path, shared.usage)
        return behind(fronts.of_callers("POST", family.name, recorder), body)

    counting = fronts.of_callers("POST", CHAT.name, recorders.of_route(messages.COUNT_PATH))
    return {
        **{path: endpoint(family, path) for path, family in FAMILIES.items()},
        fim.PATH: endpoint(fim.FIM, fim.PATH),
        messages.PATH: MessageErrors(endpoint(messages.MESSAGES, messages.PATH)),
        messages.COUNT_PATH: MessageErrors(behind(counting, messages.count_tokens)),
    }


def _canonical(app: Litestar, direct: Mapping[str, ASGIApp], otherwise: ASGIApp) -> ASGIApp:
    """The application under exactly the paths of its routes, and what is ``direct`` under its own."""
    routes = [route for route in app.routes if isinstance(route, ASGIRoute)]
    return CanonicalPath(
        app,
        otherwise=otherwise,
        direct=direct,
        paths=[route.path for route in routes],
        mounts=[route.path for route in routes if route.route_handler.is_mount],
    )


def _outermost(inner: ASGIApp, loaded: Loaded, shared: Shared) -> ASGIApp:
    log = structlog.get_logger("headgate")

    def on_crash(request_id: str, error: BaseException) -> None:
        log.error("crash", request_id=request_id, exc_info=error)

    fixed = [(b"x-headgate-config", loaded.generation.encode())]
    closing = shared.readiness.closing
    return Transfer(
        RequestId(inner, fixed=fixed, closing=closing, on_crash=on_crash),
        running=shared.running,
        pending=shared.pending,
        send_timeout=float(loaded.settings.server.send_timeout),
    )
