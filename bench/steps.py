"""What is measured, as a list of values: a later feature is one more entry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from bench.requests import KEY, KEYS, MODEL, PATHS, PROMPT, Operation, plain_body

Target = Literal["direct", "nginx", "asgi", "headgate"]


@dataclass(frozen=True, slots=True)
class PlainLoad:
    """POSTs of one body; every answer must have `status`.

    `prompt` may hold `{n}`, which becomes a number used once: a load of cache misses. `first` is
    asked once before the load, so that a cache has its answer.
    """

    status: int = 200
    key: str = KEY
    prompt: str = PROMPT
    first: str | None = None
    prompts: int = 1
    operation: Operation = "completions"

    @property
    def path(self) -> str:
        return PATHS[self.operation]

    @property
    def body(self) -> bytes:
        return plain_body(self.prompt, self.prompts, self.operation)

    @property
    def first_body(self) -> bytes:
        return plain_body(self.first or self.prompt, self.prompts, self.operation)


@dataclass(frozen=True, slots=True)
class StreamLoad:
    """Streams of two lengths in chunks, their chunks `delay_ms` apart.

    Two lengths, so that the cost of a chunk (the slope) can be told from that of a stream. The
    delay keeps the thing under test below saturation: there chunks arrive glued together, and a
    cost per chunk would flatter.
    """

    few: int = 10
    many: int = 50
    delay_ms: int = 10
    operation: Operation = "completions"

    @property
    def path(self) -> str:
        return PATHS[self.operation]


@dataclass(frozen=True, slots=True)
class Step:
    """One row: what answers (`target`), how it is configured (`overlay`), what it is asked."""

    name: str
    about: str
    target: Target
    load: PlainLoad | StreamLoad = PlainLoad()
    overlay: Mapping[str, Any] = field(default_factory=dict)
    redis: bool = False


_BATCH = PlainLoad(prompts=32)
_CHAT = PlainLoad(operation="chat")
_EMBEDDINGS = PlainLoad(operation="embeddings")
_LARGE = PlainLoad(
    prompt="".join(f"{number} " for number in range(18_300))[:100_000]
)  # wrk's argument
_IDLE_KEYS = [
    {
        "id": f"idle-{number}",
        "tenant": "bench",
        "secret": f"hg-bench-idle-{number:032d}",
        "capabilities": ["completions"],
        "models": ["*"],
    }
    for number in range(1_000)
]

DIRECT = Step("direct", "the load straight to the mock upstream, for the added latency", "direct")
FLOOR = Step("nginx-proxy", "nginx as reverse proxy, one worker: the floor", "nginx")
STREAM_DIRECT = Step("direct-stream", "streams straight from the mock", "direct", StreamLoad())
STREAM_FLOOR = Step("nginx-stream", "nginx relaying streams: their floor", "nginx", StreamLoad())
BATCH_FLOOR = Step("nginx-batch", "nginx with 32 prompts and their answers", "nginx", _BATCH)
EMBEDDINGS_FLOOR = Step(
    "nginx-embeddings", "nginx with a vector of 1,536 numbers", "nginx", _EMBEDDINGS
)
LARGE_FLOOR = Step("nginx-large", "nginx with a prompt of 100 kB", "nginx", _LARGE)

_SIMULATOR = {
    "providers": {"trial": {"kind": "simulator"}},
    "models": {MODEL: {"targets": [{"provider": "trial", "model": "simulator-1"}]}},
}

# Limits and budgets so wide that nothing is refused: what is measured is the asking.
_WIDE = {
    "requests_per_minute": 100_000_000,
    "tokens_per_minute": 1_000_000_000,
    "concurrent": 100_000,
}
_LIMITS = {"limits": {"wide": _WIDE}, "tenants": {"bench": {"limits": "wide"}}}
_COSTS: Mapping[str, Any] = {"price": {"input_per_million": 0.001, "output_per_million": 0.002}}
_BUDGET = {
    "budgets": {"wide": {"usd": 1_000_000, "per": "month"}},
    "tenants": {"bench": {"budget": "wide"}},
    "models": {MODEL: _COSTS},
}

_KEEPS: Mapping[str, Any] = {"cache": {"exact": {"ttl": "1h"}}}
_CACHE = {"models": {MODEL: _KEEPS}}
_NO_SHELF = {"cache": {"shelf_size": 0}}
_EVERYTHING = {
    "limits": {"wide": _WIDE},
    "budgets": _BUDGET["budgets"],
    "tenants": {"bench": {"limits": "wide", "budget": "wide"}},
    "models": {MODEL: {**_COSTS, **_KEEPS}},
}
_SERVES = {"enabled": True, "verify": {"tier1": 0, "tier2": 0, "control": 0}}
KEPT = "What is the capital of France?"
ASKED_OTHERWISE = "Please tell me what the capital of France is."
_NEW_EACH_TIME = PlainLoad(prompt="Once upon a time, {n} of them")

STEPS: tuple[Step, ...] = (
    DIRECT,
    FLOOR,
    Step("granian-bare", "Granian and a bare ASGI app: the server's own share", "asgi"),
    Step("headgate-proxy", "auth, validation, logs, metering and the upstream call", "headgate"),
    Step(
        "headgate-simulator",
        "the same, answered by the built-in simulator: no upstream",
        "headgate",
        overlay=_SIMULATOR,
    ),
    Step("headgate-redis", "the proxy with its usage in Redis", "headgate", redis=True),
    Step(
        "headgate-limits",
        "and limits: requests, tokens and concurrency of a tenant",
        "headgate",
        overlay=_LIMITS,
        redis=True,
    ),
    Step(
        "headgate-budget",
        "and a budget (no limits)",
        "headgate",
        overlay=_BUDGET,
        redis=True,
    ),
    Step(
        "headgate-limits-budget",
        "limits and a budget",
        "headgate",
        overlay=_LIMITS | _BUDGET | {"tenants": {"bench": {"limits": "wide", "budget": "wide"}}},
        redis=True,
    ),
    Step(
        "headgate-cache-miss",
        "and a cache that never knows the answer (no limits, no budget)",
        "headgate",
        _NEW_EACH_TIME,
        overlay=_CACHE | _NO_SHELF,
        redis=True,
    ),
    Step(
        "headgate-everything-miss",
        "limits, a budget and a cache that never knows the answer",
        "headgate",
        _NEW_EACH_TIME,
        overlay=_EVERYTHING | _NO_SHELF,
        redis=True,
    ),
    Step(
        "headgate-hit-store",
        "a hit from Redis (no limits)",
        "headgate",
        overlay=_CACHE | _NO_SHELF,
        redis=True,
    ),
    Step(
        "headgate-hit-shelf",
        "a hit from the worker's shelf (no limits)",
        "headgate",
        overlay=_CACHE,
        redis=True,
    ),
    Step(
        "headgate-hit-semantic",
        "a hit by the canonical key (tier 1), from Redis (no limits)",
        "headgate",
        PlainLoad(prompt=ASKED_OTHERWISE, first=KEPT),
        overlay={"models": {MODEL: {"cache": {"semantic": _SERVES}}}} | _NO_SHELF,
        redis=True,
    ),
    Step(
        "headgate-everything-hit",
        "limits, a budget and a hit from the shelf",
        "headgate",
        overlay=_EVERYTHING,
        redis=True,
    ),
    Step(
        "headgate-401",
        "an unknown key: what a stranger costs",
        "headgate",
        PlainLoad(status=401, key="hg-bench-wrong"),
        overlay={"server": {"bad_keys_per_minute": 1_000_000_000}},  # else answers come later
    ),
    BATCH_FLOOR,
    Step("headgate-batch", "32 prompts in one request", "headgate", _BATCH),
    LARGE_FLOOR,
    Step("headgate-large", "a prompt of 100 kB", "headgate", _LARGE),
    Step(
        "headgate-idle-keys",
        "the proxy with 1,000 more keys, which nobody uses",
        "headgate",
        overlay={"keys": [*KEYS, *_IDLE_KEYS]},
    ),
    Step("headgate-chat", "the proxy, for a conversation", "headgate", _CHAT),
    Step(
        "headgate-chat-hit",
        "a conversation from the worker's shelf (no limits)",
        "headgate",
        _CHAT,
        overlay=_CACHE,
        redis=True,
    ),
    EMBEDDINGS_FLOOR,
    Step("headgate-embeddings", "one vector, asked for as base64", "headgate", _EMBEDDINGS),
    STREAM_DIRECT,
    STREAM_FLOOR,
    Step("headgate-stream", "a relayed stream", "headgate", StreamLoad()),
    Step(
        "headgate-chat-stream",
        "a relayed stream of a conversation",
        "headgate",
        StreamLoad(operation="chat"),
    ),
    Step("headgate-long-stream", "streams of 300 chunks", "headgate", StreamLoad(many=300)),
)
_FLOORS = {_BATCH: BATCH_FLOOR, _LARGE: LARGE_FLOOR, _EMBEDDINGS: EMBEDDINGS_FLOOR}


def floor_of(step: Step) -> Step:
    """What a step's figures are multiples of."""
    if isinstance(step.load, StreamLoad):
        return STREAM_FLOOR
    return _FLOORS.get(step.load, FLOOR)


def direct_of(step: Step) -> Step:
    """What a step's latency is compared with."""
    return STREAM_DIRECT if isinstance(step.load, StreamLoad) else DIRECT


def step_of(name: str) -> Step:
    """The step of this name."""
    return next(step for step in STEPS if step.name == name)


def chosen(only: list[str]) -> list[Step]:
    """The steps named (or begun) in `only`, with the floors that they are compared with."""
    if not only:
        return list(STEPS)
    picked = {step.name for step in STEPS if any(step.name.startswith(word) for word in only)}
    for step in STEPS:
        if step.name in picked:
            picked |= {floor_of(step).name, direct_of(step).name}
    return [step for step in STEPS if step.name in picked]
