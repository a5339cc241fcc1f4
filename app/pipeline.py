"""The chain, outside to inside, and the routes beside it.

    Granian → Transfer(RequestId(AddressCap(CanonicalPath(Metering(Protocol(Auth(Body(Http(
        Portkey(Routing(Bounds(RateLimit(InputGuardrails(Retrieval(InputGuardrails(ResponseCache(
            OutputGuardrails(Budget(Failover))))))))))))))))))

Calls of models go from CanonicalPath straight to their layers; every other path goes through
Litestar, which finds its route.
Up to ``Http`` the layers are ASGI, because they are about HTTP; from there on they are handlers: a
``Call`` goes in, an answer goes to a ``ReplyWriter``, and a refusal is raised.

docs/architecture.md has the table of who writes and who reads each fact of a call.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any

import structlog
from litestar import Litestar, Router, asgi
from litestar.exceptions import HTTPException
from litestar.routes import ASGIRoute

from app.administration import management_door
from app.config.loading import Loaded
from app.config.settings import Settings
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.errors import GatewayError
from app.core.family import Family
from app.core.usage import Counts
from app.guarded import guarded_bodies, output_guardrails
from app.lean_imports import lean
from app.observability.metrics.labels import Labels
from app.observability.metrics.snapshot import Snapshot
from app.observability.recorders import Recorders
from app.observability.request_record import Recorder
from app.policy.caching import CachePlans, places
from app.policy.callers import Callers, key_ring, overlaid
from app.policy.encoders import make_encoders
from app.policy.limits_and_budgets import Policies, every_budget
from app.portkey.config import parse_config
from app.providers.routing.failover import Failover
from app.providers.routing.routes import Router as TargetRouter
from app.providers.routing.routes import cost_bound
from app.providers.routing.selection import Selector
from app.providers.upstream import Upstream
from app.retrieving import with_retrieval
from app.routes import fim, messages
from app.routes.chat import CHAT
from app.routes.completions import COMPLETIONS
from app.routes.documents.openapi_app import OPENAPI_PATH, openapi_app
from app.routes.embeddings import EMBEDDINGS
from app.routes.errors import answer_crash, answer_gateway_error, answer_http_exception
from app.routes.feedback import feedback_app
from app.routes.health import live_app, ready_app
from app.routes.metrics import MetricsPage, metrics_app
from app.routes.models import PREFIX, models_app
from app.routes.openapi.refusals import REFUSALS
from app.routes.process_metrics import process_metrics_app
from app.routes.tokenizer import (
    INFO_PATH,
    TOKENIZE_PATH,
    TokenizerRoutes,
    tokenizer_apps,
)
from app.routes.usage import usage_app
from app.shared import Shared
from cache.quotas.admission import RequestTokens
from cache.quotas.ledger import BudgetPlan
from cache.serving.verifier import Verifier
from middleware.asgi.address_cap import AddressCap
from middleware.asgi.audit_gate import AuditGate
from middleware.asgi.auth import Auth
from middleware.asgi.body import Body
from middleware.asgi.canonical_path import CanonicalPath
from middleware.asgi.message_errors import MessageErrors
from middleware.asgi.metering import Metering
from middleware.asgi.protocol import Protocol
from middleware.asgi.request_id import RequestId
from middleware.asgi.transfer import Transfer
from middleware.bounds import Bounds
from middleware.budget import Budget
from middleware.http import Http
from middleware.portkey import Portkey
from middleware.rate_limit import RateLimit
from middleware.response_cache import ResponseCache
from middleware.routing import Routing

if TYPE_CHECKING:
    from app.policy.guardrails import Guardrails
    from app.policy.retrieval import Retrievals

# An endpoint family a path; its name is the capability that a key needs.
FAMILIES: Mapping[str, Family] = {
    "/v1/completions": COMPLETIONS,
    "/v1/chat/completions": CHAT,
    "/v1/embeddings": EMBEDDINGS,
}
PATHS: Mapping[str, str] = {family.name: path for path, family in FAMILIES.items()}

# Which of them an operators' path answers is for that path to say.
OTHER_METHODS = ("POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS", "TRACE")

App = Callable[[Scope, Receive, Send], Awaitable[None]]
Layer = Callable[[Any], Any]


def build(
    loaded: Loaded,
    targets: TargetRouter,
    shared: Shared,
    guardrails: Guardrails | None = None,
    retrievals: Retrievals | None = None,
) -> ASGIApp:
    """The whole gateway for one configuration, as one ASGI application."""
    settings, generation = loaded.settings, loaded.generation
    log = structlog.get_logger("headgate")
    server = settings.server
    policies = Policies(settings)
    now = shared.ledger.clock.now
    audit = shared.audit
    gate = [_layer(AuditGate, is_full=audit.is_full)] if audit and audit.requests.refuses else []
    caller_keys = (
        Callers(settings, shared.registry, policies, now) if settings.admin is not None else None
    )
    keys = caller_keys or key_ring(settings)
    unknown = caller_keys.unknown if caller_keys is not None else None

    recorders = Recorders(
        metrics=shared.measured.requests,
        labels=Labels(settings, (code for row in REFUSALS for code in row.codes)),
        now=now,
        client_of=shared.proxies.client,
        log_prompts=settings.log.prompts,
        audit=audit.under(generation) if audit is not None else None,
        tracer=shared.tracer,
        activity=shared.activity.activity if settings.admin else None,
    )

    def metered(method: str, capability: str | None, recorder: Recorder) -> list[Layer]:
        return [
            _layer(Metering, recorder=recorder, operation=capability),
            *gate,
            _layer(Protocol, method=method),
            _layer(
                Auth,
                keys=keys,
                capability=capability,
                now=now,
                bad_keys=shared.bad_keys,
                unknown=unknown,
            ),
        ]

    parts = shared.cache
    plans = CachePlans(settings, make_encoders(settings, targets.provider))
    held = int(server.max_held_bytes)
    upstream = Failover(
        Upstream(parts.counters),
        router=targets,
        health=shared.health,
        limiter=shared.limiter,
        counts=parts.counters,
        allowance_of=policies.allowance,
    )
    verifier = Verifier(
        upstream=output_guardrails(upstream, guardrails, parts, held),
        by_meaning=parts.by_meaning,
        background=parts.background,
        ledger=shared.ledger,
        bound_of=cost_bound,
        recorder=recorders.of_background(shared.usage),
    )
    budget = Budget(
        upstream,
        ledger=shared.ledger,
        plan_of=policies.budgets,
        bound_of=cost_bound,
        on_outage=settings.store.on_outage.budgets,
    )
    cache = ResponseCache(
        output_guardrails(budget, guardrails, parts, held),
        services=parts,
        plan_of=plans.of_call,
        verifier=verifier,
        recorder=recorders.of_background(shared.usage),
    )
    retrieving = with_retrieval(
        cache,
        retrievals,
        guardrails,
        parts,
        targets.tokenizers(settings),
        ledger=shared.ledger,
        budgets_of=policies.budgets,
        recorder=recorders.of_background(shared.usage),
    )
    limits = RateLimit(retrieving, limiter=shared.limiter, plan_of=policies.limits)
    routing = Routing(
        Bounds(limits, allowance_of=policies.allowance),
        alias_of=targets.find,
        selector=Selector(shared.health, PATHS),
        ledger=shared.ledger,
        plan_of=policies.budgets,
        most_added=retrievals.most_added if retrievals is not None else None,
    )
    portkey = Portkey(
        routing,
        configs={name: parse_config(document) for name, document in settings.configs.items()},
        providers_of=targets.providers_of,
        addresses_of=targets.addresses_of,
        limits_of=policies.limits,
        paths=PATHS,
    )
    tokens = RequestTokens(shared.limiter, policies.requests)

    door = Http(portkey, send_timeout=float(server.send_timeout))

    def endpoint(family: Family, path: str) -> ASGIApp:
        body = Body(
            door,
            family=family,
            take=tokens.take,
            max_bytes=int(server.max_body_bytes),
            timeout=float(server.body_timeout),
        )
        recorder = recorders.of_models(path, shared.usage)
        return _behind(metered("POST", family.name, recorder), body)

    def beside(path: str, *also: str) -> list[Layer]:
        recorder = recorders.of_probes(path)
        return [_layer(Metering, recorder=recorder), _layer(Protocol, method="GET", also=also)]

    def health(path: str, app: App) -> Router:
        return _route(path, app, beside(path, "HEAD"))  # balancers ask either way

    live = live_app(generation)
    litestar = lean(Litestar)(
        route_handlers=[
            _route(
                "/v1/cache/feedback",
                feedback_app(
                    parts.semantic_index,
                    parts.counters,
                    parts.feedback_ids,
                    tokens.take,
                    _shares_with_all(settings),
                ),
                metered("POST", None, recorders.of_route("/v1/cache/feedback", shared.usage)),
            ),
            *([] if server.management else _metrics_routes(loaded, shared, beside)),
            *_tokenizer_routes(
                loaded, targets, tokens, metered, recorders, guardrails, parts.counters
            ),
            _route(
                OPENAPI_PATH,
                openapi_app(shared.relay, lambda: otherwise.routes),
                beside(OPENAPI_PATH),
            ),
            _route(
                PREFIX,
                models_app(settings.models, int(time())),
                metered("GET", None, recorders.of_route(PREFIX)),
                True,
            ),
            _route(
                "/v1/usage",
                usage_app(shared.store, shared.ledger, policies),
                metered("GET", None, recorders.of_route("/v1/usage")),
            ),
            health("/health", live),
            health("/health/live", live),
            health(
                "/health/ready",
                ready_app(
                    generation,
                    shared.readiness,
                    settings.store.optional,
                    None if server.management else targets.troubles,
                ),
            ),
        ],
        exception_handlers={
            GatewayError: answer_gateway_error,
            HTTPException: answer_http_exception,
            Exception: answer_crash,
        },
        openapi_config=None,
        logging_config=None,
    )

    def on_crash(request_id: str, error: BaseException) -> None:
        log.error("crash", request_id=request_id, exc_info=error)

    fixed = [(b"x-headgate-config", generation.encode())]
    direct = {path: endpoint(family, path) for path, family in FAMILIES.items()}
    counting = metered("POST", CHAT.name, recorders.of_route(messages.COUNT_PATH))
    direct |= _other_forms(endpoint, _behind(counting, messages.count_tokens))
    operators = [
        _layer(Metering, recorder=recorders.of_route("admin"), operation="admin"),
        _layer(Protocol, method="GET", also=OTHER_METHODS),
    ]
    nowhere = recorders.of_nowhere()

    def callers(scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        return known(scope, receive, send)

    otherwise = management_door(
        loaded,
        shared,
        caller_keys,
        lambda app: _behind(operators, app),
        lambda app: _behind(beside("/docs", "HEAD"), app),
        nowhere,
        callers,
    )
    known = inner = _canonical(litestar, direct, otherwise)
    most = server.max_connections_per_address
    if most is not None and shared.proxies:
        inner = AddressCap(
            inner,
            proxies=shared.proxies,
            most=most,
            counts=shared.running_by_address,
            recorded=nowhere,
        )
    closing = shared.readiness.closing
    return Transfer(
        RequestId(inner, fixed=fixed, closing=closing, on_crash=on_crash),
        running=shared.running,
        pending=shared.pending,
        send_timeout=float(server.send_timeout),
    )


def _other_forms(
    endpoint: Callable[[Family, str], ASGIApp], counting: ASGIApp
) -> dict[str, ASGIApp]:
    """The families in the forms of other APIs than OpenAI's; ``counting`` answers for tokens."""
    return {
        fim.PATH: endpoint(fim.FIM, fim.PATH),
        messages.PATH: MessageErrors(endpoint(messages.MESSAGES, messages.PATH)),
        messages.COUNT_PATH: MessageErrors(counting),
    }


