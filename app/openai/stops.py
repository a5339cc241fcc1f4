"""Stop sequences that the upstream does not apply: found by the gateway, in whole answers and across
the borders of chunks. Pure.

A text ends before the first stop sequence in it. While it streams, only what can no longer become
one is given out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def first_stop(text: str, stops: Sequence[str]) -> int:
    """Where the first stop sequence begins; -1 where there is none."""
    found = [place for place in (text.find(stop) for stop in stops) if place >= 0]
    return min(found, default=-1)


class StopScanner:
    """One choice's text as it comes. ``stopped`` once a stop sequence was found."""

    __slots__ = ("_held", "_longest", "_stops", "stopped")

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = stops
        self._longest = max(map(len, stops))
        self._held = ""
        self.stopped = False

    def feed(self, text: str) -> str:
        """What of the text so far can be given out now."""
        text = self._held + text
        place = first_stop(text, self._stops)
        if place >= 0:
            self.stopped = True
            self._held = ""
            return text[:place]
        kept = self._beginning(text)
        self._held = text[kept:]
        return text[:kept]

    def rest(self) -> str:
        """What is left at the end of the choice."""
        held, self._held = self._held, ""
        return held

    def _beginning(self, text: str) -> int:
        """Where the end of the text begins that a stop sequence may begin with."""
        for place in range(max(0, len(text) - self._longest + 1), len(text)):
            end = text[place:]
            if any(stop.startswith(end) for stop in self._stops):
                return place
        return len(text)


def cut_choice(choice: dict[str, Any], stops: Sequence[str]) -> None:
    """A whole choice of a completion or a chat, ended before its first stop sequence."""
    message = choice.get("message")
    holder, member = (message, "content") if isinstance(message, dict) else (choice, "text")
    text = holder.get(member)
    if not isinstance(text, str) or (place := first_stop(text, stops)) < 0:
        return
    holder[member] = text[:place]
    choice["finish_reason"] = "stop"
    logprobs = choice.get("logprobs")
    if isinstance(logprobs, dict):
        choice["logprobs"] = cut_logprobs(logprobs, place)


def cut_logprobs(logprobs: dict[str, Any], length: int) -> dict[str, Any]:
    """The log-probabilities of the tokens that begin within so many characters."""
    content = logprobs.get("content")
    tokens: list[str] = logprobs.get("tokens") or []
    if isinstance(content, list):
        tokens = [str(entry.get("token")) for entry in content]
    kept = size = 0
    for token in tokens:
        if size >= length:
            break
        size += len(token)
        kept += 1
    return {
        name: value[:kept] if isinstance(value, list) else value for name, value in logprobs.items()
    }


class StoppedStream:
    """The chunks of one stream of ``choices`` choices, each ended before its first stop sequence."""

    def __init__(self, stops: Sequence[str], choices: int) -> None:
        self._stops = stops
        self._choices = choices
        self._scanners: dict[Any, StopScanner] = {}
        self._over: set[Any] = set()

    @property
    def all_stopped(self) -> bool:
        """Whether nothing that the upstream may still say is wanted."""
        return len(self._over) >= self._choices and any(
            scanner.stopped for scanner in self._scanners.values()
        )

    def take(self, document: dict[str, Any]) -> bool:
        """Change one chunk in place; False where it says nothing more."""
        choices = document.get("choices")
        if not isinstance(choices, list) or not choices:
            return True
        kept = [choice for choice in choices if self._choice(choice)]
        document["choices"] = kept
        return bool(kept or document.get("usage"))

    def _choice(self, choice: Any) -> bool:
        if not isinstance(choice, dict):
            return True
        index = choice.get("index", 0)
        if index in self._over:
            return False
        scanner = self._scanners.setdefault(index, StopScanner(self._stops))
        delta = choice.get("delta")
        holder, member = (delta, "content") if isinstance(delta, dict) else (choice, "text")
        text = holder.get(member)
        if isinstance(text, str):
            holder[member] = scanner.feed(text)
        if scanner.stopped:
            choice["finish_reason"] = "stop"
        elif choice.get("finish_reason"):
            holder[member] = (holder.get(member) or "") + scanner.rest()
        if choice.get("finish_reason"):
            self._over.add(index)
        return True
