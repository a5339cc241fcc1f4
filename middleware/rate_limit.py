"""May this key ask now? Taken in one script before the call, settled to the real use after it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from app.core.call import Call
from app.core.errors import GatewayError, HeaderList
from app.core.keys import Key
from app.core.limits import Decision, limit_headers, retry_headers
from app.core.refusal import SOON, owner_of, store_unavailable
from app.core.reply import Handler, ReplyWriter
from cache.connection import StoreUnavailable
from cache.limiter import Limiter, LimitPlan


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class RateLimit:
    """Asks the limiter for the plan that ``plan_of`` gives a key and an alias.

    ``tokens_of`` is the most tokens that a request of so many upstream calls may use.
    """

    def __init__(
        self,
        inner: Handler,
        *,
        limiter: Limiter,
        plan_of: Callable[[Key, str], LimitPlan | None],
        tokens_of: Callable[[Any, int], int],
    ) -> None:
        self._inner = inner
        self._limiter = limiter
        self._plan_of = plan_of
        self._tokens_of = tokens_of

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        plan = self._plan_of(call.key, call.request.model)
        if plan is None:
            await self._inner(call, reply)
            return
        try:
            tokens = self._tokens_of(call.request, call.calls)
            admission = await self._limiter.admit(plan, tokens, call.calls)
        except StoreUnavailable:
            raise store_unavailable("limits") from None
        decision = admission.decision
        call.store_out = decision.local
        call.reply_headers += limit_headers(plan.buckets, decision)
        if not decision.allowed:
            raise _refusal(decision)
        try:
            await self._inner(call, reply)
        finally:
            usage = call.outcome.usage
            self._limiter.settle(plan, admission, usage.total_tokens if usage else 0)


def _refusal(decision: Decision) -> GatewayError:
    scope, unit = decision.refused_by or ("key", "requests")
    whose = owner_of(scope)
    if decision.wait is None:
        return RateLimited(
            f"{whose} limit of {unit} is smaller than what this request may use; "
            "ask for less in one request.",
            retryable=False,
        )
    if unit == "concurrent":
        # Nobody knows when a running request ends; a second is soon and not a storm.
        headers: HeaderList = retry_headers(SOON)
        return RateLimited(f"{whose} limit of concurrent requests is reached.", headers=headers)
    seconds = decision.wait / 1e6
    return RateLimited(
        f"{whose} limit of {unit} per minute is reached; try again in {seconds:.3f} s.",
        headers=retry_headers(decision.wait),
    )
