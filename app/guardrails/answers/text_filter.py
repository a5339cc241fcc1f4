"""One text on its way out, piece by piece: what may go on goes on, the rest is held or replaced."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from typing import Protocol

import orjson

from app.guardrails.answers.redactor import Found, Redactor, Replace, Step
from app.guardrails.matching.scanner import Finding, Scanner

LabelOf = Callable[[Finding], str | None]

_SIMPLE = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_ESCAPE = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)
_TOKEN = re.compile(r'\\u[0-9a-fA-F]{4}|\\.|"|[^\\"]+|\\', re.DOTALL)
_UNFINISHED = re.compile(r"\\(?:u[0-9a-fA-F]{0,3})?\Z")
_HIGH = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}\Z")


class TextFilter(Protocol):
    """Takes pieces of a text and gives back what may go on of it: see ``Redactor.feed``."""

    @property
    def held(self) -> int:
        """How many characters wait for a decision."""
        ...

    def feed(self, piece: str, *, final: bool = False, coarse: bool = False) -> str: ...


class PlainFilter:
    """A text as it stands."""

    __slots__ = ("_redactor", "_waiting")

    def __init__(self, scanner: Scanner, label_of: LabelOf) -> None:
        self._redactor = Redactor(scanner, label_of)
        self._waiting = ""

    @property
    def held(self) -> int:
        return self._redactor.held

    def feed(self, piece: str, *, final: bool = False, coarse: bool = False) -> str:
        return self._after(piece, self._redactor.feed(piece, final=final, coarse=coarse))

    def _after(self, piece: str, steps: list[Step]) -> str:
        text = self._waiting + piece
        out: list[str] = []
        at = 0
        for step in steps:
            if isinstance(step, Replace):
                out.append(step.label)
            else:
                out.append(text[at : at + step.size])
            at += step.size
        self._waiting = text[at:]
        return "".join(out)


class JsonFilter:
    """A text that is JSON: it is read decoded, and goes on as it was written.

    A pattern over the escaped text would miss what an escape stands in. What cannot be cut out
    without breaking the JSON, because it is not all within one string, blocks.
    """

    __slots__ = ("_in_string", "_raw", "_redactor", "_rest")

    def __init__(self, scanner: Scanner, label_of: LabelOf) -> None:
        self._redactor = Redactor(scanner, label_of)
        self._rest = ""  # an escape that is not whole yet
        # What waits: as it was written, how many characters that is decoded, whether it may be cut.
        self._raw: deque[tuple[str, int, bool]] = deque()
        self._in_string = False

    @property
    def held(self) -> int:
        return self._redactor.held

    def feed(self, piece: str, *, final: bool = False, coarse: bool = False) -> str:
        decoded = self._decoded(piece, final=final)
        return self._after(self._redactor.feed(decoded, final=final, coarse=coarse))

    def _decoded(self, piece: str, *, final: bool = False) -> str:
        """The characters that a piece stands for; notes how each was written."""
        text = self._rest + piece
        self._rest = ""
        if not final and (cut := _cut(text)) < len(text):
            text, self._rest = text[:cut], text[cut:]
        decoded: list[str] = []
        tokens = _TOKEN.findall(text)
        position = 0
        while position < len(tokens):
            token = tokens[position]
            if token == '"':  # noqa: S105 - a token of JSON
                self._in_string = not self._in_string
                self._raw.append((token, 1, False))
                decoded.append(token)
            elif token[0] == "\\" and len(token) > 1:
                if _HIGH.match(token) and _is_low(tokens[position + 1 : position + 2]):
                    position += 1
                    token += tokens[position]
                self._raw.append((token, 1, self._in_string))
                decoded.append(_character(token))
            else:
                self._raw.append((token, len(token), self._in_string))
                decoded.append(token)
            position += 1
        return "".join(decoded)

    def _after(self, steps: list[Step]) -> str:
        out: list[str] = []
        for step in steps:
            if not isinstance(step, Replace):
                out += (raw for raw, _ in self._take(step.size))
                continue
            if step.label:
                if self._raw and not self._raw[0][2]:
                    raise Found(step.finding)
                out.append(orjson.dumps(step.label)[1:-1].decode())
            if not all(inside for _, inside in self._take(step.size)):
                raise Found(step.finding)
        return "".join(out)

    def _take(self, size: int) -> list[tuple[str, bool]]:
        """The next decoded characters as they were written."""
        taken = []
        while size > 0:
            raw, length, inside = self._raw.popleft()
            if length > size:
                self._raw.appendleft((raw[size:], length - size, inside))
                raw, length = raw[:size], size
            taken.append((raw, inside))
            size -= length
        return taken


def _cut(text: str) -> int:
    """Where an escape, or a pair of them for one character, begins that is not whole yet."""
    unfinished = _UNFINISHED.search(text)
    end = unfinished.start() if unfinished and _is_escape(text, unfinished.start()) else len(text)
    high = _HIGH.search(text, 0, end)
    if high is not None and _is_escape(text, high.start()):
        return high.start()
    return end


def _is_escape(text: str, at: int) -> bool:
    """Whether a backslash begins an escape and does not end one."""
    before = len(text[:at]) - len(text[:at].rstrip("\\"))
    return before % 2 == 0


def _is_low(tokens: list[str]) -> bool:
    return bool(tokens) and tokens[0][:2] == "\\u" and tokens[0][2:4].lower() in _LOW


_LOW = ("dc", "dd", "de", "df")


def _character(token: str) -> str:
    if token[1] != "u":
        return _SIMPLE.get(token[1], token[1])
    codes = [int(token[at + 2 : at + 6], 16) for at in range(0, len(token), 6)]
    if len(codes) == 2:
        return chr(0x10000 + ((codes[0] - 0xD800) << 10) + codes[1] - 0xDC00)
    return "\ufffd" if 0xD800 <= codes[0] < 0xE000 else chr(codes[0])
