"""The routes beside calls of models; Litestar finds them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from time import time
from typing import TYPE_CHECKING, Any, NamedTuple

from litestar import Litestar, Router, asgi
from litestar.exceptions import HTTPException

from app.chain.fronts import Fronts, Layer
from app.chain.guarded import guarded_bodies
from app.config.loading import Loaded
from app.config.settings import Settings
from app.core.asgi import Receive, Scope, Send
from app.core.errors import GatewayError
from app.lean_imports import lean
from app.observability.metrics.snapshot import Snapshot
from app.observability.recorders import Recorders
from app.policy.caching import places
from app.policy.callers import overlaid
from app.policy.limits_and_budgets import Policies, every_budget
from app.providers.routing.routes import Router as TargetRouter
from app.routes.completions import COMPLETIONS
from app.routes.documents.openapi_app import OPENAPI_PATH, openapi_app
from app.routes.errors import answer_crash, answer_gateway_error, answer_http_exception
from app.routes.feedback import feedback_app
from app.routes.health import live_app, ready_app
from app.routes.metrics import MetricsPage, metrics_app
from app.routes.models import PREFIX, models_app
from app.routes.process_metrics import process_metrics_app
from app.routes.tokenizer import INFO_PATH, TOKENIZE_PATH, TokenizerRoutes, tokenizer_apps
from app.routes.usage import usage_app
from app.shared import Shared
from cache.quotas.admission import RequestTokens
from cache.quotas.ledger import BudgetPlan

if TYPE_CHECKING:
    from app.policy.guardrails import Guardrails

App = Callable[[Scope, Receive, Send], Awaitable[None]]


class Endpoints(NamedTuple):
    """What the routes of one configuration are made of."""

    loaded: Loaded
    targets: TargetRouter
    shared: Shared
    policies: Policies
    tokens: RequestTokens
    recorders: Recorders
    fronts: Fronts
    guardrails: Guardrails | None

    def application(self, operators: Callable[[], Sequence[Any]]) -> Litestar:
        """All of them; ``operators`` are the rows of the admin API, for the API's document."""
        settings, recorders = self.loaded.settings, self.recorders
        models = models_app(settings.models, int(time()))
        usage = usage_app(self.shared.store, self.shared.ledger, self.policies)
        return lean(Litestar)(
            route_handlers=[
                self._feedback(),
                *([] if settings.server.management else self._metrics()),
                *self._tokenizers(),
                self._probed(OPENAPI_PATH, openapi_app(self.shared.relay, operators)),
                self._keyed("GET", PREFIX, models, recorders.of_route(PREFIX), below=True),
                self._keyed("GET", "/v1/usage", usage, recorders.of_route("/v1/usage")),
                *self._health(),
            ],
            exception_handlers={
                GatewayError: answer_gateway_error,
                HTTPException: answer_http_exception,
                Exception: answer_crash,
            },
            openapi_config=None,
            logging_config=None,
        )

    def _keyed(
        self,
        method: str,
        path: str,
        app: App,
        recorder: Any,
        capability: str | None = None,
        *,
        below: bool = False,
    ) -> Router:
        return _route(path, app, self.fronts.of_callers(method, capability, recorder), below)

    def _probed(self, path: str, app: App, *also: str) -> Router:
        return _route(path, app, self.fronts.of_probes(path, *also))

    def _feedback(self) -> Router:
        path, parts = "/v1/cache/feedback", self.shared.cache
        app = feedback_app(
            parts.semantic_index,
            parts.counters,
            parts.feedback_ids,
            self.tokens.take,
            _shares_with_all(self.loaded.settings),
        )
        return self._keyed("POST", path, app, self.recorders.of_route(path, self.shared.usage))

    def _health(self) -> list[Router]:
        """Asked by GET and HEAD, as balancers do either."""
        settings, generation = self.loaded.settings, self.loaded.generation
        troubles = None if settings.server.management else self.targets.troubles
        readiness = self.shared.readiness
        ready = ready_app(generation, readiness, settings.store.optional, troubles)
        apps = {"/health": live_app(generation), "/health/live": live_app(generation)}
        return [
            self._probed(path, app, "HEAD")
            for path, app in {**apps, "/health/ready": ready}.items()
        ]

    def _metrics(self) -> list[Router]:
        shared = self.shared

        def snapshot() -> Snapshot:
            return shared.measured.snapshot(self.loaded.generation, len(shared.running))

        together = metrics_app(metrics_page(self.loaded.settings, shared))
        return [
            self._probed("/metrics", process_metrics_app(snapshot)),
            self._probed("/metrics/shared", together),
        ]

    def _tokenizers(self) -> list[Router]:
        settings = self.loaded.settings
        routes = TokenizerRoutes(
            self.targets.tokenizers(settings),
            self.tokens.take,
            int(settings.server.max_body_bytes),
            float(settings.server.body_timeout),
            guarded_bodies(self.guardrails, self.shared.cache.counters),
        )
        info, tokenize = tokenizer_apps(routes)
        of_route, name = self.recorders.of_route, COMPLETIONS.name
        return [
            self._keyed("GET", INFO_PATH, info, of_route(INFO_PATH), name),
            self._keyed("POST", TOKENIZE_PATH, tokenize, of_route(TOKENIZE_PATH), name),
        ]


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


def _shares_with_all(settings: Settings) -> bool:
    return any(m.cache is not None and m.cache.scope == "global" for m in settings.models.values())


def _route(path: str, app: App, layers: list[Layer], below: bool = False) -> Router:
    """One raw ASGI route behind its layers; with ``below``, every path under it too."""
    return Router(
        path="/",
        route_handlers=[asgi(path, is_mount=below, copy_scope=False)(app)],
        middleware=layers,
    )
