"""Targets without a configuration: routes to answers of a test's own, and the chain's end over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from time import time
from typing import Any

from app.core.call import Call, Handler
from app.core.pricing import Price
from app.core.reply import ReplyWriter
from app.core.request import Allowance, TargetRules
from app.core.usage import Counts
from app.openai.output_limits import OPENAI
from app.providers.routing.failover import Failover
from app.providers.routing.routes import Endpoint, Route
from app.providers.routing.shared_health import SharedHealth
from app.providers.upstream import Upstream
from cache.quotas.limiter import Limiter
from cache.store.base import Store
from cache.store.embedded import EmbeddedStore

PRICE = Price(1_000_000, 2_000_000)  # nano-dollars per million: one a prompt token, two another


class Counted(list[tuple[str, str, int]]):
    """What was counted: name, the labels' values and how many."""

    def add(self, name: str, labels: Mapping[str, str], amount: int = 1) -> None:
        self.append((name, " ".join(labels.values()), amount))


def route_of(answers: Any, name: str = "up/m-1", **changes: Any) -> Route:
    """A target that answers completions by ``answers``."""
    provider, _, model = name.partition("/")
    return Route(
        provider=provider,
        model=model,
        endpoints={"completions": Endpoint(answers)},
        rules=TargetRules(OPENAI),
        forward_headers=frozenset(),
        price=PRICE,
        max_calls=1,
        unknown_usage="bound",
        name=name,
        identity=name,
    )._replace(**changes)


def failover_of(
    counts: Counts | None = None,
    *,
    health: SharedHealth | None = None,
    store: Store | None = None,
    router: Any = None,
) -> Failover:
    """The end of the chain over a store of its own."""
    store = store or EmbeddedStore()
    counts = Counted() if counts is None else counts
    return Failover(
        Upstream(counts),
        router=router,
        health=health or SharedHealth(store, time, counts),
        limiter=Limiter(store, "local"),
        counts=counts,
        allowance_of=lambda key, alias: Allowance(False, None),
    )


class Targeted:
    """Gives every call these targets, as the chain does that knows a configuration."""

    def __init__(self, inner: Handler, targets: Sequence[Route]) -> None:
        self._inner = inner
        self.targets = tuple(targets)

    async def __call__(self, call: Call, reply: ReplyWriter) -> None:
        call.targets = self.targets
        await self._inner(call, reply)
