"""``headgate cache estimate``: what a cache would have answered of a log of prompts, and saved."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, NamedTuple

from app.commands.estimate.prompt_log import Logged, PromptLog, Unread
from app.config.prices import price_anywhere, price_of
from app.config.settings import Cache, Settings
from app.config.values.patterns import Patterns
from app.core.pricing import Price
from app.core.usage import Usage
from app.openai.completions.bounds import prompt_estimate
from app.openai.completions.request import CompletionRequest
from cache.answers.fingerprint import Fingerprinter
from cache.answers.fingerprint_form import Scope
from cache.semantic.canonical import Form, read
from cache.semantic.eligible_text import fuzzy_text

EXACT, NORMALIZED, IGNORING, TIER_1, TIER_1B = (
    "exact", "normalized", "cache.ignore", "tier 1", "tier 1b",
)  # fmt: skip
LEVELS = (EXACT, NORMALIZED, IGNORING, TIER_1, TIER_1B)
SHOWN = 5  # lines that could not be read
EVERY = 2000  # lines between two words about the progress


_LIMITS = frozenset({"max_tokens", "max_completion_tokens"})


Asked = tuple[str, bytes, tuple[str, ...]]  # a level, its key, and the wide rules that made it


class Terms(NamedTuple):
    """What the log does not say. ``ttl`` is in seconds; ``price`` is for every model."""

    output_tokens: int = 200
    ttl: float | None = None
    price: Price | None = None
    pairs: int = 10


class Kept(NamedTuple):
    """The request whose answer a later one would have been given."""

    offset: int
    time: float | None


class Pair(NamedTuple):
    """Two prompts of one answer by meaning. The riskiest took the most rules of the wide key."""

    risk: int
    number: int
    kept: int
    asked: int
    level: str
    rules: tuple[str, ...]


@dataclass(slots=True)
class Tally:
    """What one level adds to those before it. ``cost`` is in nano-dollars."""

    hits: int = 0
    tokens: int = 0
    cost: int = 0

    def add(self, usage: Usage, cost: int) -> None:
        self.hits += 1
        self.tokens += usage.total_tokens
        self.cost += cost


@dataclass(slots=True)
class Estimate:
    """What was found. ``sampled`` is what meaning would add for requests that are sampled."""

    requests: int = 0
    lookups: int = 0
    sampled_lookups: int = 0
    tokens: int = 0
    cost: int = 0
    with_usage: int = 0
    levels: dict[str, Tally] = field(default_factory=lambda: {name: Tally() for name in LEVELS})
    sampled: Tally = field(default_factory=Tally)
    not_compared: Counter[str] = field(default_factory=Counter)
    unread: list[Unread] = field(default_factory=list)
    unread_lines: int = 0
    unknown_prices: set[str] = field(default_factory=set)
    pairs: list[Pair] = field(default_factory=list)


class Estimator:
    """Plays a log through the cache's own keys. Keeps some 600 bytes for each different prompt."""

    def __init__(self, settings: Settings | None, terms: Terms) -> None:
        self.found = Estimate()
        self._settings = settings
        self._terms = terms
        self._kept: dict[bytes, Kept] = {}
        self._models: dict[str, tuple[Cache, Patterns | None, Price | None]] = {}
        self._prints: dict[tuple[str, str, str], Fingerprinter] = {}

    def take(self, logged: Logged) -> None:
        """One request more."""
        request, found = logged.request, self.found
        cache, ignore, price = self._model(request.model)
        found.requests += 1
        usage = logged.usage or self._estimated(request)
        found.with_usage += logged.usage is not None
        many = max(1, len(request.prompts)) if request.messages is None else 1
        each = Usage(usage.prompt_tokens // many, usage.completion_tokens // many)
        cost = price.cost(each) if price is not None else 0
        by_level = [
            (level, self._printer(logged, level, normalize, what).of(request))
            for level, normalize, what in (
                (EXACT, "none", None), (NORMALIZED, cache.normalize, None),
                (IGNORING, cache.normalize, ignore),
            ) if level != IGNORING or ignore is not None
        ]  # fmt: skip
        for at in range(many):
            found.lookups += 1
            found.sampled_lookups += request.sampled
            found.tokens += each.total_tokens
            found.cost += cost
            keys: list[Asked] = [(level, digests[at], ()) for level, digests in by_level]
            if many == 1:
                keys += self._by_meaning(logged, ignore)
            self._look_up(logged, keys, each, cost)

    def _look_up(
        self,
        logged: Logged,
        keys: Sequence[Asked],
        usage: Usage,
        cost: int,
    ) -> None:
        for level, key, rules in keys:
            kept = self._kept.get(key)
            if kept is None or self._too_old(kept, logged):
                continue
            meant = level in (TIER_1, TIER_1B)
            if meant:
                self._note_pair(kept, logged, level, rules)
            if meant and logged.request.sampled and not self._reuses(logged.request.model):
                self.found.sampled.add(usage, cost)
                break  # it is asked, and its answer kept
            self.found.levels[level].add(usage, cost)
            return
        kept = Kept(logged.offset, logged.time)
        for _, key, _ in keys:
            held = self._kept.get(key)
            if held is None or self._too_old(held, logged):
                self._kept[key] = kept

    def _by_meaning(self, logged: Logged, ignore: Patterns | None) -> Iterator[Asked]:
        text = fuzzy_text(logged.request)
        if text is None:
            self.found.not_compared["shape"] += 1
            return
        reading = read(text if ignore is None else ignore.without(text))
        printer = self._printer(logged, "meaning", "none", ignore)
        partition = printer.partition(logged.request, "")
        if isinstance(reading.strict, Form):
            yield TIER_1, _key(partition, reading.strict.key), ()
        else:
            self.found.not_compared[reading.strict.reason] += 1
        if reading.wide is not None:
            yield TIER_1B, _key(partition, "\n" + reading.wide.key), reading.wide.rules

    def _note_pair(self, kept: Kept, logged: Logged, level: str, rules: tuple[str, ...]) -> None:
        pair = Pair(len(rules), self.found.lookups, kept.offset, logged.offset, level, rules)
        if len(self.found.pairs) < self._terms.pairs:
            heapq.heappush(self.found.pairs, pair)
        elif self._terms.pairs:
            heapq.heappushpop(self.found.pairs, pair)

    def _too_old(self, kept: Kept, logged: Logged) -> bool:
        ttl = self._terms.ttl
        if ttl is None or kept.time is None or logged.time is None:
            return False
        return logged.time - kept.time > ttl

    def _reuses(self, model: str) -> bool:
        semantic = self._model(model)[0].semantic
        return semantic is not None and semantic.sampled == "reuse"

    def _estimated(self, request: CompletionRequest) -> Usage:
        limited = request.messages is None or not _LIMITS.isdisjoint(request.document)
        each = self._terms.output_tokens
        if limited:
            each = min(each, request.max_tokens)
        prompts = 1 if request.messages is not None else len(request.prompts)
        return Usage(prompt_estimate(request), each * request.n * prompts)

    def _model(self, alias: str) -> tuple[Cache, Patterns | None, Price | None]:
        known = self._models.get(alias)
        if known is None:
            model = self._settings.models.get(alias) if self._settings is not None else None
            cache = (model.cache if model is not None else None) or Cache()
            price = self._terms.price
            if price is None:
                found = price_of(model, self._settings) if model and self._settings else None
                price = found or price_anywhere(alias)
            if price is None:
                self.found.unknown_prices.add(alias)
            ignore = Patterns(cache.ignore) if cache.ignore else None
            known = self._models[alias] = cache, ignore, price
        return known

    def _printer(
        self, logged: Logged, level: str, normalize: Any, ignore: Patterns | None
    ) -> Fingerprinter:
        where = logged.tenant, logged.request.model, level
        found = self._prints.get(where)
        if found is None:
            found = self._prints[where] = Fingerprinter(
                scope=Scope("tenant", logged.tenant, ""),
                namespace=level,
                family="completions",
                alias=logged.request.model,
                targets=[],
                normalize=normalize,
                ignore=ignore,
            )
        return found


def _key(partition: bytes, key: str) -> bytes:
    return blake2b(partition + key.encode(errors="surrogatepass"), digest_size=32).digest()


def played(
    log: PromptLog,
    settings: Settings | None,
    terms: Terms,
    say: Callable[[int, int], None] | None = None,
) -> Estimate:
    """Plays the whole log. ``say`` is told of lines and bytes, now and then. Raises OSError."""
    estimator = Estimator(settings, terms)
    for number, line in enumerate(log.lines(), start=1):
        if isinstance(line, Unread):
            estimator.found.unread_lines += 1
            if len(estimator.found.unread) < SHOWN:
                estimator.found.unread.append(line)
        else:
            estimator.take(line)
            if say is not None and number % EVERY == 0:
                say(number, line.offset)
    return estimator.found
