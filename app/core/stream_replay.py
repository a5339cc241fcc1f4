"""Between the two shapes of one answer: a plain body as a stream, and a stream as a plain body.

Both in the house form of a stream: clean events, ``"usage": null`` as the last member of each, then
one usage chunk, then the end mark. ``app.core.stream_view`` gives each caller what it asked for.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.core import sse
from app.core.completion_answer import OBJECT

# A reader may bear lines of 64 KiB only, and JSON can make six bytes of one character.
PIECE_CHARACTERS = 8192
PIECE_TOKENS = 64

_ENVELOPE = ("id", "object", "created", "model")
_CHOICE = frozenset({"text", "index", "logprobs", "finish_reason"})


class NotAssembled(ValueError):
    """These events do not add up to one plain answer."""


def replay(body: bytes) -> bytes:
    """A plain answer as a whole stream in the house form."""
    document = orjson.loads(body)
    usage = document.pop("usage")
    choices = document.pop("choices")
    parts = []
    for choice in choices:
        for piece in _pieces(choice):
            chunk = document | {"choices": [piece], "usage": None}
            parts.append(sse.event(orjson.dumps(chunk)))
    parts.append(sse.event(orjson.dumps(document | {"choices": [], "usage": usage})))
    parts.append(sse.DONE_EVENT)
    return b"".join(parts)


def _pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A choice in pieces that a reader can bear; the last one says how it ended."""
    text, logprobs = choice["text"], choice.get("logprobs")
    if logprobs is not None:
        cuts = _by_token(text, logprobs)
    else:
        starts = range(0, len(text), PIECE_CHARACTERS)
        cuts = [(text[start : start + PIECE_CHARACTERS], None) for start in starts]
    for piece, said in cuts[:-1]:
        yield {
            "text": piece,
            "index": choice["index"],
            "logprobs": said,
            "finish_reason": None,
        }
    piece, said = cuts[-1] if cuts else ("", logprobs)
    yield choice | {"text": piece, "logprobs": said}


def _by_token(text: str, logprobs: dict[str, Any]) -> list[tuple[str, dict[str, Any] | None]]:
    """Pieces that end where a token does, each with its own log-probabilities."""
    tokens = logprobs.get("tokens")
    lists = {name: value for name, value in logprobs.items() if isinstance(value, list)}
    if (
        not isinstance(tokens, list)
        or len(tokens) <= PIECE_TOKENS
        or any(len(value) != len(tokens) for value in lists.values())
    ):
        return [(text, logprobs)]
    # Tokens that are no whole characters do not add up to the text: then any cut is as good.
    whole = all(isinstance(token, str) for token in tokens) and "".join(tokens) == text
    pieces: list[tuple[str, dict[str, Any] | None]] = []
    begin = 0
    for start in range(0, len(tokens), PIECE_TOKENS):
        span = slice(start, start + PIECE_TOKENS)
        own = logprobs | {name: value[span] for name, value in lists.items()}
        end = begin + len("".join(tokens[span])) if whole else len(text) * span.stop // len(tokens)
        pieces.append((text[begin:end], own))
        begin = end
    return pieces


def payloads(data: bytes) -> list[bytes]:
    """The payloads of whole events in the house form."""
    return [event.removeprefix(b"data: ") for event in data.split(b"\n\n")[:-1]]


class Assembly:
    """Adds up the events of one stream, in the house form, to the plain answer.

    ``add`` and ``body`` raise NotAssembled where that cannot be done without guessing.
    """

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, list[str]] = {}
        self._done = False

    def add(self, events: Iterable[bytes]) -> None:
        """Take the payloads of some more events."""
        for payload in events:
            if payload == sse.DONE:
                self._done = True
                continue
            chunk = orjson.loads(payload)
            if "choices" not in chunk:
                raise NotAssembled
            for choice in chunk.pop("choices"):
                self._take(choice)
            for name, value in chunk.items():
                if value is not None or name not in self._document:
                    self._document[name] = value

    def body(self) -> bytes:
        """The plain answer."""
        if not self._done or not self._document.get("usage") or not self._choices:
            raise NotAssembled
        choices = []
        for index in sorted(self._choices):
            choice = self._choices[index]
            choices.append(
                {
                    "text": "".join(self._texts[index]),
                    "index": index,
                    "logprobs": choice.pop("logprobs"),
                    "finish_reason": choice.pop("finish_reason"),
                    **choice,
                }
            )
        document = self._document
        head = {name: document.pop(name) for name in _ENVELOPE}
        usage = document.pop("usage")
        return orjson.dumps(
            {**head, "object": OBJECT, "choices": choices, **document, "usage": usage}
        )

    def _take(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = {"logprobs": None, "finish_reason": None}
            self._texts[index] = []
        self._texts[index].append(choice["text"])
        if choice.get("logprobs") is not None:
            known["logprobs"] = _joined(known["logprobs"], choice["logprobs"])
        if choice.get("finish_reason") is not None:
            known["finish_reason"] = choice["finish_reason"]
        for name, value in choice.items():
            if name not in _CHOICE:
                known[name] = _continued(known.get(name), value)


def _joined(known: dict[str, Any] | None, more: dict[str, Any]) -> dict[str, Any]:
    """Log-probabilities of a text and of what follows it."""
    if known is None:
        return {name: _own(value) for name, value in more.items()}
    for name, value in more.items():
        known[name] = _continued(known.get(name), value)
    return known


def _continued(known: Any, more: Any) -> Any:
    """A member as it stands after one more chunk: lists go on, anything else may only be repeated
    or come late."""
    if more is None or known is None:
        return known if more is None else _own(more)
    if isinstance(known, list) and isinstance(more, list):
        known += more  # in place: a new list each time would be a square of the tokens
        return known
    if known != more or isinstance(more, Mapping):
        raise NotAssembled
    return more


def _own(value: Any) -> Any:
    """A list that can be added to."""
    return list(value) if isinstance(value, list) else value
