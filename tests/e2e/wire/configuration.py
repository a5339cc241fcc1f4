"""One gateway for nearly every test of the wire; what differs is the model that is asked."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from tests.harness.configuration import key, openai, target
from tests.harness.credentials import KEYS, OPERATOR_SECRET
from tests.harness.upstream import Upstream


def configuration(
    upstream: Upstream, tls_upstream: Upstream, certificate: Path, closed_port: int
) -> dict[str, Any]:
    base, tls = upstream.base_url, tls_upstream.base_url
    everything = ["completions", "chat", "embeddings"]
    unsupported = ["n", "logprobs", "seed", "logit_bias", "frequency_penalty", "user"]
    return {
        # The tests send more bad keys in a minute than a caller may unnoticed.
        "server": {"bad_keys_per_minute": 100_000},
        "log": {"format": "json"},
        "providers": {
            "main": openai(
                base,
                headers={"x-operator": OPERATOR_SECRET},
                forward_headers=[
                    *("traceparent", "tracestate", "x-request-id", "x-tenant", "x-b3-traceid"),
                    *("accept-language", "x-hop", "x-stays", "x-operator"),
                ],
            ),
            "quick": openai(
                base,
                timeouts={"connect": "1s", "first_byte": "250ms", "idle": "250ms", "total": "20s"},
            ),
            "brief": openai(
                base,
                timeouts={"connect": "1s", "first_byte": "5s", "idle": "5s", "total": "400ms"},
            ),
            "chat-only": openai(base, endpoints=["chat"]),
            "poor-chat": openai(
                base,
                endpoints=["chat"],
                unsupported=unsupported,
                max_tokens_field="max_completion_tokens",
            ),
            "small": openai(base, max_response_bytes="4KiB"),
            "small-events": openai(base, max_event_bytes="2KiB"),
            "misplaced": openai(f"{base}/elsewhere"),
            "quiet": openai(base, forward_headers=[]),
            "unasked": openai(base, stream_usage=False),
            "narrow": openai(
                base,
                max_connections=1,
                timeouts={"connect": "250ms", "first_byte": "8s", "idle": "8s", "total": "20s"},
            ),
            "nobody": openai(f"http://127.0.0.1:{closed_port}/v1"),
            "trusted": openai(tls, ca_file=str(certificate)),
            "untrusted": openai(tls),
            "proxied": openai("http://far-away.invalid/v1", proxy=f"http://{upstream.address}"),
            "sim": {"kind": "simulator"},
            "slow-sim": {"kind": "simulator", "latency": "20s"},
            "failing-sim": {"kind": "simulator", "failure_rate": 1},
        },
        "models": {
            "native": target("main", "native"),
            "renamed": target("main", "org/upstream-name"),
            "team-red": target("main", "team-red"),
            "org/slashed": target("main", "slashed"),
            "a model: 7é, 50%": target("main", "odd"),
            "off": target("main", "native", completions="off"),
            "no-endpoint": target("chat-only", "chatty"),
            "chat": target("main", "chatty", completions="chat"),
            "chat-narrow": target("main", "chatty", completions="chat", fan_out=2, max_calls=300),
            "poor-chat": target("poor-chat", "poor", completions="chat"),
            "quick": target("quick", "quick"),
            "quick-chat": target("quick", "quick", completions="chat"),
            "brief": target("brief", "brief"),
            "small": target("small", "small"),
            "small-events": target("small-events", "small-events"),
            "misplaced": target("misplaced", "misplaced"),
            "misplaced-chat": target("misplaced", "misplaced", completions="chat"),
            "quiet": target("quiet", "quiet"),
            "unasked": target("unasked", "unasked"),
            "narrow": target("narrow", "narrow"),
            "nobody": target("nobody", "nobody"),
            "trusted": target("trusted", "trusted"),
            "untrusted": target("untrusted", "untrusted"),
            "proxied": target("proxied", "proxied"),
            "sim": target("sim", "simulator-1"),
            "sim-plain-name": target("sim", "pretender"),
            "sim-chat": target("sim", "simulator-1", completions="chat"),
            "slow-sim": target("slow-sim", "simulator-slow"),
            "failing-sim": target("failing-sim", "simulator-failing"),
        },
        "tenants": {"acme": {}, "other": {}},
        "keys": [
            key("all", capabilities=everything),
            key("expired", expires="2020-01-01"),
            key("later", expires="2999-01-01T00:00:00Z"),
            key("embedder", capabilities=["embeddings"]),
            key("team", tenant="other", models=["team-*", "org/*"]),
            {
                "id": "rotated",
                "tenant": "acme",
                "secret": [KEYS["new-secret"], KEYS["old-secret"]],
            },
            {
                "id": "hashed",
                "tenant": "acme",
                "secret_sha256": hashlib.sha256(KEYS["hashed"].encode()).hexdigest(),
            },
        ],
    }


def strict(upstream: Upstream) -> dict[str, Any]:
    """A second gateway: small bodies, no patience with slow ones, and prompts in its log."""
    return {
        "server": {"max_body_bytes": "2KiB", "body_timeout": "400ms"},
        "log": {"format": "json", "prompts": True},
        "providers": {"main": openai(upstream.base_url)},
        "models": {"native": target("main", "native")},
        "tenants": {"acme": {}},
        "keys": [key("all")],
    }
