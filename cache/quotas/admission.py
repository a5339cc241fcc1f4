"""A request takes its request token before it makes any work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from app.core.errors import GatewayError, HeaderList
from app.core.exchange import Exchange
from app.core.keys import Key
from app.core.limits import Bucket, Decision, limit_headers, retry_headers
from app.core.refusal import SOON, owner_of, store_unavailable
from cache.quotas.limiter import Limiter, LimitPlan
from cache.store.base import StoreUnavailable


class RateLimited(GatewayError):
    status = 429
    type = "rate_limit_error"
    code = "rate_limit_exceeded"


class RequestTokens:
    """Takes a request's token where it cannot be taken together with the rest.

    That is before a large body is read, and where a body was refused: what is asked for is not known
    then. ``plan_of`` gives the limits of requests that stand on a key whatever it asks for.
    """

    def __init__(self, limiter: Limiter, plan_of: Callable[[Key], LimitPlan | None]) -> None:
        self._limiter = limiter
        self._plan_of = plan_of

    async def take(self, exchange: Exchange, key: Key) -> None:
        """Take one, once. Raises RateLimited, or Unavailable while the store is out."""
        plan = self._plan_of(key)
        if exchange.taken is not None or plan is None:
            return
        exchange.taken = plan.keys
        try:
            admission = await self._limiter.admit(plan, 0)
        except StoreUnavailable:
            raise store_unavailable("limits") from None
        decision = admission.decision
        exchange.store_out = decision.local
        if not decision.allowed:
            exchange.reply_headers += limit_headers(plan.buckets, decision)
            raise refusal_of(decision)


class Asked(NamedTuple):
    """What a request asks of the limits: ``operation`` names its endpoint family."""

    tokens: int
    calls: int
    operation: str


# What a caller can do about a request that is larger than its limit, by endpoint family.
_CURES = {
    "completions": "lower `max_tokens`, or send fewer or shorter prompts",
    "chat": "lower `max_completion_tokens`, or send a shorter conversation",
    "embeddings": "send fewer or shorter inputs",
}


def refusal_of(
    decision: Decision, buckets: Sequence[Bucket] = (), asked: Asked | None = None
) -> GatewayError:
    """The error for a request that the limiter refused; ``buckets`` are those it asked."""
    scope, unit = decision.refused_by or ("key", "requests")
    whose = owner_of(scope)
    if decision.wait is None:
        return RateLimited(_too_much(scope, unit, buckets, asked), retryable=False)
    if unit == "concurrent":
        # Nobody knows when a running request ends; a second is soon and not a storm.
        headers: HeaderList = retry_headers(SOON)
        return RateLimited(f"{whose} limit of concurrent requests is reached.", headers=headers)
    seconds = decision.wait / 1e6
    return RateLimited(
        f"{whose} limit of {unit} per minute is reached; try again in {seconds:.3f} s.",
        headers=retry_headers(decision.wait),
    )


def _too_much(scope: str, unit: str, buckets: Sequence[Bucket], asked: Asked | None) -> str:
    """What is said of a request that no waiting will let through."""
    bucket = next((b for b in buckets if (b.scope, b.unit) == (scope, unit)), None)
    if bucket is None or asked is None:
        return (
            f"{owner_of(scope)} limit of {unit} is smaller than what this request may use; "
            "ask for less in one request."
        )
    kind, _, name = scope.partition(":")
    of = {"key": f"the key {name!r}", "tenant": "the tenant"}.get(kind, repr(name))
    if unit == "requests":
        return (
            f"This request makes {asked.calls:,} upstream calls, each of which counts as a request; "
            f"the limit for {of} is {bucket.burst:,}: send fewer prompts or choices at once."
        )
    cure = _CURES.get(asked.operation, "ask for less in one request")
    return (
        f"This request may use {asked.tokens:,} tokens; the limit for {of} is {bucket.burst:,}: "
        f"{cure}."
    )
