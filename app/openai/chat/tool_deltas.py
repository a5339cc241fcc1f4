"""The tool calls of a stream, piece by piece: whole when they are joined.

OpenAI's deltas have an ``index``, say id, type and name once, and then the arguments in pieces.
Servers differ: some leave the index out, some give every call the index 0 (Gemini's compatible
endpoint), some repeat id and name in every piece, some send the arguments as an object. Pure.
"""

from __future__ import annotations

from typing import Any

from app.core.errors import UpstreamInvalid
from app.openai.chat.answer import call_id, mend_call

MOST_CALLS = 1024  # of one choice


class ToolDeltas:
    """The tool calls of one choice, so far."""

    __slots__ = ("_by_given", "_ids", "_names")

    def __init__(self) -> None:
        self._ids: list[str] = []  # by our index; "" where its upstream has not said one
        self._names: list[str] = []
        self._by_given: dict[int, int] = {}  # the upstream's index to ours

    def shape(self, calls: Any, owner: str) -> bool:
        """Mend the pieces in place; whether any changed. ``owner`` names the choice, for ids.

        Raises UpstreamInvalid where one cannot be read.
        """
        if not isinstance(calls, list) or not all(isinstance(call, dict) for call in calls):
            raise UpstreamInvalid("The upstream sent tool calls that are no list of objects.")
        changed = False
        for call in calls:
            changed = mend_call(call) or changed
            changed = self._shape_one(call, owner) or changed
        return changed

    def _shape_one(self, call: dict[str, Any], owner: str) -> bool:
        given, said = call.get("index"), call.get("id") or ""
        if not isinstance(said, str) or not (given is None or type(given) is int):
            raise UpstreamInvalid("The upstream sent a tool call whose id or index cannot be.")
        known = self._known(given, said)
        if known is None:
            return self._begin(call, given, said, owner)
        changed = given != known
        call["index"] = known
        for name in ("id", "type"):
            changed = call.pop(name, None) is not None or changed
        function = call.get("function")
        if isinstance(function, dict) and "name" in function:
            again = function.pop("name")
            changed = True
            if again and not self._names[known]:
                self._names[known] = function["name"] = again
            elif again and again != self._names[known]:
                raise UpstreamInvalid("The upstream sent two names for one tool call.")
        return changed

    def _known(self, given: int | None, said: str) -> int | None:
        """Our index of the call that a piece belongs to; None where it begins a new one."""
        if said and said in self._ids:
            return self._ids.index(said)
        if given is not None:
            known = self._by_given.get(given)
            # Another id under the same index is another call.
            return None if known is not None and said and self._ids[known] else known
        return None if said or not self._ids else len(self._ids) - 1

    def _begin(self, call: dict[str, Any], given: int | None, said: str, owner: str) -> bool:
        place = len(self._ids)
        if place >= MOST_CALLS:
            raise UpstreamInvalid("The upstream sent too many tool calls.")
        before = len(call), given, said
        if not said:
            said = call["id"] = call_id(owner, place)
        self._ids.append(said)
        function = call.get("function")
        if isinstance(function, dict):
            call.setdefault("type", "function")
        name = function.get("name") if isinstance(function, dict) else None
        self._names.append(name or "")
        self._by_given[place if given is None else given] = place
        call["index"] = place
        return before != (len(call), place, said)
