"""How a caller's routing config steers one of the calls that it leads to."""

from __future__ import annotations

from collections.abc import Mapping

from app.portkey.config import Leaf
from app.providers.routing.retry import LONGEST_WAIT, STOP, Failure, So, pause

MAX_CALLS = 12  # of one request, over all targets of its config


class CallsLeft:
    """How many upstream calls a request may still make."""

    __slots__ = ("count",)

    def __init__(self) -> None:
        self.count = MAX_CALLS


class Steering:
    """One target of a config: its own rule of repeats goes before the gateway's.

    ``repeats`` are the extra calls so far, ``exhausted`` says that they ran out, or that the wait
    was too long. ``exact``: no answer by meaning will do. ``timeouts`` are seconds by the
    transport's names, ``forward`` the names of headers that go along.
    """

    __slots__ = (
        "_left",
        "_retry",
        "exact",
        "exhausted",
        "forward",
        "provider",
        "repeats",
        "timeouts",
    )

    def __init__(
        self,
        leaf: Leaf,
        provider: str | None,
        left: CallsLeft,
        *,
        timeout: float | None,
        forward: tuple[str, ...],
    ) -> None:
        self.provider = provider
        self.repeats = 0
        self.exhausted = False
        self.exact = leaf.cache is not None and not leaf.cache.semantic
        self.timeouts: Mapping[str, float] = _timeouts(timeout)
        self.forward = frozenset(name.encode() for name in forward)
        self._retry = leaf.retry
        self._left = left
        left.count -= 1

    def after(self, failure: Failure, repeats: int, chance: float) -> So:
        """What follows a failure: the same target again, or the end of this call."""
        retry = self._retry
        if retry is None or retry.codes.isdisjoint(failure.statuses) or not retry.attempts:
            return STOP
        told = failure.wait if retry.told else None
        too_long = told is not None and told > LONGEST_WAIT
        if repeats >= retry.attempts or too_long or self._left.count <= 0:
            self.exhausted = True
            return STOP
        self._left.count -= 1
        self.repeats = repeats + 1
        return So("again", pause(repeats, told, chance))

    @property
    def count(self) -> bytes:
        """The extra calls as Portkey's header says them."""
        return b"-1" if self.exhausted else b"%d" % self.repeats


def _timeouts(seconds: float | None) -> Mapping[str, float]:
    if seconds is None:
        return {}
    return dict.fromkeys(("connect", "pool", "read", "write", "first_byte"), seconds)
