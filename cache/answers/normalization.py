"""Which prompts of text count as the same question."""

from __future__ import annotations

import re
import unicodedata
from operator import itemgetter
from typing import Literal

Level = Literal["none", "standard", "loose"]

_STEP = 16  # one character in so many tells whether a long row is possible, at little cost
_MAY_HAVE_LONG_ROW = re.compile(r"[^\w\s]{4}").search
_LONG_ROW = re.compile(r"[^\w\s]{64,}")  # 4 x 16; no combining mark is a word's or a space


def normalized(text: str, level: Level) -> str:
    """A prompt's text as it is compared at this level."""
    if level == "none":
        return text
    text = _composed(text).replace("\r\n", "\n").strip()
    return _composed(" ".join(text.split()).casefold()) if level == "loose" else text


def _composed(text: str) -> str:
    """The text in NFC.

    Python sorts a row of combining marks in time that grows with its square: a megabyte of them,
    out of order, would stop the process for minutes. Long rows are sorted beforehand.
    """
    if text.isascii():
        return text
    if _MAY_HAVE_LONG_ROW(text[::_STEP]):
        text = _LONG_ROW.sub(_sorted_marks, text)
    return unicodedata.normalize("NFC", text)


def _sorted_marks(row: re.Match[str]) -> str:
    """The row decomposed, its marks in canonical order: the same text, by Unicode's equivalence."""
    keyed = []
    starters = 0
    for mark in "".join([unicodedata.normalize("NFD", char) for char in row[0]]):
        order = unicodedata.combining(mark)
        starters += order == 0  # no mark passes a character that is none
        keyed.append((starters, order, mark))
    keyed.sort(key=itemgetter(0, 1))
    return "".join([mark for _, _, mark in keyed])
