"""Which members beyond the contract's a provider is sent: all of them, none, or those named."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from app.core.errors import InvalidRequest, Problem
from app.openai.completions.output_limits import MOST_NAME, MOST_PROBLEMS
from app.openai.completions.request import FIELDS

ALL, KNOWN = "all", "known"
_CONTRACT = frozenset(FIELDS) | {"messages"}


def forwardable(names: Iterable[str]) -> frozenset[str] | None:
    """The members that the setting ``forward_members`` lets through; None for every one."""
    names = frozenset(names)
    return None if ALL in names else _CONTRACT | (names - {KNOWN})


def refuse_others(document: dict[str, Any], allowed: frozenset[str] | None) -> None:
    """Raises InvalidRequest naming the members that are not let through."""
    if allowed is None or document.keys() <= allowed:
        return
    names = [name[:MOST_NAME] for name in document if name not in allowed]
    problems = [
        Problem(name, f"`{name}` is not forwarded to this model's provider; leave it out.")
        for name in names[:MOST_PROBLEMS]
    ]
    raise InvalidRequest.of(problems, code="unsupported_parameter")
