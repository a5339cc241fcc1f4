"""Which members of a chat request a provider can honour; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from app.core.errors import InvalidRequest, Problem
from app.openai.neutral import is_neutral

# Members that the gateway reads itself.
_OURS = frozenset({"model", "messages", "prompt", "stream", "stream_options"})


class Problems:
    """Collects what is wrong with one request, to be raised as one error."""

    def __init__(self) -> None:
        self._found: list[Problem] = []

    def add(self, place: str, why: str) -> None:
        """``why`` goes on after the member's name: "is not …"."""
        self._found.append(Problem(place, f"`{place}` {why}."))

    def refuse_members(self, document: Mapping[str, Any], honoured: Collection[str]) -> None:
        """Every member that is not honoured and asks for something."""
        for name in unhonoured(document, honoured):
            self.add(name, "is not supported by the model's provider")

    def raise_any(self) -> None:
        """Raises InvalidRequest where anything was found."""
        if self._found:
            raise InvalidRequest.of(self._found[:16], code="unsupported_parameter")


def unhonoured(document: Mapping[str, Any], honoured: Collection[str]) -> Iterable[str]:
    """The members that ask for something and are not honoured, in the caller's order."""
    for name, value in document.items():
        if name in _OURS or name in honoured or value is None:
            continue
        if not is_neutral(name, value):
            yield name
