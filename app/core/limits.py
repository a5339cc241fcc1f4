"""What a limit is and how it is decided: token buckets, as one number each.

A bucket of ``burst`` units that refills one unit per ``interval`` microseconds is kept as the time
at which it will be full again (the "theoretical arrival time" of GCRA, ITU-T I.371). It holds
``burst - (full_at - now) / interval`` units. The same rule stands in ``cache/lua/admit.lua``; a
property test holds the two together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from app.core.errors import HeaderList

MINUTE = 60_000_000  # microseconds, the unit of time in this file


class LimitRule(NamedTuple):
    """What may be allowed to a key, a model or a tenant. A burst is a minute's worth where absent."""

    requests_per_minute: int | None = None
    request_burst: int | None = None
    tokens_per_minute: int | None = None
    token_burst: int | None = None
    concurrent: int | None = None

    def buckets(self, scope: str) -> Iterator[Bucket]:
        """The buckets that it means for a scope."""
        for unit, rate, burst in (
            ("requests", self.requests_per_minute, self.request_burst),
            ("tokens", self.tokens_per_minute, self.token_burst),
        ):
            if rate is not None:
                yield Bucket(scope, unit, rate, burst or rate)

    def slots(self, scope: str) -> Iterator[Slots]:
        """How many may run at once, where that is limited."""
        if self.concurrent is not None:
            yield Slots(scope, self.concurrent)


class Bucket(NamedTuple):
    """One bucket of a policy; ``unit`` is ``requests`` or ``tokens``."""

    scope: str
    unit: str
    per_minute: int
    burst: int

    @property
    def interval(self) -> float:
        """Microseconds in which one unit comes back."""
        return MINUTE / self.per_minute


class Slots(NamedTuple):
    """How many requests of a scope may run at once."""

    scope: str
    most: int


class Level(NamedTuple):
    """A bucket after a decision: whole units left, and microseconds until it is full."""

    remaining: int
    full_in: int


class Decision(NamedTuple):
    """What became of a request: levels in the order of the buckets asked.

    ``wait`` is microseconds until the same request can be admitted; 0 where it was, None where it
    never can be (it asks more than a bucket holds). ``refused_by`` names the scope and unit.
    ``local`` says that this process decided alone.
    """

    allowed: bool
    levels: Sequence[Level] = ()
    wait: int | None = 0
    refused_by: tuple[str, str] | None = None
    local: bool = False


def take(bucket: Bucket, full_at: float, now: float, cost: int) -> tuple[float, float | None]:
    """The bucket's new ``full_at`` and how long to wait: 0 to pass, None for never."""
    if cost > bucket.burst:
        return full_at, None
    new = max(full_at, now) + cost * bucket.interval
    over = new - now - bucket.burst * bucket.interval
    # Half a microsecond is what the arithmetic of both sides may differ by.
    return (new, 0) if over < 0.5 else (full_at, over)


def level(bucket: Bucket, full_at: float, now: float) -> Level:
    """What a bucket holds now."""
    missing = max(0.0, full_at - now)
    # The same half microsecond as in `take`: what is said to be left can be taken, and no more.
    units = (bucket.burst * bucket.interval - missing + 0.499) / bucket.interval
    return Level(min(bucket.burst, max(0, int(units))), int(missing))


def give_back(bucket: Bucket, full_at: float, now: float, units: int) -> float:
    """The ``full_at`` after ``units`` were returned (or, negative, taken without asking)."""
    return max(full_at, now) - units * bucket.interval


def limit_headers(buckets: Sequence[Bucket], decision: Decision) -> HeaderList:
    """OpenAI's ``x-ratelimit-*`` headers, each from the bucket that has least left."""
    headers: HeaderList = []
    for unit in ("requests", "tokens"):
        known = [
            (lvl.remaining, bucket.burst, lvl.full_in)
            for bucket, lvl in zip(buckets, decision.levels, strict=False)
            if bucket.unit == unit
        ]
        if known:
            remaining, limit, full_in = min(known)
            name = unit.encode()
            headers += [
                (b"x-ratelimit-limit-" + name, b"%d" % limit),
                (b"x-ratelimit-remaining-" + name, b"%d" % remaining),
                (b"x-ratelimit-reset-" + name, duration_text(full_in).encode()),
            ]
    return headers


def retry_headers(wait: int) -> HeaderList:
    """When a retry can succeed: whole seconds and whole milliseconds, both rounded up."""
    return [
        (b"retry-after", b"%d" % -(-wait // 1_000_000)),
        (b"retry-after-ms", b"%d" % -(-wait // 1000)),
    ]


def duration_text(microseconds: int) -> str:
    """A time as OpenAI writes it: ``17ms``, ``1s``, ``6m0s``."""
    milliseconds = -(-microseconds // 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms"
    seconds, rest = divmod(milliseconds, 1000)
    if seconds < 60:
        return f"{seconds}s" if not rest else f"{seconds}.{rest:03d}".rstrip("0") + "s"
    seconds += rest > 0
    hours, seconds = divmod(seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    return f"{hours}h{minutes}m{seconds}s" if hours else f"{minutes}m{seconds}s"
