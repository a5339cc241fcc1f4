"""A shared or replayed stream as one caller gets it.

Under the indexes of the caller's own batch, and, where a call was taken over by another, from the
place where the caller's stream stands.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from app.core.family import Diverged
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage, read_usage
from app.openai.completions.replay import replay


class CompletionView:
    """Shapes one caller's stream.

    ``positions`` are the positions in the caller's batch of the prompts that the stream answers, and
    ``known`` the plain answers to the others; both None where the stream answers all of it. ``n`` is
    choices per prompt.
    """

    def __init__(
        self,
        *,
        positions: Sequence[int] | None = None,
        known: Mapping[int, bytes] | None = None,
        n: int = 1,
    ) -> None:
        self._positions = positions
        self._known = known
        self._n = n
        self._envelope: dict[str, Any] | None = None
        self._sent: dict[int, str] | None = None  # by choice; None while nothing was taken over
        self._ended: set[int] = set()
        self._seen: dict[int, int] = {}
        self._tokens: dict[int, int] = {}  # sent, by choice, where there are log-probabilities
        self._seen_tokens: dict[int, int] = {}

    def take(self, chunks: Sequence[Chunk]) -> Sequence[Chunk]:
        """What the caller gets for some chunks; often just those. Raises Diverged."""
        if self._known is None and self._sent is None:
            return chunks
        taken: list[Chunk] = []
        for chunk in chunks:
            if self._envelope is None:
                self._remember(chunk.document)
                taken += self._known_choices()
            own = self._own(chunk.document)
            if own is not None:
                taken.append(own)
        return taken

    def end(self, end: StreamEnd) -> StreamEnd:
        """The end as the caller gets it: with what its known answers used."""
        if not self._known:
            return end
        totals = dict(end.members["usage"])
        for body in self._known.values():
            known = orjson.loads(body)["usage"]
            for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
                totals[name] += known[name]
        usage = read_usage(totals) or Usage(0, 0)
        return StreamEnd(usage, {**end.members, "usage": totals})

    def taken_over(self, sent: Sequence[Chunk]) -> None:
        """What follows comes from the beginning of another call: leave out what was sent already.

        ``sent`` are the chunks that ``take`` was given so far.
        """
        if self._sent is None:
            self._sent = {}
            for chunk in sent:
                self._take_note(chunk.document)
        self._seen = {}
        self._seen_tokens = {}

    def _take_note(self, document: Mapping[str, Any]) -> None:
        """Of what the caller has."""
        assert self._sent is not None
        self._remember(document)
        for choice in document["choices"]:
            index = choice["index"]
            self._sent[index] = self._sent.get(index, "") + choice["text"]
            self._tokens[index] = self._tokens.get(index, 0) + len(_tokens_of(choice))
            if choice["finish_reason"] is not None:
                self._ended.add(index)

    def _remember(self, document: Mapping[str, Any]) -> None:
        if self._envelope is None:
            self._envelope = {name: document[name] for name in ("id", "object", "created", "model")}

    def _own(self, document: Mapping[str, Any]) -> Chunk | None:
        """One chunk as the caller gets it; None where it has all of it."""
        assert self._envelope is not None
        own = dict(document) | self._envelope
        if document["choices"]:
            choices = [
                kept for choice in document["choices"] if (kept := self._choice(dict(choice)))
            ]
            if not choices:
                return None
            own["choices"] = choices
        return Chunk.of(own)

    def _choice(self, choice: dict[str, Any]) -> dict[str, Any] | None:
        if self._sent is not None and not self._is_new(choice, self._sent):
            return None
        if self._positions is not None:
            index = choice["index"]
            choice["index"] = self._positions[index // self._n] * self._n + index % self._n
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

    def _known_choices(self) -> list[Chunk]:
        """What was known before, under the envelope of the stream."""
        chunks = []
        for position, body in (self._known or {}).items():
            for chunk in replay(body).chunks:
                own = chunk.document | (self._envelope or {})
                choices = own["choices"]
                own["choices"] = [c | {"index": c["index"] + position * self._n} for c in choices]
                chunks.append(Chunk.of(own))
        return chunks


def _tokens_of(choice: Mapping[str, Any]) -> list[Any]:
    """The tokens that a choice's log-probabilities are about."""
    tokens = (choice.get("logprobs") or {}).get("tokens")
    return tokens if isinstance(tokens, list) else []
