"""How the simulator fails: by chance, in the ways and the shares that its settings name."""

from __future__ import annotations

from collections.abc import Sequence
from random import random

import orjson

from app.config.providers import SimulatedFailure
from app.core.errors import GatewayError, UpstreamOverloaded, UpstreamUnreachable
from app.providers.client.failures import refusal

_MESSAGE = "The simulator fails as it was configured to."


def drawn(failures: Sequence[SimulatedFailure]) -> SimulatedFailure | None:
    """How a call fails; None where it does not. The shares are of all calls."""
    if not failures:
        return None
    point = random()  # noqa: S311 - a test aid
    for failure in failures:
        if point < failure.share:
            return failure
        point -= failure.share
    return None


def error_of(failure: SimulatedFailure) -> GatewayError | None:
    """What an upstream's client would make of it; None where it answers, late or not to the end."""
    if failure.reset:
        return UpstreamUnreachable(_MESSAGE)
    if failure.status is None:
        return None
    wait = failure.retry_after
    headers = {b"retry-after": f"{wait:g}".encode()} if wait is not None else {}
    body = orjson.dumps({"error": {"message": _MESSAGE, "type": "simulated", "code": None}})
    return refusal(failure.status, headers, body, ())


def at_random() -> UpstreamOverloaded:
    """The failure of `failure_rate`: a 503."""
    error = UpstreamOverloaded("The simulator fails at the rate it was configured to.")
    error.answered = 503
    return error
