"""Between the two shapes of one chat answer: a plain body as a stream, and a stream as a plain body.

Chunks carry no usage; how the stream ended says what it used (see ``app.core.reply``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import orjson

from app.core.family import NotAssembled, Replay
from app.core.reply import Chunk, StreamEnd
from app.core.usage import Usage, read_usage
from app.openai.chat.answer import OBJECT, TEXTS
from app.openai.chat.joining import Message, continued, joined_logprobs
from app.openai.chat.stream import OBJECT as CHUNK

# A reader may bear lines of 64 KiB only, and JSON can make six bytes of one character. A sound's
# data is cut where a group of four letters ends, so that each piece can be decoded by itself.
PIECE_CHARACTERS = 8192
PIECE_TOKENS = 64

_FILTERED = "content_filter_results"  # by which Azure says how far its filters have come
_ENVELOPE = ("id", "object", "created", "model")
_NOT_KEPT = frozenset({"choices", "obfuscation"})
_CHOICE = frozenset({"delta", "index", "logprobs", "finish_reason"})
_CUT_APART = frozenset({"role", "tool_calls", "function_call", "audio", *TEXTS})

Delta = dict[str, Any]
Piece = tuple[Delta, dict[str, Any] | None]  # with its log-probabilities


def replay(body: bytes) -> Replay:
    """A plain answer as a whole stream."""
    document = orjson.loads(body)
    usage = document.pop("usage")
    choices = document.pop("choices")
    head = {name: document.pop(name) for name in _ENVELOPE} | {"object": CHUNK}
    chunks = [
        Chunk.of({**head, **document, "choices": [piece]})
        for choice in choices
        for piece in _pieces(choice)
    ]
    end = StreamEnd(read_usage(usage) or Usage(0, 0), {**document, "usage": usage})
    return Replay(chunks, end)


def _pieces(choice: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A choice as deltas that a reader can bear: its role first, its finish reason last."""
    message, logprobs = choice.pop("message"), choice.pop("logprobs", None)
    index, reason = choice.pop("index"), choice.pop("finish_reason")
    says = isinstance(message.get("content"), str)
    begin: Delta = {"role": "assistant", "content": "" if says else None}
    begin |= {name: value for name, value in message.items() if name not in _CUT_APART}
    for delta, said in [(begin, None), *_deltas(message, logprobs)]:
        yield {"index": index, "delta": delta, "logprobs": said, "finish_reason": None}
    yield {"index": index, "delta": {}, "logprobs": None, "finish_reason": reason, **choice}


def _deltas(message: dict[str, Any], logprobs: dict[str, Any] | None) -> Iterator[Piece]:
    for name in ("reasoning_content", "reasoning"):
        for text in _cut(message.get(name)):
            yield {name: text}, None
    for name in ("content", "refusal"):
        own = logprobs.get(name) if logprobs else None
        for text, said in _by_token(message.get(name), own):
            yield {name: text}, ({"content": None, "refusal": None, name: said} if said else None)
    for index, call in enumerate(message.get("tool_calls") or ()):
        for piece in _call(call):
            # Some plain answers have an index too, which may be null.
            yield {"tool_calls": [{"index": index} | piece | {"index": index}]}, None
    called = message.get("function_call")
    if called:
        yield {"function_call": {**called, "arguments": ""}}, None
        for text in _cut(called.get("arguments")):
            yield {"function_call": {"arguments": text}}, None
    audio = message.get("audio")
    if audio:
        for name in ("transcript", "data"):
            for text in _cut(audio.get(name)):
                yield {"audio": {"id": audio.get("id"), name: text}}, None
        cut = [name for name in ("transcript", "data") if audio.get(name)]
        rest = {name: value for name, value in audio.items() if name not in cut}
        yield {"audio": rest}, None


def _call(call: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A tool call as it begins, and its arguments in pieces."""
    kind, member = ("custom", "input") if "custom" in call else ("function", "arguments")
    yield {**call, kind: {**call[kind], member: ""}}
    for text in _cut(call[kind][member]):
        yield {kind: {member: text}}


def _cut(text: str | None) -> list[str]:
    starts = range(0, len(text or ""), PIECE_CHARACTERS)
    return [(text or "")[start : start + PIECE_CHARACTERS] for start in starts]


def _by_token(text: str | None, entries: Any) -> list[tuple[str, list[Any] | None]]:
    """Pieces of a text that end where a token does, each with its own log-probabilities."""
    if not entries:
        return [(piece, None) for piece in _cut(text)]
    text = text or ""
    tokens = [entry["token"] for entry in entries if isinstance(entry, dict) and "token" in entry]
    # Tokens that are no whole characters do not add up to the text: then any cut is as good.
    whole = len(tokens) == len(entries) and "".join(map(str, tokens)) == text
    pieces: list[tuple[str, list[Any] | None]] = []
    begin = 0
    for start in range(0, len(entries), PIECE_TOKENS):
        stop = min(start + PIECE_TOKENS, len(entries))
        if whole:
            end = begin + len("".join(tokens[start:stop]))
        else:
            end = len(text) * stop // len(entries)
        pieces.append((text[begin:end], entries[start:stop]))
        begin = end
    return pieces


class ChatAssembly:
    """Adds up the chunks of one stream to the plain answer.

    ``add`` and ``body`` raise NotAssembled where that cannot be done without guessing.
    """

    def __init__(self) -> None:
        self._document: dict[str, Any] = {}
        self._choices: dict[int, dict[str, Any]] = {}
        self._messages: dict[int, Message] = {}

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
                    "index": index,
                    "message": self._messages[index].whole(),
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
            if name not in _NOT_KEPT and (value is not None or name not in document):
                document[name] = value

    def _take(self, choice: dict[str, Any]) -> None:
        index = choice["index"]
        known = self._choices.get(index)
        if known is None:
            known = self._choices[index] = {"logprobs": None, "finish_reason": None}
            self._messages[index] = Message()
        self._messages[index].add(choice.get("delta") or {})
        if choice.get("logprobs") is not None:
            known["logprobs"] = joined_logprobs(known["logprobs"], choice["logprobs"])
        if choice.get("finish_reason") is not None:
            known["finish_reason"] = choice["finish_reason"]
        for name, value in choice.items():
            if name not in _CHOICE:
                before = known.get(name)
                if isinstance(before, dict) and isinstance(value, dict) and name == _FILTERED:
                    known[name] = before | value
                else:
                    known[name] = continued(before, value)
