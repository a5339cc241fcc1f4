"""What to do after a failed call: the same target again, the next one, or stop. Pure.

| failure of a call | same again | next target | breaker |
|---|---|---|---|
| no connection, or it broke before a byte | once, at once | yes | counts |
| 408 409 425 500 502 504, unreadable, or over before content | once, after a pause | yes | counts |
| 429 503 529 | only without another target, and told at most 5 s | yes | 429 rests it, others count |
| a time limit of ours | no | as ``on_timeout`` says | counts |
| 401 402 403 407, 404, a quota used up | no | yes | opens at once |
| context length | no | only with a larger context | no |
| the provider's content filter | no | as ``on_content_filter`` says | no |
| it has no such endpoint or parameter, or redirects | no | yes | no |
| other 4xx | no | no | no |
| our own refusals | no | no | no |
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Literal, NamedTuple

from app.core.errors import (
    GatewayError,
    InvalidRequest,
    NotImplementedHere,
    UpstreamAuth,
    UpstreamError,
    UpstreamNotConnected,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamPoolFull,
    UpstreamTimeout,
    UpstreamUnreachable,
)

MAX_CALLS = 3
LONGEST_WAIT = 5.0  # seconds; whoever is told to wait longer goes on instead
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds
REST_SECONDS = 1.0  # after a 429 that does not say how long
LONGEST_REST = 300.0
AUTH_SECONDS = 60.0  # how long a target that refuses our credentials is left alone

_TRANSIENT = frozenset({408, 409, 425})
_BUSY = frozenset({429, 503, 529})
_NOT_OURS = frozenset({401, 402, 403, 404, 407})
_QUOTA = frozenset({"insufficient_quota", "billing_not_active", "billing_hard_limit_reached"})
_FILTER = frozenset(
    {
        "content_filter",
        "content_policy_violation",
        "content_filtered",
        "ResponsibleAIPolicyViolation",
    }
)


class Kind(Enum):
    """A row of the table."""

    CONNECTION = "connection"
    TRANSIENT = "transient"
    BUSY = "busy"
    TIMEOUT = "timeout"
    CREDENTIALS = "credentials"
    CONTEXT = "context"
    FILTERED = "filtered"
    UNABLE = "unable"
    REFUSED = "refused"
    OURS = "ours"


class Row(NamedTuple):
    """What a kind of failure means. ``breaker``: it counts, rests the target, opens it, or nothing."""

    again: Literal["at once", "paused", "told", "no"]
    goes_on: Literal["yes", "on_timeout", "larger", "on_content_filter", "no"]
    breaker: Literal["counts", "rests", "opens", "no"]


TABLE: Mapping[Kind, Row] = {
    Kind.CONNECTION: Row("at once", "yes", "counts"),
    Kind.TRANSIENT: Row("paused", "yes", "counts"),
    Kind.BUSY: Row("told", "yes", "counts"),  # a 429 rests it instead, see `verdict`
    Kind.TIMEOUT: Row("no", "on_timeout", "counts"),
    Kind.CREDENTIALS: Row("no", "yes", "opens"),
    Kind.CONTEXT: Row("no", "larger", "no"),
    Kind.FILTERED: Row("no", "on_content_filter", "no"),
    Kind.UNABLE: Row("no", "yes", "no"),
    Kind.REFUSED: Row("no", "no", "no"),
    Kind.OURS: Row("no", "no", "no"),
}


class Failure(NamedTuple):
    """One failed call. ``status`` is the upstream's own, None where it gave none; ``wait`` is
    seconds as it told them. ``theirs`` is false where our own bound on connections was met.
    ``statuses`` are those that a list of codes may name it by."""

    kind: Kind
    status: int | None = None
    wait: float | None = None
    theirs: bool = True

    @property
    def statuses(self) -> frozenset[int]:
        if self.status is not None:
            return frozenset({self.status})
        if self.kind is Kind.TIMEOUT:
            return frozenset({408, 504})
        return frozenset({503} if self.kind is Kind.BUSY else {502, 503})

    @property
    def label(self) -> str:
        """A short name for headers, logs and metrics: the status, else the kind."""
        return str(self.status) if self.status is not None else self.kind.value


def failure_of(error: GatewayError, *, sent: bool = True) -> Failure:
    """The failure that an error means; by its type, its status and its code, never by its text.

    ``sent`` is false where nothing had been sent upstream yet: a provider that finds before its
    call that it cannot honour the request.
    """
    theirs = not isinstance(error, UpstreamPoolFull)
    return Failure(_kind(error, sent), error.answered, error.wait, theirs)


def _kind(error: GatewayError, sent: bool) -> Kind:
    status = error.answered
    if status is None:
        return _kind_without_status(error, sent)
    if error.code in _QUOTA or isinstance(error, UpstreamAuth | UpstreamNotFound):
        return Kind.CREDENTIALS
    if error.code == "context_length_exceeded":
        return Kind.CONTEXT
    if error.code in _FILTER:
        return Kind.FILTERED
    if status in _BUSY:
        return Kind.BUSY
    if status in _NOT_OURS:
        return Kind.CREDENTIALS
    if status == 501 or 300 <= status < 400:
        return Kind.UNABLE
    if status in _TRANSIENT or status >= 500 or status < 300:
        return Kind.TRANSIENT
    return Kind.REFUSED


_BY_TYPE: tuple[tuple[type[GatewayError], Kind], ...] = (
    (UpstreamNotConnected, Kind.CONNECTION),
    (UpstreamTimeout, Kind.TIMEOUT),
    (UpstreamUnreachable, Kind.CONNECTION),
    (UpstreamOverloaded, Kind.BUSY),
    (UpstreamAuth, Kind.CREDENTIALS),
    (UpstreamNotFound, Kind.CREDENTIALS),
)


def _kind_without_status(error: GatewayError, sent: bool) -> Kind:
    if not isinstance(error, UpstreamError):
        unable = isinstance(error, InvalidRequest | NotImplementedHere) and not sent
        return Kind.UNABLE if unable else Kind.OURS
    if error.code == "context_length_exceeded":
        return Kind.CONTEXT
    if error.code in _FILTER:
        return Kind.FILTERED
    for foreign, kind in _BY_TYPE:
        if isinstance(error, foreign):
            return kind
    # Too large for our own bounds: it would be so again, and elsewhere.
    return Kind.TRANSIENT if error.retryable else Kind.REFUSED


class Verdict(NamedTuple):
    """What a failure means to its target's breaker: it counts, or for how many seconds it rests or
    opens."""

    counts: bool = False
    rests: float = 0.0
    opens: float = 0.0


def verdict(failure: Failure) -> Verdict:
    """By the table; a 429 is no fault of the target, so it only rests."""
    if not failure.theirs:
        return Verdict()
    if failure.kind is Kind.BUSY and failure.status == 429:
        told = REST_SECONDS if failure.wait is None else failure.wait
        return Verdict(rests=min(told, LONGEST_REST))
    row = TABLE[failure.kind]
    return Verdict(row.breaker == "counts", opens=AUTH_SECONDS if row.breaker == "opens" else 0.0)


class Rules(NamedTuple):
    """What a model's settings say of failures."""

    on_timeout: Literal["next", "fail"] = "next"
    on_content_filter: Literal["next", "fail"] = "fail"


