"""May this key ask now? Taken in one script before the call, settled to the real use after it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from app.core.call import Call, Handler
from app.core.keys import Key
from app.core.limits import limit_headers
from app.core.refusal import store_unavailable
from app.core.reply import ReplyWriter
from app.core.usage import Usage
from cache.quotas.admission import Asked, refusal_of
from cache.quotas.limiter import Limiter, LimitPlan
from cache.store.base import StoreUnavailable


class RateLimit:
    """Asks the limiter for the plan that ``plan_of`` gives a key and an alias."""

    def __init__(
        self,
        inner: Handler,
        *,
        limiter: Limiter,
        plan_of: Callable[[Key, str], LimitPlan | None],
    ) -> None:
        self._inner = inner
        self._limiter = limiter
        self._plan_of = plan_of

    def __call__(self, call: Call, reply: ReplyWriter) -> Awaitable[None]:
        plan = self._plan_of(call.key, call.request.model)
        if plan is None:
            return self._inner(call, reply)
        return self._limited(call, reply, plan)

    async def _limited(self, call: Call, reply: ReplyWriter, plan: LimitPlan) -> None:
        try:
            fan_out = call.fan_out
            likely = call.family.likely(call.request)
            if call.to_add:
                likely = likely.plus(Usage(call.to_add, 0))
            tokens = fan_out.over(likely).total_tokens
            admission = await self._limiter.admit(plan, tokens, fan_out.calls, call.taken)
        except StoreUnavailable:
            raise store_unavailable("limits") from None
        decision = admission.decision
        call.store_out = decision.local
        call.reply_headers += limit_headers(plan.buckets, decision)
        if not decision.allowed:
            asked = Asked(tokens, fan_out.calls, call.family.name)
            raise refusal_of(decision, plan.buckets, asked)
        try:
            await self._inner(call, reply)
        finally:
            usage = call.outcome.usage
            self._limiter.settle(plan, admission, usage.total_tokens if usage else 0)
