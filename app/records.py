"""One record of each finished request: a log line, and the counters of what was used."""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter, time
from typing import Any, Protocol

from app.core.exchange import CLIENT_CLOSED_REQUEST, Exchange
from app.core.pricing import dollars_text
from cache.ledger import Hold, Ledger
from cache.usage import UsageLog, settlement


class RequestLog(Protocol):
    """Takes the facts of one finished request."""

    def __call__(self, event: str, **facts: Any) -> Any: ...


class Recorder:
    """Writes one structured line a request; prompts and answers only where ``log_prompts``.

    With a ``usage`` log, what a known key did is also counted; ``now`` gives unix seconds for it.
    """

    def __init__(
        self,
        *,
        log: RequestLog,
        log_prompts: bool = False,
        usage: UsageLog | None = None,
        now: Callable[[], float] = time,
    ) -> None:
        self._log = log
        self._now = now
        self._usage = usage
        self.log_prompts = log_prompts

    def __call__(self, exchange: Exchange) -> None:
        """Record an exchange that is over."""
        facts = record(exchange, perf_counter() - exchange.started)
        outcome = exchange.outcome
        if self._usage is not None and exchange.key is not None:
            money = {"cost": cost_of(exchange), "saved": outcome.saved}
            self._usage.add(facts | money, self._now(), charged=outcome.charged is not None)
        if exchange.unlogged:
            return
        if self.log_prompts:
            facts |= _texts(exchange)
        self._log("request", **facts)


def charge(ledger: Ledger, hold: Hold, exchange: Exchange) -> None:
    """Settle a hold to what the call of an exchange cost, and count its use in the same step."""
    outcome, key = exchange.outcome, exchange.key
    assert key is not None
    cost = outcome.cost or 0
    prompt, completion, _ = outcome.usage or (0, 0, False)
    alias = _alias(exchange) or ""
    used = settlement(ledger.clock.now(), key.id, alias, cost, prompt, completion)
    ledger.settle(hold, cost, used)
    outcome.charged = cost


def cost_of(exchange: Exchange) -> int | None:
    """Nano-dollars: what was charged, though a stale answer was given in the end, or the cost."""
    outcome = exchange.outcome
    return outcome.cost if outcome.charged is None else outcome.charged


def record(exchange: Exchange, total: float) -> dict[str, Any]:
    """The facts of a finished exchange; times in milliseconds, ``total`` in seconds."""
    outcome, key, usage = exchange.outcome, exchange.key, exchange.outcome.usage
    cost = cost_of(exchange)
    return {
        "request_id": exchange.request_id,
        "key": key.id if key else None,
        "tenant": key.tenant if key else None,
        "alias": _alias(exchange),
        "provider": outcome.provider,
        "model": outcome.model,
        "status": outcome.status or CLIENT_CLOSED_REQUEST,
        "error": outcome.error_code,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        "estimated": usage.estimated if usage else None,
        "cost_usd": dollars_text(cost) if cost is not None else None,
        "saved_usd": dollars_text(outcome.saved) if outcome.saved else None,
        "cache": outcome.cache,
        "attempts": outcome.attempts,
        "first_byte_ms": _ms(outcome.first_byte) if outcome.first_byte is not None else None,
        "total_ms": _ms(total),
        "gateway_ms": _ms(max(0.0, total - outcome.upstream_time)),
    }


def _alias(exchange: Exchange) -> str | None:
    """An alias that the key may not use is the caller's own text: not for a log."""
    key, alias = exchange.key, exchange.outcome.alias
    return alias if key and alias in key.models else None


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _texts(exchange: Exchange) -> dict[str, Any]:
    return {
        "prompt": exchange.body.decode(errors="replace"),
        "completion": "".join(exchange.outcome.text or ()),
    }
