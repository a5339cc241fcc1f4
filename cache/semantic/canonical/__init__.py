"""The canonical key of a prompt: two prompts with one key may be served one answer.

What is folded away carries no meaning of its own in English: case, punctuation, contractions,
politeness, the frame around a question, articles, plurals, number words, and a short list of
synonyms. All that is left stays, in order: so a number, a unit, a negation, a pronoun, a tense, a
direction, a name or the order of two words keeps two prompts apart without a rule of its own. A
miss costs money, a wrong hit costs trust: what these rules do not know they keep as written.

Pure and linear: one pass of one regular expression, and dictionary lookups.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection
from itertools import pairwise
from typing import NamedTuple

from cache.semantic.canonical.frames import without_articles, without_frames
from cache.semantic.canonical.languages import is_foreign, strict_key
from cache.semantic.canonical.numbers import spelled_out
from cache.semantic.canonical.tokens import tokens_of
from cache.semantic.canonical.wide import MIN_CONTENT_WORDS, Wide, widened
from cache.semantic.canonical.words import (
    ENGLISH,
    FRESH,
    FRESH_PAIRS,
    FUNCTION_WORDS,
    OTHER_LANGUAGES,
)

VERSION = 2  # part of every stored key: a changed rule or table is a new version
MAX_WORDS = 128
MAX_CHARACTERS = 1600  # 128 long words: what is longer is not looked at


class Form(NamedTuple):
    """What a prompt says, as far as these rules can tell."""

    key: str  # what is hashed and compared; readable
    tokens: tuple[str, ...]  # what the key is made of, in order
    names: frozenset[str]  # words with a capital inside a sentence, in small letters
    words: int  # in the text as it was sent
    language: str = "en"


class Ineligible(NamedTuple):
    """Why a prompt has no canonical key: a fixed word, fit for a metric's label."""

    reason: str


LONG = Ineligible("long")
FEW_WORDS = Ineligible("few_words")
CODE = Ineligible("code")
SCRIPT = Ineligible("script")
LANGUAGE = Ineligible("language")
FRESHNESS = Ineligible("fresh")

_SPELLINGS = str.maketrans(
    {
        "\u2019": "'", "\u2018": "'", "\u02bc": "'", "\u201c": '"', "\u201d": '"', "\u00ab": '"',
        "\u00bb": '"', "\u201e": '"', "\u2013": "-", "\u2011": "-", "\u2010": "-", "\u2212": "-",
        "\u2014": " - ", "\u2026": "...", "\u00a0": " ", "\u202f": " ", "\u200b": None,
        "\ufeff": None, "\u00ad": None, "\uff1f": "?", "\uff01": "!", "\uff0c": ",",
    }
)  # fmt: skip

_DOUBLED = re.compile(r'"{2,}(?=[^\s"])|(?<=[^\s"])"{2,}')
# Words of small letters, perhaps with a capital first, one space apart: most prompts. There is no code
# in them but for a few commands, and this takes a third of the time of the search below.
_SENTENCES = re.compile(r"(?:[A-Za-z]?[a-z0-9']*+[,?.!]*+(?: (?! )|\Z))*+")
# Without one of these there is no code.
_MAY_BE_CODE = re.compile(
    r"[^\w\s,?'\".!-]|--|[^\W\d_]\.[^\W\d_]|[a-z][A-Z]|\w_|\n|  |[ ]-\w|SELE|sudo|git "
)
_CODE = re.compile(
    r"""[{}`\\|]|;(?!\ [A-Za-z])                                   # no sentence needs these
    |\w_\w|\b[a-z]{2,}[A-Z][a-z]                                   # snake_case, camelCase
    |==|!=|<=|>=|=>|->|<-|&&|\+=|-=|\+\+\w|::|</|/>|<\w|\w\ ?=\ ?["'\w]
    |[a-z]\w*\((?!e?s\))|\)\.\w|\[\d*\]|\$[A-Za-z(]|\ --?[A-Za-z]\w*|\B[/~]\w+/
    |[A-Za-z]\w*/\w+/\w|://|\bwww\.|\w@\w
    |\w\.(?:com|org|net|io|py|js|ts|txt|csv|json|html|xml|pdf|md|sh|exe)\b
    |\A[ \t]{2,}\S.*\n|\n[ \t]+\S|\n\s*[$>%]\s
    |\b(?:SELECT|INSERT|UPDATE|DELETE|CREATE)\s+(?:\*|\w+)[^\n]*\b(?:FROM|INTO|SET|TABLE|WHERE)\b
    |\bsudo\s|\bpip\s+install\b|\bgit\s+(?:commit|push|pull|clone|rebase|checkout|merge)\b""",
    re.VERBOSE,
)


