"""The guardrails' part of the chain; their packages are loaded where there are rules, and only there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

from app.config.settings import Settings
from app.core.call import Handler
from app.core.keys import Key
from app.core.usage import Counts
from app.policy.encoders import guardrail_encoders
from app.providers.routing.routes import Router as TargetRouter
from app.providers.tokenizers import Tokenizers
from app.routes.tokenizer import Guarded
from cache.serving.coalesced import CacheParts

if TYPE_CHECKING:
    from app.policy.guardrails import Guardrails


def guardrails_of(settings: Settings, targets: TargetRouter) -> Guardrails | None:
    """The rules of a configuration, ready; None where it has none."""
    if not settings.guardrails:
        return None
    from app.policy.guardrails import make_guardrails  # noqa: PLC0415 - an extra

    encoders = guardrail_encoders(settings, targets.provider)
    return make_guardrails(settings.guardrails, encoders.__getitem__)


def guarded_bodies(guardrails: Guardrails | None, counts: Counts) -> Guarded | None:
    """The rules of the input for what goes upstream beside the chain."""
    if guardrails is None:
        return None
    from app.guardrails.bodies import GuardedBodies  # noqa: PLC0415 - an extra
    from app.guardrails.rule import Asked  # noqa: PLC0415

    bodies = GuardedBodies(guardrails.plans, counts)

    async def guarded(
        request_id: str, key: Key, alias: str, document: dict[str, Any]
    ) -> dict[str, Any]:
        asked = Asked(request_id, "input", key.tenant, key.id, alias, "tokenize")
        return dict(await bodies(asked, document))

    return guarded


def input_guardrails(
    inner: Handler, guardrails: Guardrails | None, parts: CacheParts, tokenizers: Tokenizers
) -> Handler:
    """The layer before the cache; ``inner`` itself where there are no rules."""
    if guardrails is None:
        return inner
    from middleware.input_guardrails import InputGuardrails  # noqa: PLC0415 - an extra

    def detokenizer_of(alias: str) -> Callable[[Sequence[int]], Awaitable[str]] | None:
        tokenizer = tokenizers.get(alias)
        return tokenizer.detokenize if tokenizer is not None else None

    return InputGuardrails(
        inner,
        plans=guardrails.plans,
        counts=parts.counters,
        background=parts.background,
        detokenizer_of=detokenizer_of,
    )


def output_guardrails(
    inner: Handler, guardrails: Guardrails | None, parts: CacheParts, held: int
) -> Handler:
    """The layer inside the cache; ``inner`` itself where there are no rules."""
    if guardrails is None:
        return inner
    from middleware.output_guardrails import OutputGuardrails  # noqa: PLC0415 - an extra

    return OutputGuardrails(
        inner, counts=parts.counters, background=parts.background, max_buffer=held
    )
