"""Retrieval's part of the chain; its packages are loaded where there is any, and only there."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from app.chain.guarded import input_guardrails
from app.config.settings import Settings
from app.core.call import Call, Handler
from app.core.keys import Key
from app.core.usage import Counts
from app.providers.routing.routes import Router as TargetRouter
from app.providers.tokenizers import Tokenizers
from cache.quotas.ledger import BudgetPlan, Ledger
from cache.serving.coalesced import CacheParts
from cache.store.base import Store

if TYPE_CHECKING:
    from app.policy.guardrails import Guardrails
    from app.policy.retrieval import Retrievals
    from middleware.retrieval import Screen


def retrievals_of(
    settings: Settings, targets: TargetRouter, store: Store, kept: dict[str, Any]
) -> Retrievals | None:
    """The retrievals of a configuration; None where no model has one.

    ``kept`` holds what outlives a change of configuration.
    """
    if not any(model.retrieval for model in settings.models.values()):
        return None
    from app.policy.retrieval import make_retrievals  # noqa: PLC0415 - numpy, where it is used
    from app.retrieval.sources.static import Kept  # noqa: PLC0415

    embeddings = kept.setdefault("embeddings", Kept())
    return make_retrievals(settings, targets.provider, store, embeddings)


def with_retrieval(
    cache: Handler,
    retrievals: Retrievals | None,
    guardrails: Guardrails | None,
    parts: CacheParts,
    tokenizers: Tokenizers,
    *,
    ledger: Ledger,
    budgets_of: Callable[[Key, str], BudgetPlan | None],
    recorder: Callable[[Call], None],
) -> Handler:
    """The layers between the limits and the ``cache``: guardrails, with retrieval between two of them."""
    guarded = input_guardrails(cache, guardrails, parts, tokenizers)
    if retrievals is None:
        return guarded
    from app.policy.embedding_account import EmbeddingAccount  # noqa: PLC0415
    from middleware.retrieval import Retrieval  # noqa: PLC0415

    def before(handler: Handler) -> Handler:
        return input_guardrails(handler, guardrails, parts, tokenizers)

    return Retrieval(
        guarded,
        plan_of=retrievals.of,
        before=before,
        read=cache,
        screen=_screen(parts.counters) if guardrails is not None else None,
        account=EmbeddingAccount(ledger, budgets_of, recorder),
        counts=parts.counters,
    )


def _screen(counts: Counts) -> Screen:
    """Reads chunks under the rules that the call's prompt was read under."""
    from app.guardrails.chunks import screened  # noqa: PLC0415 - an extra
    from app.guardrails.rule import Asked  # noqa: PLC0415

    async def screen(call: Call, texts: Sequence[str]) -> Sequence[str | None]:
        guards: Any = call.guards
        if guards is None or guards.input is None:
            return texts
        key, alias = call.key, call.request.model
        asked = Asked(call.request_id, "input", key.tenant, key.id, alias, call.family.name)
        return await screened(guards.input, asked, texts, counts)

    return screen
