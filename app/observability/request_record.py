"""One record of each finished request: a log line, and the counters of what was used."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from time import perf_counter, time
from typing import Any, Protocol

from app.core.call import Call
from app.core.exchange import CLIENT_CLOSED_REQUEST, Attempt, Exchange, Retrieved
from app.core.pricing import dollars_text
from app.core.usage import Usage

NO_DETAILS: Mapping[str, int] = {}

MOST_PATH = 256  # bytes of a path that are logged


class RequestLog(Protocol):
    """Takes the facts of one finished request, which are its own from then on."""

    def __call__(self, facts: dict[str, Any], /) -> None: ...


class UsageSink(Protocol):
    """Takes what a known key did; ``now`` is unix seconds. ``charged``: its use is counted already."""

    def add(self, record: dict[str, Any], now: float, *, charged: bool) -> None: ...


class AuditSink(Protocol):
    """Takes the facts of one finished request for the audit log, and copies what it keeps of them.

    ``wants_texts`` says whether it also looks at what was sent and answered.
    """

    wants_texts: bool

    def __call__(self, exchange: Exchange | Call, facts: dict[str, Any], /) -> None: ...


class RequestMetrics(Protocol):
    """Counts a finished request; ``alias`` is None where its key may not use it."""

    def __call__(self, exchange: Exchange | Call, alias: str | None, total: float, /) -> None: ...


class ActivitySink(Protocol):
    """Takes what any request did, for operators who look at it; nobody changes the record."""

    def add(self, record: dict[str, Any], now: float) -> None: ...


class Traces(Protocol):
    """Traces the requests of one route."""

    def begin(self, headers: Mapping[bytes, bytes], /) -> Any: ...

    def end(self, exchange: Exchange, facts: Mapping[str, Any], /) -> None: ...


class Recorder:
    """Writes one structured line a request; prompts and answers only where ``log_prompts``.

    With a ``usage`` log, what a known key did is also counted; ``now`` gives unix seconds for it.
    With an ``audit`` log, every request is recorded there too.
    ``client_of`` says whose request it is, of a peer's address and what it forwards.
    An ``activity`` is told of every request, with or without a key.
    """

    def __init__(
        self,
        *,
        log: RequestLog,
        log_prompts: bool = False,
        usage: UsageSink | None = None,
        audit: AuditSink | None = None,
        activity: ActivitySink | None = None,
        now: Callable[[], float] = time,
        metrics: RequestMetrics | None = None,
        client_of: Callable[[str, bytes | None], str] = lambda peer, _: peer,
        traces: Traces | None = None,
    ) -> None:
        self.traces = traces
        self._log = log
        self._metrics = metrics
        self._client_of = client_of
        self._activity = activity
        self._now = now
        self._usage = usage
        self.audit = audit
        self._logs_prompts = log_prompts
        self.keeps_texts = log_prompts or (audit is not None and audit.wants_texts)

    def __call__(self, exchange: Exchange | Call) -> None:
        """Record an exchange that is over."""
        total = perf_counter() - exchange.started
        facts = record(exchange, total)
        outcome = exchange.outcome
        if self._metrics is not None:
            self._metrics(exchange, facts["alias"], total)
        if self._usage is not None and exchange.key is not None:
            money = {"cost": outcome.billed, "saved": outcome.saved}
            self._usage.add(facts | money, self._now(), charged=outcome.charged is not None)
        if self.audit is not None:
            self.audit(exchange, facts)
        if self._activity is not None:
            # A copy, because the log adds to its own, texts too.
            self._activity.add(facts | {"cache_layer": outcome.cache_layer}, self._now())
        if exchange.outcome.unlogged:
            return
        if isinstance(exchange, Exchange):
            forwarded = exchange.headers.get(b"x-forwarded-for")
            facts["method"] = exchange.method
            # Never the query, in which some send secrets.
            facts["path"] = exchange.path[:MOST_PATH].decode("latin-1")
            facts["client"] = (
                exchange.peer if forwarded is None else self._client_of(exchange.peer, forwarded)
            )
            if self.traces is not None and outcome.trace is not None:
                facts["trace_id"] = outcome.trace.trace_id
                self.traces.end(exchange, facts)
        if self._logs_prompts:
            facts |= _texts(exchange)
        self._log(facts)


def record(exchange: Exchange | Call, total: float) -> dict[str, Any]:
    """The facts of a finished exchange; times in milliseconds, ``total`` in seconds."""
    outcome, key, usage = exchange.outcome, exchange.key, exchange.outcome.usage
    cost = outcome.billed
    return {
        "request_id": exchange.request_id,
        "key": key.id if key else None,
        "tenant": key.tenant if key else None,
        "operation": outcome.operation,
        "alias": outcome.alias_for(key),
        "provider": outcome.provider,
        "model": outcome.model,
        "status": outcome.status or CLIENT_CLOSED_REQUEST,
        "error": outcome.error_code,
        "prompt_tokens": usage.prompt_tokens if usage else None,
        "completion_tokens": usage.completion_tokens if usage else None,
        **(_details(usage) if usage else NO_DETAILS),
        "estimated": usage.estimated if usage else None,
        "cost_usd": dollars_text(cost) if cost is not None else None,
        "saved_usd": dollars_text(outcome.saved) if outcome.saved else None,
        "cache": outcome.cache,
        "guardrails": sorted(outcome.guardrails) or None,
        **(_documents(outcome.retrieval) if outcome.retrieval else NO_DETAILS),
        "attempts": outcome.attempts,
        "route": _route(outcome.trail) if outcome.trail else None,
        "first_byte_ms": _ms(outcome.first_byte) if outcome.first_byte is not None else None,
        "total_ms": _ms(total),
        "gateway_ms": _ms(max(0.0, total - outcome.upstream_time)),
    }


def _details(usage: Usage) -> Mapping[str, int]:
    """The tokens that may have prices of their own; nothing where there are none."""
    cached, written, reasoning = (
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    if not (cached or written or reasoning):
        return NO_DETAILS
    return {
        "cached_tokens": cached,
        "cache_write_tokens": written,
        "reasoning_tokens": reasoning,
    }


def _documents(retrieved: Retrieved) -> Mapping[str, Any]:
    """What was put beside the prompts; not there where the model gets no documents."""
    return {"rag": retrieved.result, "rag_chunks": list(retrieved.chunks)}


def _route(trail: list[Attempt]) -> list[str]:
    """Every attempt with its outcome and time."""
    return [f"{attempt} {_ms(attempt.seconds)}ms" for attempt in trail]


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)


def _texts(exchange: Exchange | Call) -> dict[str, Any]:
    shown = exchange.outcome.shown
    body = exchange.body if shown is None else shown
    return {
        "prompt": body.decode(errors="replace"),
        "completion": "".join(exchange.outcome.text or ()),
    }
