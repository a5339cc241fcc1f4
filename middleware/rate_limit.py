"""May this key ask now? Taken in one script before the call, settled to the real use after it."""

from __future__ import annotations

from collections.abc import Callable

from app.admission import refusal_of
from app.core.asgi import ASGIApp, Receive, Scope, Send
from app.core.completions import CompletionRequest
from app.core.exchange import exchange_of
from app.core.keys import Key
from app.core.limits import limit_headers
from app.core.pricing import output_bound
from app.core.prompt_size import prompt_estimate
from app.core.refusal import refuse, store_unavailable
from cache.connection import StoreUnavailable
from cache.limiter import Limiter, LimitPlan


class RateLimit:
    """Asks the limiter for the plan that ``plan_of`` gives a key and an alias."""

    def __init__(
        self, app: ASGIApp, *, limiter: Limiter, plan_of: Callable[[Key, str], LimitPlan | None]
    ) -> None:
        self._app = app
        self._limiter = limiter
        self._plan_of = plan_of

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = exchange_of(scope)
        key, request = exchange.key, exchange.request
        assert key is not None
        # An endpoint without a model takes a request of the key and its tenant, and no tokens.
        plan = self._plan_of(key, request.model if request is not None else "")
        if plan is None:
            await self._app(scope, receive, send)
            return
        try:
            calls = exchange.calls
            tokens = token_bound(request, calls) if request is not None else 0
            admission = await self._limiter.admit(plan, tokens, calls, exchange.taken or ())
        except StoreUnavailable:
            await refuse(exchange, send, store_unavailable("limits"))
            return
        decision = admission.decision
        exchange.store_out = decision.local
        exchange.reply_headers += limit_headers(plan.buckets, decision)
        if not decision.allowed:
            await refuse(exchange, send, refusal_of(decision))
            return
        try:
            await self._app(scope, receive, send)
        finally:
            usage = exchange.outcome.usage
            self._limiter.settle(plan, admission, usage.total_tokens if usage else 0)


def token_bound(request: CompletionRequest, calls: int = 1) -> int:
    """Tokens to reserve: the prompts (exact for ids, estimated for text) and the output bound.

    Where a prompt is sent once for each choice, it counts as often.
    """
    times = max(1, calls // max(1, len(request.prompts)))
    return prompt_estimate(request) * times + output_bound(request)