DEFAULT_RULES = Rules()


class So(NamedTuple):
    """What follows a failure. ``wait`` is seconds before the same target is asked again;
    ``larger``: the next target must have a larger context."""

    do: Literal["again", "next", "stop"]
    wait: float = 0.0
    larger: bool = False


STOP = So("stop")


def after(
    failure: Failure, *, repeats: int, calls_left: int, untried: int, rules: Rules, chance: float
) -> So:
    """What follows, where ``repeats`` calls of this target were repeats and ``untried`` targets are
    left that were not asked.

    A target is repeated only while a call is left for each of those. ``chance`` is from 0 to 1, for
    the jitter. Whether the retry budget allows a repeat is for the caller to ask.
    """
    row = TABLE[failure.kind]
    goes_on = untried > 0 and calls_left > 0 and _goes_on(row, rules)
    if repeats == 0 and calls_left > untried and _repeats(row, failure, untried):
        at_once = row.again == "at once"
        return So("again", 0.0 if at_once else pause(repeats, failure.wait, chance))
    return So("next", larger=row.goes_on == "larger") if goes_on else STOP


def _goes_on(row: Row, rules: Rules) -> bool:
    if row.goes_on == "on_timeout":
        return rules.on_timeout == "next"
    if row.goes_on == "on_content_filter":
        return rules.on_content_filter == "next"
    return row.goes_on != "no"


def _repeats(row: Row, failure: Failure, untried: int) -> bool:
    if row.again == "no" or (failure.wait is not None and failure.wait > LONGEST_WAIT):
        return False
    return row.again != "told" or (untried == 0 and failure.wait is not None)


def pause(repeat: int, told: float | None, chance: float) -> float:
    """Seconds before a repeat: doubling from a quarter second to eight, with full jitter; at least
    what the upstream told. Source: M. Brooker, "Exponential Backoff And Jitter" (AWS, 2015)."""
    jittered = chance * min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**repeat)
    return jittered if told is None else told + min(jittered, FIRST_PAUSE)


class RetryBudget:
    """Repeats of calls to one provider: at most a fifth of its calls of the last ten seconds, plus
    three, so that an outage does not multiply the load.

    Of one worker. Going on to another target is not a repeat and costs nothing here.
    """

    SECONDS, SHARE, SPARE = 10, 0.2, 3

    __slots__ = ("_calls", "_repeats", "_second")

    def __init__(self) -> None:
        self._calls = [0] * self.SECONDS
        self._repeats = [0] * self.SECONDS
        self._second = 0

    def called(self, now: float) -> None:
        """A first call; ``now`` is seconds of a steady clock."""
        second = int(now)
        if second != self._second:
            self._forget(second)
        self._calls[second % self.SECONDS] += 1

    def take(self, now: float) -> bool:
        """Whether one more repeat is allowed; it counts if so."""
        second = int(now)
        if second != self._second:
            self._forget(second)
        if sum(self._repeats) + 1 > self.SHARE * sum(self._calls) + self.SPARE:
            return False
        self._repeats[second % self.SECONDS] += 1
        return True

    def _forget(self, second: int) -> None:
        """Empty the buckets of the seconds that have passed since the last call."""
        for passed in range(min(self.SECONDS, max(0, second - self._second))):
            self._calls[(second - passed) % self.SECONDS] = 0
            self._repeats[(second - passed) % self.SECONDS] = 0
        self._second = second
