"""A finished request as spans of OTLP's JSON: what is said of it, and never what was said in it. Pure.

Names and attributes: OpenTelemetry's semantic conventions for HTTP and for generative AI. Encoding:
OTLP 1.x, "JSON Protobuf Encoding": identifiers in hexadecimal, 64-bit integers as text.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from app.core.exchange import Exchange
from app.observability.metrics.labels import Labels
from app.observability.metrics.requests import OPERATIONS
from app.observability.tracing.trace import Trace, UpstreamSpan

SERVER, CLIENT = 2, 3
ERROR = 2
MOST_TEXTS = 16  # values of a list

# Members of a request and what spans call them; none of them is a text of the caller's but `stop`,
# which is left out for that reason.
_MEMBERS = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "top_k": "gen_ai.request.top_k",
    "seed": "gen_ai.request.seed",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}

Span = dict[str, Any]


class Moment(NamedTuple):
    """One moment on both clocks: unix nanoseconds, and seconds of ``perf_counter``."""

    unix: int
    steady: float

    def nanoseconds(self, steady: float) -> str:
        """Another moment of the steady clock, as OTLP has times."""
        return str(self.unix + round((steady - self.steady) * 1e9))


def spans_of(
    exchange: Exchange,
    trace: Trace,
    route: str,
    facts: Mapping[str, Any],
    labels: Labels,
    now: Moment,
) -> list[Span]:
    """The span of the request, and one for each call of an upstream. ``facts`` are the log line's."""
    status = facts["status"]
    found = [
        _span(
            trace,
            trace.span_id,
            trace.parent.span_id if trace.parent is not None else "",
            f"{exchange.method} {route}",
            SERVER,
            (now.nanoseconds(exchange.started), now.nanoseconds(now.steady)),
            _of_request(exchange, route, facts),
            facts["error"] or str(status) if status >= 500 else None,
        )
    ]
    for place, call in enumerate(trace.calls):
        last = place == len(trace.calls) - 1
        operation = OPERATIONS.get(facts["operation"] or "", "")
        found.append(
            _span(
                trace,
                call.span_id,
                trace.span_id,
                f"{operation} {call.model}",
                CLIENT,
                (now.nanoseconds(call.began), now.nanoseconds(call.ended or now.steady)),
                _of_call(exchange, call, operation, labels, last=last),
                call.error,
            )
        )
    return found


def _span(
    trace: Trace,
    span_id: str,
    parent: str,
    name: str,
    kind: int,
    times: tuple[str, str],
    attributes: Mapping[str, Any],
    error: str | None,
) -> Span:
    said = dict(attributes)
    if error is not None:
        said["error.type"] = error
    span = {
        "traceId": trace.trace_id,
        "spanId": span_id,
        "parentSpanId": parent,
        "flags": int(trace.sampled),
        "name": name,
        "kind": kind,
        "startTimeUnixNano": times[0],
        "endTimeUnixNano": times[1],
        "attributes": attributes_of(said),
    }
    if error is not None:
        span["status"] = {"code": ERROR, "message": error}
    return span


def _of_request(exchange: Exchange, route: str, facts: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "http.request.method": exchange.method,
        "http.route": route,
        "http.response.status_code": facts["status"],
        "url.scheme": "http",
        "client.address": facts["client"],
        "headgate.request_id": facts["request_id"],
        "headgate.tenant": facts["tenant"],
        "headgate.key": facts["key"],
        "headgate.model": facts["alias"],
        "headgate.error": facts["error"],
        "headgate.cache": facts["cache"],
        "headgate.cache.layer": exchange.outcome.cache_layer,
        "headgate.attempts": facts["attempts"],
        "headgate.cost_usd": facts["cost_usd"],
        "headgate.saved_usd": facts["saved_usd"],
        "headgate.guardrails": facts["guardrails"],
        "headgate.overhead_ms": facts["gateway_ms"],
    }


def _of_call(
    exchange: Exchange, call: UpstreamSpan, operation: str, labels: Labels, *, last: bool
) -> dict[str, Any]:
    outcome, request = exchange.outcome, call.request
    who = labels.provider(call.provider)
    said: dict[str, Any] = {
        "gen_ai.operation.name": operation,
        "gen_ai.provider.name": who.name,
        "gen_ai.request.model": call.model,
        "server.address": who.address or None,
        "server.port": int(who.port) if who.port else None,
        "headgate.provider": call.provider,
    }
    for member, name in _MEMBERS.items():
        value = request.get(member)
        if isinstance(value, int | float) and not isinstance(value, bool):
            said[name] = value
    if request.get("stream") is True:
        said["gen_ai.request.stream"] = True
    choices = request.get("n")
    if type(choices) is int and choices != 1:
        said["gen_ai.request.choice.count"] = choices
    if last and call.error is None:
        said["gen_ai.response.model"] = outcome.model
        if outcome.streamed and outcome.first_byte is not None:
            first = exchange.started + outcome.first_byte - call.began
            said["gen_ai.response.time_to_first_chunk"] = max(0.0, first)
        usage = outcome.usage
        if usage is not None:
            said["gen_ai.usage.input_tokens"] = usage.prompt_tokens
            said["gen_ai.usage.output_tokens"] = usage.completion_tokens
            said["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens or None
            said["gen_ai.usage.cache_creation.input_tokens"] = usage.cache_write_tokens or None
    return said


def attributes_of(said: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Attributes as OTLP has them; what is None or empty is left out."""
    return [
        {"key": name, "value": _value(value)}
        for name, value in said.items()
        if value is not None and value != ""
    ]


def _value(value: Any) -> dict[str, Any]:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, list | tuple):
        return {"arrayValue": {"values": [_value(one) for one in value[:MOST_TEXTS]]}}
    return {"stringValue": str(value)}


def export_of(resource: Mapping[str, Any], spans: Iterable[Span]) -> dict[str, Any]:
    """One request to a collector: an ``ExportTraceServiceRequest``."""
    scope = {"name": "headgate", "version": resource["service.version"]}
    return {
        "resourceSpans": [
            {
                "resource": {"attributes": attributes_of(resource)},
                "scopeSpans": [{"scope": scope, "spans": list(spans)}],
            }
        ]
    }