def metrics_page(settings: Settings, shared: Shared) -> MetricsPage:
    """What /metrics/shared shows, here or on the management listener.

    Money is told on the listener only: on the port that callers use, anybody may read the page.
    """
    return MetricsPage(
        shared.cache.counters,
        shared.cache.semantic_index,
        places(settings),
        shared.health,
        partial(_budgets, settings, shared) if settings.server.management else tuple,
        shared.ledger,
    )


def _budgets(settings: Settings, shared: Shared) -> list[BudgetPlan]:
    """Those of the file, and those of tenants that were made at run time."""
    if settings.admin is not None:
        settings = overlaid(settings, shared.registry.snapshot)
    return every_budget(settings)


def _metrics_routes(
    loaded: Loaded, shared: Shared, beside: Callable[[str], list[Layer]]
) -> list[Router]:
    def snapshot() -> Snapshot:
        return shared.measured.snapshot(loaded.generation, len(shared.running))

    together = metrics_app(metrics_page(loaded.settings, shared))
    return [
        _route("/metrics", process_metrics_app(snapshot), beside("/metrics")),
        _route("/metrics/shared", together, beside("/metrics/shared")),
    ]


def _tokenizer_routes(
    loaded: Loaded,
    targets: TargetRouter,
    tokens: RequestTokens,
    metered: Callable[[str, str | None, Recorder], list[Layer]],
    recorders: Recorders,
    guardrails: Guardrails | None,
    counters: Counts,
) -> list[Router]:
    server = loaded.settings.server
    routes = TokenizerRoutes(
        targets.tokenizers(loaded.settings),
        tokens.take,
        int(server.max_body_bytes),
        float(server.body_timeout),
        guarded_bodies(guardrails, counters),
    )
    info, tokenize = tokenizer_apps(routes)
    return [
        _route(INFO_PATH, info, metered("GET", COMPLETIONS.name, recorders.of_route(INFO_PATH))),
        _route(
            TOKENIZE_PATH,
            tokenize,
            metered("POST", COMPLETIONS.name, recorders.of_route(TOKENIZE_PATH)),
        ),
    ]


def _shares_with_all(settings: Settings) -> bool:
    return any(m.cache is not None and m.cache.scope == "global" for m in settings.models.values())


def _layer(kind: Callable[..., Any], **settings: Any) -> Layer:
    """A layer of ours as Litestar takes it.

    A closure and not a DefineMiddleware: Litestar copies those deeply, the limiter in them too.
    """

    def over(app: Any) -> Any:
        return kind(app, **settings)

    return over


def _behind(layers: list[Layer], app: ASGIApp) -> ASGIApp:
    """An application behind its layers, the first of them outermost."""
    for layer in reversed(layers):
        app = layer(app)
    return app


def _route(path: str, app: App, layers: list[Layer], below: bool = False) -> Router:
    """One raw ASGI route behind its layers; with ``below``, every path under it too."""
    return Router(
        path="/",
        route_handlers=[asgi(path, is_mount=below, copy_scope=False)(app)],
        middleware=layers,
    )


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
