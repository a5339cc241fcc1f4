"""One call on its way through its targets, and what its caller is told where none answers."""

from __future__ import annotations

from time import perf_counter

from app.core.call import Call
from app.core.errors import GatewayError, UpstreamOverloaded
from app.core.exchange import Attempt
from app.core.limits import retry_headers
from app.providers.base import Tally
from app.providers.routing.routes import Route

_REPLACED = (b"retry-after", b"retry-after-ms", b"x-should-retry")


class Run:
    """One call on its way through its targets.

    ``waits`` are seconds after which a target that did not answer may be asked again.
    """

    __slots__ = (
        "began",
        "call",
        "calls",
        "error",
        "failure",
        "position",
        "repeats",
        "tally",
        "waits",
    )

    def __init__(self, call: Call) -> None:
        self.call = call
        self.began = perf_counter()
        self.position = 0
        self.repeats = 0
        self.calls = 0
        self.tally = Tally()
        self.error: GatewayError | None = None
        self.failure: BaseException | None = None
        self.waits: list[float] = []

    @property
    def route(self) -> Route:
        route: Route = self.call.targets[self.position]
        return route

    @property
    def untried(self) -> int:
        """How many targets are left that were not asked."""
        if self.call.headers.get(b"x-headgate-fallback") == b"none":
            return 0
        return len(self.call.targets) - self.position - 1

    @property
    def left(self) -> float:
        """Seconds that all calls together may still take."""
        total: float = self.call.targets[0].total
        return total - (perf_counter() - self.began)

    def note(self, result: str, seconds: float = 0.0) -> None:
        """One more attempt for the record."""
        outcome = self.call.outcome
        if outcome.trail is None:
            outcome.trail = []
        outcome.trail.append(Attempt(self.route.name, result, seconds))

    def last_word(self) -> GatewayError:
        """What the caller is told: the last error, with the smallest wait that any target told."""
        error = self.error
        waits = retry_headers(int(min(self.waits) * 1e6)) if self.waits else []
        if error is None:
            return UpstreamOverloaded(
                "No target of this model can be asked now: each rests after failures, or is full.",
                headers=waits,
            )
        if self.calls > 1:
            error.headers = [pair for pair in error.headers if pair[0] not in _REPLACED]
            error.headers += [*waits, (b"x-should-retry", b"false")]
        return error
