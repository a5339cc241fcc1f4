"""What is charged for upstream calls that were sent and of which nobody knows what they used.

The caller left before a plain answer, the upstream timed out, or its answer was rubbish: tokens were
spent all the same, and the provider charges for them.
"""

from __future__ import annotations

from typing import Literal

from app.core.call import Call
from app.core.errors import UpstreamError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from app.core.request import FanOut
from app.core.usage import Usage

Rule = Literal["prompt", "bound", "nothing"]

_REASONS: tuple[tuple[type[UpstreamError], str], ...] = (
    (UpstreamTimeout, "timeout"),
    (UpstreamInvalid, "invalid_answer"),
    (UpstreamUnreachable, "connection_lost"),
)


def unknown_usage(rule: Rule, call: Call, fan_out: FanOut, unknown: int) -> Usage | None:
    """The use to charge for ``unknown`` of a call's upstream calls; None where the rule is nothing."""
    if rule == "nothing":
        return None
    family, request = call.family, call.request
    used = fan_out.over(family.most(request) if rule == "bound" else family.likely(request))
    return Usage(
        _share(used.prompt_tokens, unknown, fan_out.calls),
        _share(used.completion_tokens, unknown, fan_out.calls) if rule == "bound" else 0,
        estimated=True,
    )


def reason_of(failure: BaseException | None) -> str:
    """Why nobody knows, as a metric's label."""
    for kind, reason in _REASONS:
        if isinstance(failure, kind):
            return reason
    # Whoever leads for others is cancelled when its own caller leaves and nobody follows.
    return "other" if isinstance(failure, Exception) else "client_disconnect"


def _share(total: int, part: int, whole: int) -> int:
    return -(-total * min(part, whole) // whole)
