"""Who can say beforehand which requests it would refuse, and how wrappers hand the question on."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from app.providers.base import UpstreamCall


@runtime_checkable
class Checking(Protocol):
    """Something that answers requests, and knows beforehand which it would refuse. Pure."""

    def check(self, call: UpstreamCall) -> None:
        """Raises InvalidRequest naming what cannot be honoured."""
        ...


def check_inner(answers: object, call: UpstreamCall) -> None:
    """Raises InvalidRequest where it cannot honour a call, as far as it can tell."""
    if isinstance(answers, Checking):
        answers.check(call)
