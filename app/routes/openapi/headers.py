"""The headers of requests and answers. Tests hold the tables to the code and to docs/api.md."""

from __future__ import annotations

from app.openai.shown import Schema
from app.routes.openapi.rows import Header

_TEXT: Schema = {"type": "string"}
_COUNT: Schema = {"type": "string", "pattern": "^[0-9]+$"}
_SECONDS: Schema = {"type": "string", "pattern": "^[0-9]{1,9}$", "examples": ["600"]}
_NAME: Schema = {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,64}$"}
_SHARE: Schema = {"type": "string", "pattern": r"^(0|1|0?\.[0-9]{1,6}|1\.0)$", "examples": ["0.9"]}
_SPAN: Schema = {"type": "string", "examples": ["17ms", "1s", "6m0s"]}


def _limits(unit: str) -> tuple[Header, ...]:
    return (
        Header(f"x-ratelimit-limit-{unit}", f"The size of the bucket of {unit}.", _COUNT),
        Header(f"x-ratelimit-remaining-{unit}", "What is left in it.", _COUNT),
        Header(f"x-ratelimit-reset-{unit}", "Time until it is full again.", _SPAN),
    )


ANSWER_HEADERS = (
    Header(
        "X-Request-ID",
        "The caller's, if it is 1 to 128 of `A-Za-z0-9._-`, else a new one.",
        {"type": "string", "pattern": "^[A-Za-z0-9._-]{1,128}$"},
        always=True,
    ),
    Header("x-headgate-config", "The configuration that served it.", _TEXT, always=True),
    Header("X-Provider", "The provider that answered.", _TEXT),
    Header("X-Model", "The provider's model that answered.", _TEXT),
    *_limits("requests"),
    *_limits("tokens"),
    Header("Retry-After", "Seconds until a retry can succeed.", _COUNT),
    Header("retry-after-ms", "The same in milliseconds.", _COUNT),
    Header(
        "x-headgate-cache",
        "What the cache did.",
        {
            "type": "string",
            "enum": ["hit", "miss", "bypass", "coalesced", "stale", "partial"],
        },
    ),
    Header(
        "x-headgate-cache-layer",
        "Which cache answered.",
        {"type": "string", "enum": ["exact", "semantic"]},
    ),
    Header("x-headgate-cache-tier", "How an answer by meaning was found.", _TEXT),
    Header("x-headgate-cache-similarity", "How near its prompt is: 0 to 1.", _TEXT),
    Header("x-headgate-cache-id", "What to name in `POST /v1/cache/feedback`.", _TEXT),
    Header("Age", "Seconds since the cached answer was stored.", _COUNT),
    Header("x-headgate-cost-usd", "What was charged. Not on streams, except on a hit.", _TEXT),
    Header("x-headgate-guardrails", "What guardrails did: `pii.email=redact`.", _TEXT),
    Header(
        "x-headgate-rag", "What retrieval did: `used; n=3`, `empty; n=0`, `failed; n=0`.", _TEXT
    ),
    Header("x-headgate-rag-sources", "The ids of the chunks that were used.", _TEXT),
    Header("x-headgate-attempts", "Upstream calls made.", _COUNT),
    Header("x-headgate-route", "Who was asked, where one failed: `openai=500,azure=200`.", _TEXT),
    Header("x-should-retry", "`false`: an SDK's retry cannot help.", _TEXT),
)

REQUEST_HEADERS = (
    Header("Cache-Control", "`no-cache`, `no-store`, `max-age=N`, `only-if-cached`.", _TEXT),
    Header("x-headgate-cache-ttl", "For how many seconds the answer is kept.", _SECONDS),
    Header("x-headgate-cache-namespace", "Under which name the answer is kept.", _NAME),
    Header("x-headgate-cache-threshold", "The least similarity that will do: 0 to 1.", _SHARE),
    Header("x-headgate-guardrails", "Names of guardrails with `on_request` to add.", _TEXT),
    Header("x-headgate-fallback", "`none`: ask the first target only.", _TEXT),
)
