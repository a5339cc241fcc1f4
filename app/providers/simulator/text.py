"""What the simulator says: text that depends on the request alone, with honest counts.

The same request always gets the same answer. Nothing is meant by it: it is for trying the gateway
and for load tests, where a real model would be slow, costly and different every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from hashlib import blake2b
from typing import Any, NamedTuple

Prompt = str | list[int]

_WORDS = (
    " the a one this every some small quiet bright open early late old new river road house light"
    " morning letter garden window story city winter machine answer question harbour mountain"
    " reads writes waits moves turns opens carries finds keeps begins ends and or but then because"
    " while near under over slowly gladly again today always never . , ; :"
).split()
_PIECES = re.compile(r"\s?\w{1,8}|\s?[^\w\s]|\s")


class Token(NamedTuple):
    """A piece of text, its log-probability, and the likeliest pieces with theirs."""

    text: str
    logprob: float
    top: dict[str, float]


class Choice(NamedTuple):
    """One finished choice: echoed tokens, generated tokens, and why it ended."""

    echoed: list[Token]
    generated: list[Token]
    finish_reason: str


def tokens_of(prompt: Prompt) -> list[str]:
    """The prompt as the simulator's tokens; joined they are its text."""
    if isinstance(prompt, str):
        return _PIECES.findall(prompt)
    return [_word(number) for number in prompt]


def pieces_of(text: str) -> list[str]:
    """A text in pieces of a token's size."""
    return _PIECES.findall(text)


def plain_tokens(text: str) -> list[Token]:
    """A text that was not chosen word by word, as tokens."""
    return [Token(piece, 0.0, {}) for piece in pieces_of(text)]


def generate(document: dict[str, Any], prompt: Prompt, choice: int) -> Choice:
    """The ``choice``-th completion (from 0) of a prompt under a request's parameters."""
    pieces = tokens_of(prompt)
    max_tokens = document.get("max_tokens", 16)
    wanted = document.get("logprobs")
    top = wanted if type(wanted) is int else 0
    sampled = document.get("temperature", 1) != 0
    seed = repr((prompt, document.get("suffix"), document.get("seed"), choice if sampled else 0))
    generated, reason = _continue(seed.encode(), max_tokens, _stops(document.get("stop")), top)
    echoed = _echo(pieces, top) if document.get("echo") else []
    return Choice(echoed, generated, reason)


def _continue(seed: bytes, max_tokens: int, stops: list[str], top: int) -> tuple[list[Token], str]:
    numbers = _numbers(seed)
    natural_end = 24 + next(numbers) % 200
    tokens: list[Token] = []
    text = ""
    for position in range(max_tokens):
        if position == natural_end:
            return tokens, "stop"
        piece = _word(next(numbers))
        text += piece
        cut = _stop_at(text, stops)
        if cut is not None:
            return _cut([*tokens, _token(piece, next(numbers), top)], cut), "stop"
        tokens.append(_token(piece, next(numbers), top))
    return tokens, "length"


def _cut(tokens: list[Token], length: int) -> list[Token]:
    """The tokens of the first ``length`` characters; the last one may be shortened."""
    kept: list[Token] = []
    for token in tokens:
        if length <= 0:
            break
        kept.append(token._replace(text=token.text[:length]))
        length -= len(token.text)
    return kept


def _stop_at(text: str, stops: list[str]) -> int | None:
    places = [place for place in map(text.find, stops) if place >= 0]
    return min(places) if places else None


def _stops(stop: Any) -> list[str]:
    stops = [stop] if isinstance(stop, str) else list(stop or ())
    return [text for text in stops if text]


def _echo(pieces: list[str], top: int) -> list[Token]:
    return [
        _token(piece, number, top)
        for piece, number in zip(pieces, _numbers("".join(pieces).encode()), strict=False)
    ]


def _token(text: str, number: int, top: int) -> Token:
    logprob = -(number % 4000) / 1000
    alternatives = {text: logprob} if top else {}
    rank = 0
    while len(alternatives) < top:
        rank += 1
        alternatives.setdefault(_word(number // 7 + rank), logprob - rank / 2)
    return Token(text, logprob, alternatives)


def _word(number: int) -> str:
    word = _WORDS[number % len(_WORDS)]
    return word if word in ".,;:" else f" {word}"


def _numbers(seed: bytes) -> Iterator[int]:
    """An endless stream of numbers below 2**32 that depends on the seed alone."""
    block = 0
    while True:
        digest = blake2b(seed, key=block.to_bytes(8, "big")).digest()
        for start in range(0, len(digest), 4):
            yield int.from_bytes(digest[start : start + 4], "big")
        block += 1
