"""Which members beyond the contract's a provider is sent: all of them, none, or those named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.core.errors import InvalidRequest, Problem
from app.openai.output_limits import MOST_NAME, MOST_PROBLEMS

ALL, KNOWN = "all", "known"


def forwardable(names: Iterable[str]) -> frozenset[str] | None:
    """The members beyond the contract's that ``forward_members`` lets through; None for every one."""
    names = frozenset(names)
    return None if ALL in names else names - {KNOWN}


def refuse_others(
    document: Mapping[str, Any], contract: frozenset[str], allowed: frozenset[str] | None
) -> None:
    """Raises InvalidRequest naming the members that are neither the contract's nor allowed."""
    if allowed is None or document.keys() <= contract:
        return
    names = [name[:MOST_NAME] for name in document if name not in contract and name not in allowed]
    if not names:
        return
    problems = [
        Problem(name, f"`{name}` is not forwarded to this model's provider; leave it out.")
        for name in names[:MOST_PROBLEMS]
    ]
    raise InvalidRequest.of(problems, code="unsupported_parameter")
