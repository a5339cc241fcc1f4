"""The form in which a text is read a second time: NFKC, without what nobody sees.

Full-width letters, ligatures, zero-width and bidirectional signs or tag characters would hide a match
from a pattern and not from a model. Sources: Unicode UAX 15 (normalization), UTS 39 (default
ignorable code points).
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache
from typing import NamedTuple

from app.guardrails.matching.pattern import compiled

# Format characters (zero-width, bidirectional, tags, soft hyphen), variation selectors, and the
# fillers that are drawn as nothing.
INVISIBLE = (
    r"[\p{Cf}\x{034F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{3164}\x{FE00}-\x{FE0F}"
    r"\x{FFA0}\x{E0100}-\x{E01EF}]"
)
# Of these, what no writing needs: emoji and the scripts of India and Persia join characters with
# some of the others.
SMUGGLING = (
    r"[\x{200B}\x{2060}-\x{2064}\x{202A}-\x{202E}\x{2066}-\x{206F}\x{180E}\x{E0000}-\x{E007F}"
    r"\x{E0100}-\x{E01EF}\x{FFF9}-\x{FFFB}]"
)
_invisible = compiled(INVISIBLE)
# What may join the character before it: marks, Hangul's second and third letters, Katakana's signs.
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
_JOINING = compiled(r"[\p{M}\x{1160}-\x{11FF}\x{D7B0}-\x{D7FF}\x{FF9E}\x{FF9F}]")


class Segment(NamedTuple):
    """A stretch of a text, ``size`` characters long, in normal form."""

    size: int
    normal: str


class NormalForm:
    """Puts a text that comes in pieces into normal form, the same wherever it was cut.

    A character waits until the next one shows that nothing joins it.
    """

    __slots__ = ("_waiting",)

    def __init__(self) -> None:
        self._waiting = ""

    def feed(self, piece: str, *, final: bool = False) -> list[Segment]:
        text = self._waiting + piece
        end = len(text) if final else last_start(text)
        self._waiting = text[end:]
        return _segments(text[:end])

    @property
    def waiting(self) -> int:
        """How many characters wait for what follows them."""
        return len(self._waiting)


def differs(text: str) -> bool:
    """Whether a text, whole or a piece of one, may be another in normal form."""
    return not text.isascii() and (
        not unicodedata.is_normalized("NFKC", text)
        or _invisible.search(text.encode(errors="replace")) is not None
        or _joins(text[0])
    )


def is_invisible(character: str) -> bool:
    return _invisible.search(character.encode(errors="replace")) is not None


def _segments(text: str) -> list[Segment]:
    """Stretches of characters that stay as they are, all else one by one with what joins it."""
    segments: list[Segment] = []
    start = 0  # of the stretch at hand
    for row in _NOT_ASCII.finditer(text):
        if not _joins(text[row.start()]) and not differs(row[0]) and not _any_joins(row[0]):
            continue
        at = row.start() - (row.start() > start)  # the character before may be joined
        while at < row.end():
            end = at + 1
            while end < row.end() and _joins(text[end]):
                end += 1
            if end > at + 1 or not _stays(text[at]):
                if at > start:
                    segments.append(Segment(at - start, text[start:at]))
                segments.append(Segment(end - at, _normal(text[at:end])))
                start = end
            at = end
    if start < len(text):
        segments.append(Segment(len(text) - start, text[start:]))
    return segments


def _any_joins(text: str) -> bool:
    return _JOINING.search(text.encode(errors="replace")) is not None


@lru_cache(1 << 16)
def _joins(character: str) -> bool:
    """Whether a character may change, or leave alone, the one before: marks and what is not seen."""
    return not character.isascii() and (
        _JOINING.search(character.encode(errors="replace")) is not None or is_invisible(character)
    )


@lru_cache(1 << 16)
def _stays(character: str) -> bool:
    """Whether a character that stands alone is its own normal form."""
    return unicodedata.is_normalized("NFKC", character) and not is_invisible(character)


def last_start(text: str) -> int:
    """Where the last character begins that something may still join."""
    at = len(text)
    while at > 0:
        at -= 1
        if not _joins(text[at]):
            break
    return at


def _normal(text: str) -> str:
    seen = "".join(c for c in text if not is_invisible(c))
    return unicodedata.normalize("NFKC", seen)
