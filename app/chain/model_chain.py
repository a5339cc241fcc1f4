"""The inner half of the chain, as a list: what a call of a model passes from the door inwards.

    Portkey(Routing(Bounds(RateLimit(InputGuardrails(Retrieval(InputGuardrails(ResponseCache(
        OutputGuardrails(Budget(Failover))))))))))

Handlers: a ``Call`` goes in, an answer goes to a ``ReplyWriter``, and a refusal is raised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from app.chain.guarded import output_guardrails
from app.chain.retrieving import with_retrieval
from app.config.settings import Settings
from app.core.call import Handler
from app.core.family import Family
from app.observability.recorders import Recorders
from app.policy.caching import CachePlans
from app.policy.encoders import make_encoders
from app.policy.limits_and_budgets import Policies
from app.portkey.config import parse_config
from app.providers.routing.failover import Failover
from app.providers.routing.routes import Router as TargetRouter
from app.providers.routing.routes import cost_bound
from app.providers.routing.selection import Selector
from app.providers.upstream import Upstream
from app.routes.chat import CHAT
from app.routes.completions import COMPLETIONS
from app.routes.embeddings import EMBEDDINGS
from app.shared import Shared
from cache.serving.verifier import Verifier
from middleware.bounds import Bounds
from middleware.budget import Budget
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


def model_chain(
    settings: Settings,
    targets: TargetRouter,
    shared: Shared,
    policies: Policies,
    recorders: Recorders,
    guardrails: Guardrails | None,
    retrievals: Retrievals | None,
) -> Handler:
    """Every layer from ``Portkey`` to the targets, the innermost first."""
    parts = shared.cache
    plans = CachePlans(settings, make_encoders(settings, targets.provider))
    held = int(settings.server.max_held_bytes)
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
    return Portkey(
        routing,
        configs={name: parse_config(document) for name, document in settings.configs.items()},
        providers_of=targets.providers_of,
        addresses_of=targets.addresses_of,
        limits_of=policies.limits,
        paths=PATHS,
    )
