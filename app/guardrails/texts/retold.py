"""What tells a text again, token by token: log-probabilities, and the tokens of an echoed prompt.

It must not say what was cut out of the text, and goes on only when the text that it is of has gone on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from app.guardrails.matching.view import View
from app.guardrails.plan import PhasePlan
from app.openai.said import RETELLING


class Waiting(NamedTuple):
    """What is told again of a text up to character ``end``."""

    end: int
    members: Mapping[str, Any]


class Retold:
    """What one choice of a stream tells again, until its text has gone on."""

    __slots__ = ("_over", "_waiting")

    def __init__(self) -> None:
        self._waiting: list[Waiting] = []
        self._over = False

    def hold(self, end: int, members: Mapping[str, Any]) -> None:
        if not self._over:
            self._waiting.append(Waiting(end, members))

    def forget(self) -> None:
        """Something was cut out of the text: nothing is told again from here on."""
        self._over = True
        self._waiting = []

    def ready(self, decided: int | None) -> dict[str, Any]:
        """What may go on with the text up to a character; None: with all of it."""
        ready = [one for one in self._waiting if decided is None or one.end <= decided]
        self._waiting = self._waiting[len(ready) :]
        members: dict[str, Any] = {}
        for one in ready:
            for name, value in one.members.items():
                members[name] = _joined(members.get(name), value)
        return members


def tells(plan: PhasePlan, value: Any) -> bool:
    """Whether what is told again holds something that a rule acts on."""
    if plan.acting is None:
        return False
    row: list[str] = []
    others: list[str] = []
    _collect(value, row, others)
    return any(
        View(plan.acting).feed(text, final=True) for text in ("".join(row), "\n".join(others))
    )


def without(holder: dict[str, Any]) -> None:
    """Take out of a choice or an answer whatever it tells again."""
    for name in RETELLING & holder.keys():
        holder[name] = None


def _collect(value: Any, row: list[str], others: list[str]) -> None:
    """The tokens of a text in their order, and those that would have been likely in their place."""
    if isinstance(value, list):
        for item in value:
            if isinstance(item, str):
                row.append(item)
            else:
                _collect(item, row, others)
    elif isinstance(value, dict):
        token = value.get("token", value.get("decoded_token"))
        if isinstance(token, str):
            row.append(token)
        for name, child in value.items():
            if name.startswith("top_"):
                _strings(child, others)
            elif isinstance(child, dict | list):
                _collect(child, row, others)


def _strings(value: Any, found: list[str]) -> None:
    if isinstance(value, str):
        found.append(value)
    elif isinstance(value, list):
        for item in value:
            _strings(item, found)
    elif isinstance(value, dict):
        for name, child in value.items():
            found.append(name)
            _strings(child, found)


def _joined(first: Any, second: Any) -> Any:
    """Two stretches of the same lists, one after the other."""
    if isinstance(first, list) and isinstance(second, list):
        return first + second
    if isinstance(first, dict) and isinstance(second, dict):
        names: Sequence[str] = [*first, *(name for name in second if name not in first)]
        return {name: _joined(first.get(name), second.get(name)) for name in names}
    return second if second is not None else first
