"""Every metric that a replica gives of itself: name, kind, help, and how workers are added up. Pure.

The ``gen_ai_*`` names, labels and buckets are those of the OpenTelemetry semantic conventions for
generative AI (repository semantic-conventions-genai, status "Development"), written as Prometheus
names: dots become underscores, and the unit is appended.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple


class Family(NamedTuple):
    """One metric. ``bounds`` are the buckets of a histogram; ``merged`` says what a replica gives of
    its workers' gauges: their sum, or the largest."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    bounds: tuple[float, ...] = ()
    merged: Literal["sum", "max"] = "sum"


SECONDS = tuple(round(0.01 * 2**step, 2) for step in range(14))  # 0.01 to 81.92
TOKENS = tuple(float(4**step) for step in range(14))  # 1 to 67,108,864
FIRST_TOKEN = (
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
)  # fmt: skip
PER_TOKEN = (0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5)
OVERHEAD = (
    0.00005, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0,
)  # fmt: skip
TRIP = (0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0)
LAG = (0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)

REQUEST_DURATION = Family(
    "gen_ai_server_request_duration_seconds",
    "histogram",
    "A caller's request of a model, from its head to the end of the answer.",
    SECONDS,
)
FIRST = Family(
    "gen_ai_server_time_to_first_token_seconds",
    "histogram",
    "From a caller's head to the first bytes of a streamed answer that an upstream gave.",
    FIRST_TOKEN,
)
EACH = Family(
    "gen_ai_server_time_per_output_token_seconds",
    "histogram",
    "Between two tokens of a streamed answer that an upstream gave, on average over each answer.",
    PER_TOKEN,
)
OPERATION_DURATION = Family(
    "gen_ai_client_operation_duration_seconds",
    "histogram",
    "Time that a request waited for upstreams, all attempts together.",
    SECONDS,
)
TOKEN_USAGE = Family(
    "gen_ai_client_token_usage",
    "histogram",
    "Tokens of a request that was sent upstream, as they are billed.",
    TOKENS,
)
REQUESTS = Family(
    "headgate_requests_total",
    "counter",
    "Requests by route, alias, status and error code.",
)
IN_FLIGHT = Family("headgate_requests_in_flight", "gauge", "Requests that run now.")
OVERHEAD_SECONDS = Family(
    "headgate_overhead_seconds",
    "histogram",
    "Time of a request that was not spent waiting for upstreams.",
    OVERHEAD,
)
COST = Family(
    "headgate_cost_usd_total", "counter", "What answers cost, in US dollars, by alias and key."
)
SAVED = Family(
    "headgate_saved_usd_total", "counter", "What answers from the cache would have cost."
)
TOKENS_TOTAL = Family(
    "headgate_tokens_total",
    "counter",
    "Tokens of answers by type; estimated where the upstream gave no count.",
)
CACHE = Family("headgate_cache_total", "counter", "What the cache did for a request, by layer.")
REFUSALS = Family(
    "headgate_limit_refusals_total", "counter", "Requests refused by limits and budgets."
)
UPSTREAM_REQUESTS = Family(
    "headgate_upstream_requests_total",
    "counter",
    "Calls of a target by result: ok, or the kind of failure.",
)
UPSTREAM_STATE = Family(
    "headgate_upstream_state",
    "gauge",
    "1 for the state that a target's breaker is in.",
    merged="max",
)
STORE_SECONDS = Family(
    "headgate_store_seconds",
    "histogram",
    "A trip to the store; one is timed at any moment.",
    TRIP,
)
STORE_BREAKER = Family(
    "headgate_store_breaker",
    "gauge",
    "1 while the store is out and not asked.",
    merged="max",
)
STORE_OPENINGS = Family(
    "headgate_store_breaker_openings_total", "counter", "Times that the store was found out."
)
LOOP_LAG = Family(
    "headgate_loop_lag_seconds",
    "histogram",
    "How late the event loop ran what was due, asked five times a second.",
    LAG,
)
LOG_DROPPED = Family(
    "headgate_log_dropped_total", "counter", "Log lines dropped, because writing them was too slow."
)
SPANS = Family(
    "headgate_spans_total", "counter", "Spans by what became of them: exported, dropped or failed."
)
CONFIG = Family("headgate_config_info", "gauge", "1 for the configuration at work.", merged="max")
FOLDED = Family(
    "headgate_metric_folded_total",
    "counter",
    "Requests, and keys when they are first seen, that are counted under `other`: too many labels.",
)
WORKERS_READY = Family(
    "headgate_replica_workers_ready", "gauge", "Workers of this replica that take requests."
)
WORKER_RESTARTS = Family(
    "headgate_replica_worker_restarts_total",
    "counter",
    "Workers of this replica started anew.",
)

FAMILIES: Mapping[str, Family] = {
    family.name: family
    for family in (
        REQUEST_DURATION,
        FIRST,
        EACH,
        OPERATION_DURATION,
        TOKEN_USAGE,
        REQUESTS,
        IN_FLIGHT,
        OVERHEAD_SECONDS,
        COST,
        SAVED,
        TOKENS_TOTAL,
        CACHE,
        REFUSALS,
        UPSTREAM_REQUESTS,
        UPSTREAM_STATE,
        STORE_SECONDS,
        STORE_BREAKER,
        STORE_OPENINGS,
        LOOP_LAG,
        LOG_DROPPED,
        SPANS,
        CONFIG,
        FOLDED,
        WORKERS_READY,
        WORKER_RESTARTS,
    )
}
