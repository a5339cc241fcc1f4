"""A shared stream as one caller gets it, from the place where the caller's stream stands.

A conversation is one prompt, so every caller of one flight gets all of it; only where a call was
taken over by another is there anything to leave out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app.core.family import Diverged
from app.core.reply import Chunk, StreamEnd
from app.openai.chat.answer import TEXTS

_FOLLOWED = frozenset({"role", "tool_calls", *TEXTS})
_CALLED = (("function", "arguments"), ("custom", "input"))

# Which text of which choice: (choice, name) or (choice, "tool", index of the call).
Place = tuple[Any, ...]


class ChatView:
    """Shapes one caller's stream."""

    def __init__(self) -> None:
        self._envelope: dict[str, Any] | None = None
        self._sent: dict[Place, str] | None = None  # None while nothing was taken over
        self._seen: dict[Place, int] = {}
        self._named: dict[Place, tuple[str, str]] = {}  # the id and the name of each call sent
        self._begun: set[int] = set()
        self._ended: set[int] = set()
        self._tokens: dict[int, int] = {}  # sent, by choice, where there are log-probabilities
        self._seen_tokens: dict[int, int] = {}
        self._incomparable = False  # what was sent holds more than texts and tool calls

    def take(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """What the caller gets for some chunks; often just those. Raises Diverged."""
        if self._sent is None:
            return chunks
        if self._incomparable:
            raise Diverged
        return [own for chunk in chunks if (own := self._own(chunk.document)) is not None]

    def end(self, end: StreamEnd) -> StreamEnd:
        """The end as the caller gets it."""
        return end

    def taken_over(self, sent: Sequence[Chunk]) -> None:
        """What follows comes from the beginning of another call: leave out what was sent already.

        ``sent`` are the chunks that ``take`` was given so far.
        """
        if self._sent is None:
            self._sent = {}
            for chunk in sent:
                self._take_note(chunk.document, self._sent)
        self._seen = {}
        self._seen_tokens = {}

    def _take_note(self, document: Mapping[str, Any], all_sent: dict[Place, str]) -> None:
        """Of what the caller has."""
        if self._envelope is None:
            self._envelope = {name: document[name] for name in ("id", "object", "created", "model")}
        for choice in document["choices"]:
            index, delta = choice["index"], choice["delta"]
            self._incomparable = self._incomparable or _has_others(delta)
            self._begun.add(index)
            for place, text in _texts(index, delta):
                all_sent[place] = all_sent.get(place, "") + text
            for call in delta.get("tool_calls") or ():
                if call.get("id"):
                    self._named[index, call["index"]] = (call["id"], _name(call))
            self._tokens[index] = self._tokens.get(index, 0) + len(_tokens_of(choice))
            if choice["finish_reason"] is not None:
                self._ended.add(index)

    def _own(self, document: Mapping[str, Any]) -> Chunk | None:
        """One chunk as the caller gets it; None where it has all of it."""
        own = {**document, **(self._envelope or {})}
        if document["choices"]:
            choices = [
                kept for choice in document["choices"] if (kept := self._choice(choice)) is not None
            ]
            if not choices:
                return None
            own["choices"] = choices
        return Chunk.of(own)

    def _choice(self, choice: Mapping[str, Any]) -> dict[str, Any] | None:
        """What of a choice is new; None where that is nothing. Raises Diverged."""
        assert self._sent is not None
        index, delta = choice["index"], choice["delta"]
        if _has_others(delta):
            raise Diverged
        begun, ended = index in self._begun, index in self._ended
        self._begun.add(index)
        fresh: dict[str, Any] = {} if begun or "role" not in delta else {"role": delta["role"]}
        overlap = ""
        for name in TEXTS:
            text = delta.get(name)
            if text:
                rest = self._rest((index, name), text)
                if name == "content":
                    overlap = text[: len(text) - len(rest)]
                if rest:
                    fresh[name] = rest
            elif not begun and name in delta:
                fresh[name] = text
        calls = [new for call in delta.get("tool_calls") or () if (new := self._call(index, call))]
        if calls:
            fresh["tool_calls"] = calls
        own = {**choice, "delta": fresh}
        fresh_tokens = self._without_sent_tokens(own, overlap, bool(fresh.get("content")))
        if ended:
            return None
        if choice["finish_reason"] is not None:
            if any(
                self._seen.get(place, 0) < len(text)
                for place, text in self._sent.items()
                if place[0] == index
            ):
                raise Diverged
            self._ended.add(index)
            return own
        return own if fresh or fresh_tokens else None

    def _rest(self, place: Place, text: str) -> str:
        """What of a text was not sent. Raises Diverged."""
        assert self._sent is not None
        sent, before = self._sent.get(place, ""), self._seen.get(place, 0)
        self._seen[place] = before + len(text)
        overlap = sent[before : before + len(text)]
        if not text.startswith(overlap):
            raise Diverged
        rest = text[len(overlap) :]
        self._sent[place] = sent + rest
        return rest

    def _call(self, index: int, call: Mapping[str, Any]) -> dict[str, Any] | None:
        """What of a piece of a tool call is new. Raises Diverged."""
        place = call["index"]
        new: dict[str, Any] = {"index": place}
        named = self._named.get((index, place))
        if call.get("id"):
            if named is None:
                self._named[index, place] = (call["id"], _name(call))
                new |= {name: value for name, value in call.items() if name not in dict(_CALLED)}
                for kind, _ in _CALLED:
                    if kind in call:
                        new[kind] = dict(call[kind])
            elif named[1] != _name(call):  # ids differ from call to call, the tool must not
                raise Diverged
        for kind, member in _CALLED:
            text = (call.get(kind) or {}).get(member)
            if text:
                rest = self._rest((index, "tool", place), text)
                if rest or kind in new:
                    new[kind] = {**new.get(kind, {}), member: rest}
        return new if len(new) > 1 else None

    def _without_sent_tokens(self, choice: dict[str, Any], overlap: str, says_more: bool) -> bool:
        """Take the log-probabilities of what was sent out of a choice; whether any are left.

        Raises Diverged where a token does not end where the first call's did.
        """
        index, tokens = choice["index"], _tokens_of(choice)
        if not tokens:
            return False
        before = self._seen_tokens.get(index, 0)
        self._seen_tokens[index] = after = before + len(tokens)
        sent = self._tokens.get(index, 0)
        self._tokens[index] = max(sent, after)
        known = min(max(0, sent - before), len(tokens))
        if says_more and "".join(str(entry.get("token")) for entry in tokens[:known]) != overlap:
            raise Diverged
        if known == len(tokens):
            choice["logprobs"] = None
            return False
        if known:
            choice["logprobs"] = {**choice["logprobs"], "content": tokens[known:]}
        return True


def _has_others(delta: Mapping[str, Any]) -> bool:
    """Whether it holds a sound, notes or other things, which cannot be cut where another call's
    stand."""
    return any(value for name, value in delta.items() if name not in _FOLLOWED)


def _texts(index: int, delta: Mapping[str, Any]) -> list[tuple[Place, str]]:
    found: list[tuple[Place, str]] = [
        ((index, name), delta[name]) for name in TEXTS if delta.get(name)
    ]
    for call in delta.get("tool_calls") or ():
        for kind, member in _CALLED:
            text = (call.get(kind) or {}).get(member)
            if text:
                found.append(((index, "tool", call["index"]), text))
    return found


def _name(call: Mapping[str, Any]) -> str:
    return str((call.get("function") or call.get("custom") or {}).get("name"))


def _tokens_of(choice: Mapping[str, Any]) -> list[Any]:
    """The tokens that a choice's log-probabilities are about."""
    tokens = (choice.get("logprobs") or {}).get("content")
    return tokens if isinstance(tokens, list) else []
