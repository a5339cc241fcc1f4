"""A running or replayed stream as one caller gets it.

From the house form (see ``app.core.stream_replay``) to the caller's: with or without usage, under
the indexes of its own batch, and, where a call was taken over by another, from the place where the
caller's stream stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.core import sse
from app.core.stream_replay import payloads, replay

_NO_USAGE = b',"usage":null}\n\n'
_END = b"}\n\n"


class Diverged(Exception):
    """A call that was taken over gives another text than the one already sent."""


class StreamView:
    """Shapes one caller's stream, block by block.

    ``places`` are the positions in the caller's batch of the prompts that the stream answers, and
    ``known`` the plain answers to the others; both None where the stream answers all of it. ``n`` is
    choices per prompt.
    """

    def __init__(
        self,
        *,
        include_usage: bool,
        places: Sequence[int] | None = None,
        known: Mapping[int, bytes] | None = None,
        n: int = 1,
    ) -> None:
        self._include_usage = include_usage
        self._places = places
        self._known = known
        self._n = n
        self._envelope: dict[str, Any] | None = None
        self._sent: dict[int, str] | None = None  # by choice; None while nothing was taken over
        self._ended: set[int] = set()
        self._whole = False  # the caller has the end mark already
        self._seen: dict[int, int] = {}
        self._tokens: dict[int, int] = {}  # sent, by choice, where there are log-probabilities
        self._seen_tokens: dict[int, int] = {}

    def take(self, block: bytes) -> bytes:
        """What the caller gets for a block of whole events; often nothing but the block itself.

        Raises Diverged.
        """
        if self._whole:
            return b""
        if self._known is None and self._sent is None:
            return block if self._include_usage else _without_usage(block)
        return b"".join(map(self._event, payloads(block)))

    def taken_over(self, sent: Sequence[bytes]) -> None:
        """What follows comes from the beginning of another call: leave out what was sent already.

        ``sent`` are the blocks that ``take`` was given so far.
        """
        if self._sent is None:
            self._sent = {}
            for block in sent:
                for payload in payloads(block):
                    if payload == sse.DONE:
                        self._whole = True
                    else:
                        self._take_note(orjson.loads(payload))
        self._seen = {}
        self._seen_tokens = {}

    def _take_note(self, chunk: dict[str, Any]) -> None:
        """Of what the caller has."""
        assert self._sent is not None
        self._remember(chunk)
        for choice in chunk["choices"]:
            index = choice["index"]
            self._sent[index] = self._sent.get(index, "") + choice["text"]
            self._tokens[index] = self._tokens.get(index, 0) + len(_tokens_of(choice))
            if choice["finish_reason"] is not None:
                self._ended.add(index)

    def _remember(self, chunk: dict[str, Any]) -> None:
        if self._envelope is None:
            self._envelope = {name: chunk[name] for name in ("id", "object", "created", "model")}

    def _event(self, payload: bytes) -> bytes:
        if payload == sse.DONE:
            return sse.DONE_EVENT
        chunk = orjson.loads(payload)
        if "choices" not in chunk:
            return sse.event(payload)
        lead = b""
        if self._envelope is None:
            self._remember(chunk)
            lead = self._known_choices()
        assert self._envelope is not None
        chunk |= self._envelope
        if not chunk["choices"] and chunk.get("usage"):
            return lead + self._usage(chunk)
        if chunk["choices"]:
            choices = [kept for choice in chunk["choices"] if (kept := self._choice(choice))]
            if not choices:
                return lead
            chunk["choices"] = choices
        if not self._include_usage:
            del chunk["usage"]
        return lead + sse.event(orjson.dumps(chunk))

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        if self._sent is not None and not self._is_new(choice, self._sent):
            return None
        if self._places is not None:
            index = choice["index"]
            choice["index"] = self._places[index // self._n] * self._n + index % self._n
        return choice

    def _is_new(self, choice: dict[str, Any], all_sent: dict[int, str]) -> bool:
        """Leave only what was not sent; False where that is nothing. Raises Diverged."""
        index, text = choice["index"], choice["text"]
        begun, sent = index in all_sent, all_sent.get(index, "")
        before = self._seen.get(index, 0)
        self._seen[index] = after = before + len(text)
        overlap = sent[before:after]
        if not text.startswith(overlap):
            raise Diverged
        choice["text"] = rest = text[len(overlap) :]
        fresh_tokens = self._without_sent_tokens(choice, overlap, rest)
        all_sent[index] = sent + rest
        if index in self._ended:
            return False
        if choice["finish_reason"] is not None:
            if after < len(sent):
                raise Diverged
            self._ended.add(index)
            return True
        return bool(rest or fresh_tokens or not begun)

    def _without_sent_tokens(self, choice: dict[str, Any], overlap: str, rest: str) -> bool:
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
        if rest and "".join(map(str, tokens[:known])) != overlap:
            raise Diverged
        if known == len(tokens):
            choice["logprobs"] = None
            return False
        if known:
            choice["logprobs"] = {
                name: value[known:] if isinstance(value, list) else value
                for name, value in choice["logprobs"].items()
            }
        return True

    def _known_choices(self) -> bytes:
        """What was known before, under the envelope of the stream."""
        parts = []
        for place, body in (self._known or {}).items():
            for payload in payloads(replay(body))[:-2]:
                chunk = orjson.loads(payload) | (self._envelope or {})
                for choice in chunk["choices"]:
                    choice["index"] += place * self._n
                if not self._include_usage:
                    del chunk["usage"]
                parts.append(sse.event(orjson.dumps(chunk)))
        return b"".join(parts)

    def _usage(self, chunk: dict[str, Any]) -> bytes:
        if not self._include_usage:
            return b""
        usage = chunk["usage"]
        for body in (self._known or {}).values():
            known = orjson.loads(body)["usage"]
            for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                usage[name] += known[name]
        return sse.event(orjson.dumps(chunk))


def _without_usage(block: bytes) -> bytes:
    block = block.replace(_NO_USAGE, _END)
    if block.endswith(sse.DONE_EVENT):
        # The last event before the end mark is the usage chunk.
        before = block[: -len(sse.DONE_EVENT)]
        start = before.rfind(b"\n\n", 0, len(before) - 2)
        return (before[: start + 2] if start >= 0 else b"") + sse.DONE_EVENT
    return block


def _tokens_of(choice: Mapping[str, Any]) -> list[Any]:
    """The tokens that a choice's log-probabilities are about."""
    tokens = (choice.get("logprobs") or {}).get("tokens")
    return tokens if isinstance(tokens, list) else []
