"""What requests came to, by bounded labels. Recorded once, at the end of each request.

A request costs two look-ups by what is already known of it and a few bisections; labels are worked
out when something is seen for the first time, and written out when somebody scrapes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable
from typing import NamedTuple

from app.core.call import Call
from app.core.exchange import CLIENT_CLOSED_REQUEST, Exchange
from app.core.pricing import NANO
from app.observability.metrics import families
from app.observability.metrics.families import Family
from app.observability.metrics.histogram import Histogram
from app.observability.metrics.labels import MOST_KEYS, OTHER, Labels, ProviderLabels
from app.observability.metrics.snapshot import Snapshot, add, labels_text

MOST_SEEN = 4_096  # different requests whose labels are remembered
MOST_PLACES = 1_000  # different labels of requests, and as many of keys with models
BACKGROUND = "background"  # the route of calls that the gateway makes for itself
OPERATIONS = {"completions": "text_completion", "chat": "chat", "embeddings": "embeddings"}
_REFUSALS = frozenset({
    "rate_limit_exceeded", "budget_exceeded", "too_many_connections", "too_many_bad_keys",
})  # fmt: skip


class Where(NamedTuple):
    """The labels of a request. ``operation`` is empty where no model was asked for."""

    route: str
    operation: str = ""
    alias: str = OTHER
    provider: str = OTHER
    who: ProviderLabels = ProviderLabels(OTHER)
    model: str = OTHER
    status: int = 0
    code: str = OTHER
    cache: str = OTHER
    layer: str = ""


class Place:
    """What the requests of one set of labels came to."""

    __slots__ = ("count", "duration", "each", "first", "input", "output", "overhead", "waited")

    def __init__(self) -> None:
        self.count = 0
        self.duration = Histogram(families.SECONDS)
        self.overhead = Histogram(families.OVERHEAD)
        self.waited = Histogram(families.SECONDS)
        self.first = Histogram(families.FIRST_TOKEN)
        self.each = Histogram(families.PER_TOKEN)
        self.input = Histogram(families.TOKENS)
        self.output = Histogram(families.TOKENS)


class Account:
    """What one key used of one alias: nano-dollars, and tokens by type, exact and estimated."""

    __slots__ = ("cost", "exact", "guessed", "saved")

    def __init__(self) -> None:
        self.cost = 0
        self.saved = 0
        self.exact = [0, 0]
        self.guessed = [0, 0]


class RequestMetrics:
    """The measurements of one worker, kept over every change of configuration."""

    def __init__(self) -> None:
        self._places: dict[Where, Place] = {}
        self._accounts: dict[tuple[str, str, str], Account] = {}
        self._folded: set[Where] = set()
        self._keys: set[str] = set()
        self._folded_keys = 0

    def route(self, labels: Labels, name: str, *, models: bool = False) -> RouteMetrics:
        """What records the requests of one route of a configuration; ``models``: it asks models."""
        return RouteMetrics(self, labels, name, models=models)

    def place(self, where: Where) -> Place:
        """Where requests with these labels are counted; together with others if there are too many."""
        found = self._places.get(where)
        if found is None:
            if len(self._places) >= MOST_PLACES:
                where = Where(where.route, where.operation, status=where.status)
                self._folded.add(where)
            found = self._places.setdefault(where, Place())
        return found

    def account(self, tenant: str, key: str, alias: str) -> Account:
        """The account of a key (empty for all of a tenant) and an alias; that of all others where
        there are too many."""
        if key and key not in self._keys:
            if len(self._keys) >= MOST_KEYS:
                key = OTHER
                self._folded_keys += 1
            else:
                self._keys.add(key)
        whose = tenant, key, alias
        if whose not in self._accounts and len(self._accounts) >= MOST_PLACES:
            whose = OTHER, OTHER, OTHER
            self._folded_keys += 1
        return self._accounts.setdefault(whose, Account())

    def write(self, into: Snapshot) -> None:
        """Add everything to a snapshot."""
        for where, place in self._places.items():
            for family, labels, row in _rows(where, place):
                add(into, family, labels_text(labels), row)
        for (tenant, key, alias), account in self._accounts.items():
            for family, labels, amount in _amounts(account):
                whose = {"tenant": tenant, "key": key, "model": alias, **labels}
                add(into, family, labels_text(whose), [amount])
        folded = self._folded_keys + sum(self._places[where].count for where in self._folded)
        add(into, families.FOLDED, "", [folded])


class RouteMetrics:
    """Records the requests of one route."""

    __slots__ = ("_accounts", "_labels", "_metrics", "_models", "_places", "_route")

    def __init__(
        self, metrics: RequestMetrics, labels: Labels, route: str, *, models: bool
    ) -> None:
        self._metrics = metrics
        self._labels = labels
        self._route = route
        self._models = models
        self._places: dict[object, Place] = {}
        self._accounts: dict[tuple[str, str], Account] = {}

    def __call__(self, exchange: Exchange | Call, alias: str | None, total: float) -> None:
        """Count one request that is over; ``alias`` is None where the key may not use what it asked
        for, ``total`` is seconds."""
        outcome = exchange.outcome
        seen = (
            alias, outcome.provider, outcome.model, outcome.status,
            outcome.error_code, outcome.cache, outcome.cache_layer, outcome.operation,
        )  # fmt: skip
        place = self._places.get(seen)
        if place is None:
            place = self._place(exchange, alias, seen)
        place.count += 1
        waited = outcome.upstream_time
        own = total - waited if waited < total else 0.0
        # `observe` written out, because a call costs as much as the bisection.
        overhead = place.overhead
        overhead.counts[bisect_left(families.OVERHEAD, own)] += 1
        overhead.sum += own
        if not self._models:
            return
        duration = place.duration
        duration.counts[bisect_left(families.SECONDS, total)] += 1
        duration.sum += total
        usage = outcome.usage
        if outcome.attempts:
            place.waited.observe(waited)
            if outcome.streamed and outcome.first_byte is not None:
                first = outcome.first_byte
                place.first.observe(first)
                if usage is not None and usage.completion_tokens > 1:
                    place.each.observe((total - first) / (usage.completion_tokens - 1))
            if usage is not None:
                place.input.observe(usage.prompt_tokens)
                place.output.observe(usage.completion_tokens)
        if outcome.cost or outcome.saved or usage is not None:
            self._book(exchange, alias or "")

    def _book(self, exchange: Exchange | Call, alias: str) -> None:
        outcome, key = exchange.outcome, exchange.key
        if key is None:
            return
        account = self._accounts.get((key.id, alias))
        if account is None:
            account = self._metrics.account(*self._labels.owner(key), alias)
            if len(self._accounts) >= MOST_SEEN:
                self._accounts.clear()
            self._accounts[key.id, alias] = account
        account.cost += outcome.billed or 0
        account.saved += outcome.saved
        usage = outcome.usage
        if usage is not None:
            tokens = account.guessed if usage.estimated else account.exact
            tokens[0] += usage.prompt_tokens
            tokens[1] += usage.completion_tokens

    def _place(self, exchange: Exchange | Call, alias: str | None, seen: object) -> Place:
        outcome, labels = exchange.outcome, self._labels
        # Nothing is known of what a request wanted whose body was not read.
        named = alias if alias is not None else OTHER if outcome.alias is not None else ""
        where = Where(
            self._route,
            OPERATIONS.get(outcome.operation or "", "") if self._models else "",
            named,
            outcome.provider or "",
            labels.provider(outcome.provider),
            labels.model(outcome.model),
            outcome.status or CLIENT_CLOSED_REQUEST,
            labels.code(outcome.error_code),
            outcome.cache or "",
            outcome.cache_layer or "",
        )
        if len(self._places) >= MOST_SEEN:
            self._places.clear()
        place = self._places[seen] = self._metrics.place(where)
        return place


Row = tuple[Family, dict[str, str], list[float]]


def _rows(where: Where, place: Place) -> Iterable[Row]:
    """What one place says, metric by metric; each has only some of its labels."""
    route = {"route": where.route}
    model = {"model": where.alias}
    if where.route != BACKGROUND:
        said = {**route, **model, "status": str(where.status), "code": where.code}
        yield families.REQUESTS, said, [place.count]
        yield families.OVERHEAD_SECONDS, route, place.overhead.row()
    if where.code in _REFUSALS and not where.provider:
        yield families.REFUSALS, {"reason": where.code, **model}, [place.count]
    if where.cache:
        said = {"result": where.cache, "layer": where.layer, **model}
        yield families.CACHE, said, [place.count]
    if where.operation:
        yield from _of_models(where, place)


def _of_models(where: Where, place: Place) -> Iterable[Row]:
    """The metrics of the semantic conventions."""
    labels = {
        "gen_ai_operation_name": where.operation,
        "gen_ai_provider_name": where.who.name,
        "gen_ai_request_model": where.alias,
        "gen_ai_response_model": where.model,
        "headgate_provider": where.provider,
    }
    error = {"error_type": where.code or (str(where.status) if where.status >= 400 else "")}
    address = {"server_address": where.who.address, "server_port": where.who.port}
    if where.route != BACKGROUND:
        yield families.REQUEST_DURATION, {**labels, **error}, place.duration.row()
        yield families.FIRST, labels, place.first.row()
        yield families.EACH, labels, place.each.row()
    yield families.OPERATION_DURATION, {**labels, **error, **address}, place.waited.row()
    for kind, tokens in (("input", place.input), ("output", place.output)):
        said = {**labels, **address, "gen_ai_token_type": kind}
        yield families.TOKEN_USAGE, said, tokens.row()


def _amounts(account: Account) -> Iterable[tuple[Family, dict[str, str], float]]:
    yield families.COST, {}, account.cost / NANO
    yield families.SAVED, {}, account.saved / NANO
    for estimated, tokens in (("false", account.exact), ("true", account.guessed)):
        if any(tokens) or estimated == "false":
            for kind, count in zip(("input", "output"), tokens, strict=True):
                yield families.TOKENS_TOTAL, {"type": kind, "estimated": estimated}, count