class Reading(NamedTuple):
    """What both keys make of a prompt: by the strict rules, and by the wide ones besides."""

    strict: Form | Ineligible
    wide: Wide | None


def canonical(text: str) -> Form | Ineligible:
    """The form of a prompt by the strict rules, or the reason why it has none. Never raises."""
    return read(text).strict


def read(text: str, languages: Collection[str] = ()) -> Reading:
    """Both forms of a prompt. Never raises.

    ``languages`` are those that are read besides English, by their codes: de, fr, es, it, pt. They
    have a strict form only.
    """
    if len(text) > MAX_CHARACTERS:
        return Reading(LONG, None)
    if not text.isascii():
        text = unicodedata.normalize("NFC", text).translate(_SPELLINGS)
        if _is_foreign_script(text):
            return Reading(SCRIPT, None)
    text = text.strip()
    if '""' in text:
        text = _quoted_once(text)
    words = len(text.split())
    if words > MAX_WORDS:
        return Reading(LONG, None)
    if _is_code(text):
        return Reading(CODE, None)
    if languages and is_foreign(text):
        return Reading(_foreign(text, languages, words), None)
    tokens, names = tokens_of(text)
    framed = without_frames(spelled_out(tokens))
    tokens = without_articles(framed)
    foreign = OTHER_LANGUAGES.intersection(tokens)
    if foreign and len(foreign) > len(ENGLISH.intersection(tokens)):
        return Reading(LANGUAGE, None)
    if not tokens:
        return Reading(FEW_WORDS, None)
    strict = _strict(tokens, names, words)
    return Reading(strict, widened(framed, tokens, names, fresh=strict is FRESHNESS))


def _foreign(text: str, languages: Collection[str], words: int) -> Form | Ineligible:
    found = strict_key(text, languages)
    if isinstance(found, str):
        return Ineligible(found)
    key, tokens = found
    return Form(key, tuple(tokens), frozenset(), words, key[1:3])


def _strict(tokens: list[str], names: set[str], words: int) -> Form | Ineligible:
    if _ages(tokens):
        return FRESHNESS
    content = 0
    for token in tokens:
        if token not in FUNCTION_WORDS:
            content += 1
            if content == MIN_CONTENT_WORDS:
                break
    else:
        return FEW_WORDS
    return Form(" ".join(tokens), tuple(tokens), frozenset(names), words)


def _ages(tokens: list[str]) -> bool:
    """Whether the answer depends on the day it is asked. (So a Mr Price has no key: a miss.)"""
    if not FRESH.isdisjoint(tokens):
        return True
    return not (_FIRST_OF_PAIRS.isdisjoint(tokens) or FRESH_PAIRS.isdisjoint(pairwise(tokens)))


_FIRST_OF_PAIRS = frozenset(first for first, _ in FRESH_PAIRS)


def _is_code(text: str) -> bool:
    if _SENTENCES.fullmatch(text) and "sudo" not in text and "git " not in text:
        return False
    return _MAY_BE_CODE.search(text) is not None and _CODE.search(text) is not None


def _quoted_once(text: str) -> str:
    """Doubled quotes as single ones, so that what they quote is read as quoted.

    They come from CSV, where a field with quotes in it is quoted whole and each of them is doubled.
    """
    inner = text[1:-1]
    if text[0] == text[-1] == '"' and '""' in inner and '"' not in inner.replace('""', ""):
        return inner.replace('""', '"')
    return _DOUBLED.sub('"', text)


def _is_foreign_script(text: str) -> bool:
    """Whether most letters are none of the Latin alphabet's (U+0000-024F and 1E00-1EFF)."""
    latin = other = 0
    for char in text:
        if char.isalpha():
            if char < "\u0250" or "\u1e00" <= char <= "\u1eff":
                latin += 1
            else:
                other += 1
    return other > latin
