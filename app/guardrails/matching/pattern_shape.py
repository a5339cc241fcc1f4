"""How wide a match of a pattern can be, read off its RE2 syntax.

A stream is held back by the widest match less one character, so the width must be known before any
text has come. RE2 itself does not tell it. Source of the syntax: github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

Alphabet = frozenset[str] | None  # None: any character


class Shape(NamedTuple):
    """Widths in characters; ``widest`` is None where a repeat has no end.

    ``alphabet`` are the characters that a match can consist of, None where that may be any: what
    ends a row of them also ends every match that is under way.
    """

    narrowest: int
    widest: int | None
    alphabet: Alphabet


_NOTHING = Shape(0, 0, frozenset())
_REPEAT = re.compile(r"\{(\d+)(?:(,)(\d*))?\}")
_GROUP = re.compile(r"\((?:\?P?<\w+>|\?(-?[imsU]+(?:-[imsU]+)?)?(:|\)))?")
_ESCAPE = re.compile(r"\\[pP](?:\{[^}]*\}|.)|\\x\{[0-9A-Fa-f]+\}|\\x..|\\[0-7]{1,3}|\\.", re.DOTALL)
_ZERO_WIDTH = frozenset(r"\b \B \A \z".split())
_DIGITS = frozenset("0123456789")
_WORD = _DIGITS | frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_NAMED: dict[str, Alphabet] = {
    r"\d": _DIGITS,
    r"\w": _WORD,
    r"\s": frozenset(" \t\n\r\f\v"),
    r"\n": frozenset("\n"),
    r"\t": frozenset("\t"),
    r"\r": frozenset("\r"),
    r"\f": frozenset("\f"),
    r"\v": frozenset("\v"),
    r"\a": frozenset("\a"),
    "[:alnum:]": _WORD - {"_"},
    "[:digit:]": _DIGITS,
    "[:alpha:]": _WORD - _DIGITS - {"_"},
    "[:word:]": _WORD,
}


def shape_of(pattern: str) -> Shape:
    """The shape of a pattern that RE2 accepts."""
    shape, _ = _alternatives(pattern, 0)
    alphabet = shape.alphabet
    if alphabet is not None and re.search(r"\(\?[a-zA-Z]*i", pattern):
        # The two signs are those that RE2 counts as S and K when case does not matter.
        both = {letter.swapcase() for letter in alphabet} | {"\u017f", "\u212a"}
        shape = shape._replace(alphabet=alphabet | both)
    return shape


def _alternatives(text: str, at: int) -> tuple[Shape, int]:
    """The shape of what stands up to the closing bracket, and where that is."""
    branches: list[Shape] = []
    current = _NOTHING
    while at < len(text) and text[at] != ")":
        if text[at] == "|":
            branches.append(current)
            current = _NOTHING
            at += 1
            continue
        item, at = _item(text, at)
        item, at = _repeated(item, text, at)
        current = _joined(current, item)
    branches.append(current)
    return _either(branches), at


def _item(text: str, at: int) -> tuple[Shape, int]:
    character = text[at]
    if character == "(":
        group = _GROUP.match(text, at)
        assert group is not None
        if group[0].endswith(")"):
            return _NOTHING, group.end()  # flags for what follows
        shape, end = _alternatives(text, group.end())
        return shape, end + 1
    if character == "[":
        return _class(text, at)
    if character == "\\":
        return _escape(text, at)
    if character in "^$":
        return _NOTHING, at + 1
    return Shape(1, 1, None if character == "." else frozenset(character)), at + 1


def _escape(text: str, at: int) -> tuple[Shape, int]:
    if text.startswith("\\Q", at):
        end = text.find("\\E", at)
        end = len(text) if end < 0 else end
        quoted = text[at + 2 : end]
        return Shape(len(quoted), len(quoted), frozenset(quoted)), end + 2
    escape = _ESCAPE.match(text, at)
    assert escape is not None
    if escape[0] in _ZERO_WIDTH:
        return _NOTHING, escape.end()
    return Shape(1, 1, _escaped(escape[0])), escape.end()


def _escaped(escape: str) -> Alphabet:
    """What an escape stands for."""
    if escape.startswith((r"\x", r"\0", r"\1", r"\2")):
        digits = escape[2:].strip("{}") if escape[1] == "x" else ""
        return frozenset(chr(int(digits, 16))) if digits else None
    if escape in _NAMED:
        return _NAMED[escape]
    plain = len(escape) == 2 and not escape[1].isalnum()
    return frozenset(escape[1]) if plain else None


def _class(text: str, at: int) -> tuple[Shape, int]:
    """``[…]``; a ``]`` that stands first is one of its characters."""
    negated = text.startswith("[^", at)
    at += 2 if negated else 1
    start = at
    parts: list[str] = []
    while text[at] != "]" or at == start:
        if text.startswith("[:", at) and (end := text.find(":]", at)) >= 0:
            parts.append(text[at : end + 2])
            at = end + 2
        elif text[at] == "\\":
            escape = _ESCAPE.match(text, at)
            assert escape is not None
            parts.append(escape[0])
            at = escape.end()
        else:
            parts.append(text[at])
            at += 1
    return Shape(1, 1, None if negated else _union(parts)), at + 1


def _union(parts: list[str]) -> Alphabet:
    """The characters of a class, given as its characters, escapes and names."""
    members: set[str] = set()
    position = 0
    while position < len(parts):
        part = parts[position]
        ranged = position + 2 < len(parts) and parts[position + 1] == "-"
        last = parts[position + 2] if ranged else None
        if last is not None and len(part) == len(last) == 1:
            members.update(map(chr, range(ord(part), ord(last) + 1)))
            position += 3
            continue
        if last is not None and (len(part) > 2 or len(last) > 2):
            return None  # a range between escapes
        known = _NAMED.get(part) if part.startswith("[:") else None
        if known is None:
            known = frozenset(part) if len(part) == 1 else _escaped(part)
        if known is None:
            return None
        members |= known
        position += 1
    return frozenset(members)


def _repeated(shape: Shape, text: str, at: int) -> tuple[Shape, int]:
    while at < len(text):
        low, high, end = 1, 1, at
        character = text[at]
        most: int | None = high
        if character in "*+?":
            low, most = (1 if character == "+" else 0), (1 if character == "?" else None)
            end = at + 1
        elif character == "{" and (count := _REPEAT.match(text, at)):
            low = int(count[1])
            most = low if count[2] is None else int(count[3]) if count[3] else None
            end = count.end()
        else:
            break
        if end < len(text) and text[end] == "?":
            end += 1  # lazy
        shape, at = _times(shape, low, most), end
    return shape, at


def _times(shape: Shape, low: int, most: int | None) -> Shape:
    if shape.widest == 0:
        widest: int | None = 0
    else:
        widest = None if most is None or shape.widest is None else shape.widest * most
    return Shape(shape.narrowest * low, widest, shape.alphabet)


def _joined(first: Shape, second: Shape) -> Shape:
    endless = first.widest is None or second.widest is None
    return Shape(
        first.narrowest + second.narrowest,
        None if endless else (first.widest or 0) + (second.widest or 0),
        _either_alphabet((first.alphabet, second.alphabet)),
    )


def _either(branches: list[Shape]) -> Shape:
    widths = [branch.widest for branch in branches]
    return Shape(
        min(branch.narrowest for branch in branches),
        None if None in widths else max(width or 0 for width in widths),
        _either_alphabet([branch.alphabet for branch in branches]),
    )


def _either_alphabet(alphabets: Iterable[Alphabet]) -> Alphabet:
    members: set[str] = set()
    for alphabet in alphabets:
        if alphabet is None:
            return None
        members |= alphabet
    return frozenset(members)
