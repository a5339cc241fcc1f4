"""Between the two shapes of one answer: a plain body as a stream, and a stream as a plain body.

Chunks carry no usage; how the stream ended says what it used (see ``app.core.reply``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.core.family import NotAssembled, Replay
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage, read_usage
from app.openai.completions.answer import OBJECT

# A reader may bear lines of 64 KiB only, and JSON can make six bytes of one character.
PIECE_CHARACTERS = 8192
PIECE_TOKENS = 64

_FILTERED = "content_filter_results"  # by which Azure says how far its filters have come
_ENVELOPE = ("id", "object", "created", "model")
_CHOICE = frozenset({"text", "index", "logprobs", "finish_reason"})


def replay(body: bytes) -> Replay:
    """A plain answer as a whole stream."""
    document = orjson.loads(body)
    usage = document.pop("usage")
    choices = document.pop("choices")
    chunks = [
        Chunk.of(document | {"choices": [piece]}) for choice in choices for piece in _pieces(choice)
    ]
    rest = {name: value for name, value in document.items() if name not in _ENVELOPE}
    end = StreamEnd(read_usage(usage) or Usage(0, 0), {**rest, "usage": usage})
    return Replay(chunks, end)


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


class CompletionAssembly:
    """Adds up the chunks of one stream to the plain answer.

    ``add`` and ``body`` raise NotAssembled where that cannot be done without guessing.
    """

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._texts: dict[int, list[str]] = {}

    def add(self, chunks: Iterable[Chunk]) -> None:
        """Take some more chunks."""
        for chunk in chunks:
            for choice in chunk.document["choices"]:
                self._take(choice)
            self._note(chunk.document)

    def body(self, end: StreamEnd) -> bytes:
        """The plain answer of a stream that ended so."""
        self._note(end.members)
        if not self._document.get("usage") or not self._choices:
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

    def _note(self, members: Mapping[str, Any]) -> None:
        document = self._document
        for name, value in members.items():
            if name != "choices" and (value is not None or name not in document):
                document[name] = value

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
                before = known.get(name)
                if isinstance(before, dict) and isinstance(value, dict) and name == _FILTERED:
                    known[name] = before | value
                else:
                    known[name] = _continued(before, value)


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
