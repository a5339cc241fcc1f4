"""A prompt as tokens: words folded, numbers read, names, acronyms and signs kept.

Every character that is not white space ends up in a token, save for the punctuation that a plain
sentence may carry or lack.
"""

from __future__ import annotations

import re

from cache.semantic.canonical.numbers import is_number, unit, written
from cache.semantic.canonical.plurals import singular
from cache.semantic.canonical.synonyms import CONTRACTIONS, SYNONYMS, fold
from cache.semantic.canonical.words import (
    ABBREVIATIONS,
    ACRONYMS_THAT_ARE_WORDS,
    FUNCTION_WORDS,
    NAMES_THAT_ARE_WORDS,
)

BREAK = "."  # between two sentences, whatever ended the first

_TOKEN = re.compile(
    r"""("[^"\n]*"|(?<!\w)'[^'\n]*'(?!\w))                                  # quoted
    |((?:(?<![\w)\]])[-+])?(?:(?<!\w)\.)?\d+(?:[.,:/-]\d+)*)                # a number, and
        ([^\W\d_]\w*|-(?=[^\W\d_]{2}))?                                     # what is joined to it
    |((?:[^\W\d_]\.){2,}[^\W\d_]?(?!\w))                                    # U.S., p.m.
    |([^\W\d_][^\W_]*(?:(?<=\d)\.\d+)*(?:['-][^\W_]+)*'?)                   # a word
    |([.?!]+|\n)                                                            # a sentence's end
    |([,();-]|:(?=\s|$)|')                                                  # mostly light
    |(\S)                                                                   # kept: $ % = ...
    """,
    re.VERBOSE,
)
_DIGIT = re.compile(r"\d")
_CAPITALS = re.compile(r"(?<!\S)[A-Z]")
_SMALL = re.compile(r"(?<!\S)[a-z]{4}")
_ALWAYS_CAPITAL = frozenset({"I", "I'm", "I've", "I'll", "I'd"})


def tokens_of(text: str) -> tuple[list[str], set[str]]:  # noqa: C901, PLR0912, PLR0915
    """The tokens in order, and the names among them.

    One loop, not a function for each kind of token: a call costs as much as the work in it.
    """
    if text.isupper():
        text = text.lower()
    tokens: list[str] = []
    names: set[str] = set()
    maths = _DIGIT.search(text) is not None
    titled: bool | None = None  # every Word Of It: then a capital tells nothing
    starts = True  # a sentence
    counted = False  # the token before is a number
    comma = ""  # kept only between two numbers
    for quoted, number, suffix, dotted, word, stop, light, sign in _TOKEN.findall(text):
        if word:
            if counted:
                added = _after_number(word)
            elif word.islower() or word in _ALWAYS_CAPITAL:
                added = fold(word.lower())
            elif len(word) > 1 and word.isupper() and word.lower() in ACRONYMS_THAT_ARE_WORDS:
                added = (word,)
            else:
                if titled is None:
                    titled = len(_CAPITALS.findall(text)) > 3 and not _SMALL.search(text)
                added = fold(word.lower()) if starts or titled else _name(word, names)
            if comma and is_number(added[0]):
                tokens.append(comma)
            tokens += added
            counted = is_number(added[-1])
            comma, starts = "", False
        elif number:
            if comma:
                tokens.append(comma)
            tokens += written(number, suffix)
            counted = is_number(tokens[-1])
            comma, starts = "", False
        elif stop:
            comma, last = "", tokens[-1] if tokens else BREAK
            if stop[0] == "!" and (counted or last == ")" or (len(last) == 1 and last.isalpha())):
                tokens.append(stop)  # 5! is a factorial
            elif last != BREAK and (stop == "\n" or last not in ABBREVIATIONS):
                tokens.append(BREAK)
                starts, counted = True, False
        elif light:
            if light in ",:" and counted:
                comma = light
            elif light == ";" and tokens and tokens[-1] != BREAK:
                tokens.append(BREAK)
                counted = False
            elif (counted and light in "'-") or (maths and light in "()-"):
                tokens.append(light)
                counted = False
        else:
            tokens.append(_quote(quoted) if quoted else _acronym(dotted) if dotted else sign)
            comma, starts, counted = "", False, False
    return tokens, names


def _quote(quoted: str) -> str:
    r"""Verbatim. A space becomes ``\s``: a backslash is code, so no other token has one."""
    return '"' + quoted[1:-1].replace(" ", "\\s") + '"'


def _acronym(dotted: str) -> str:
    plain = dotted.replace(".", "")
    small = plain.lower()
    return plain if plain.isupper() and small in ACRONYMS_THAT_ARE_WORDS else small


def _after_number(word: str) -> tuple[str, ...]:
    """A unit where it is one; a compound falls apart: five-year-old is five year old."""
    if "-" not in word:
        known = unit(word)
        return fold(word.lower()) if known is None else (known,)
    first, *others = word.lower().split("-")
    known = unit(first)
    head = fold(first) if known is None else (known,)
    return (*head, *(part for other in others for part in fold(other)))


def _name(word: str, names: set[str]) -> tuple[str, ...]:
    """A word with a capital inside a sentence: no synonym, no plural."""
    stem, possessive = (word[:-2], ("'s",)) if word.endswith("'s") else (word, ())
    small = stem.lower()
    if small in NAMES_THAT_ARE_WORDS or len(stem) == 1:
        names.add(small)
        return (stem, *possessive)
    if word.lower() in CONTRACTIONS or small in FUNCTION_WORDS:
        return fold(word.lower())
    if small.endswith(("ians", "icans")) or (stem[-1] == "s" and stem[:-1].isupper()):
        small = singular(small)  # Indians, ATMs; not HTTPS
    names.add(small)
    if stem.isupper():
        small = SYNONYMS.get(small, small)  # TV
    return (small, *possessive)
