"""What is charged for upstream calls that were sent and of which nobody knows what they used.

The caller left before a plain answer, the upstream timed out, or its answer was rubbish: tokens were
spent all the same, and the provider charges for them.
"""

from __future__ import annotations

from typing import Literal

from app.core.errors import UpstreamError, UpstreamInvalid, UpstreamTimeout, UpstreamUnreachable
from app.core.usage import Usage
from app.openai.completions.bounds import output_bound
from app.openai.completions.prompt_size import prompt_bound, prompt_estimate
from app.openai.completions.request import CompletionRequest

Rule = Literal["prompt", "bound", "nothing"]

_REASONS: tuple[tuple[type[UpstreamError], str], ...] = (
    (UpstreamTimeout, "timeout"),
    (UpstreamInvalid, "invalid_answer"),
    (UpstreamUnreachable, "connection_lost"),
)


def unknown_usage(
    rule: Rule, request: CompletionRequest, *, unknown: int, calls: int, times: int
) -> Usage | None:
    """The use to charge for ``unknown`` of a request's ``calls``; None where the rule is nothing.

    ``times`` is how often each prompt is sent.
    """
    if rule == "nothing":
        return None
    if rule == "prompt":
        return Usage(_share(prompt_estimate(request) * times, unknown, calls), 0, estimated=True)
    return Usage(
        _share(prompt_bound(request) * times, unknown, calls),
        _share(output_bound(request), unknown, calls),
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
