"""Which members of a chat request a provider can honour; the rest is refused by name."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from app.core.errors import InvalidRequest, Problem

# Values that ask for what happens anyway, so that no provider has to know the member.
_NEUTRAL: dict[str, tuple[Any, ...]] = {
    "n": (1,),
    "best_of": (0, 1),
    "logprobs": (False,),
    "top_logprobs": (0,),
    "echo": (False,),
    "presence_penalty": (0,),
    "frequency_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "parallel_tool_calls": (True,),
    "tools": ([],),
    "functions": ([],),
    "modalities": (["text"],),
    "service_tier": ("auto", "default"),
    "store": (False,),
    "metadata": ({},),
    "verbosity": ("medium",),
    "stop": ([],),
    "suffix": ("",),
}
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


def is_neutral(name: str, value: Any) -> bool:
    """Whether a member asks for no more than what happens without it."""
    return any(
        value == neutral and isinstance(value, bool) == isinstance(neutral, bool)
        for neutral in _NEUTRAL.get(name, ())
    )


def asks(document: Mapping[str, Any], name: str) -> bool:
    """Whether a request has this member with a value that asks for something."""
    value = document.get(name)
    return value is not None and not is_neutral(name, value)
