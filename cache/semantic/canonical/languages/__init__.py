"""The strict key of prompts in other languages than English, for those that the operator names.

Far less is folded here than in English: case, punctuation, white space, greetings, politeness, the
frame of a question where the rest keeps its order, and number words below 100. No plurals, no
synonyms, no articles: what a table does not know stays as it is written, and so do all negations.
There is no wide key. What language a prompt is in is counted, never guessed: its words must be more
often those of one language than of any other that is known here, whether that is switched on or not.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Literal

from cache.semantic.canonical.languages.french import FRENCH
from cache.semantic.canonical.languages.german import GERMAN
from cache.semantic.canonical.languages.italian import ITALIAN
from cache.semantic.canonical.languages.language import Language
from cache.semantic.canonical.languages.portuguese import PORTUGUESE
from cache.semantic.canonical.languages.spanish import SPANISH
from cache.semantic.canonical.words import ENGLISH

VERSION = 1  # part of every such key: a changed rule or table is a new version
KNOWN = (GERMAN, FRENCH, SPANISH, ITALIAN, PORTUGUESE)
MIN_MARKERS = 2
MIN_CONTENT_WORDS = 2

_TOKEN = re.compile(
    r"""("[^"\n]*")                                        # quoted: verbatim
    |([-+]?\d+(?:[.,:/-]\d+)*[^\W\d_]*)                     # a number, and what is joined to it
    |([^\W\d_]+(?:['-][^\W\d_]+)*'?)                        # a word
    |([.?!;\n]+)                                           # a sentence's end
    |([,:()\u00a1\u00bf-]|')                               # light
    |(\S)                                                  # kept
    """,
    re.VERBOSE,
)
_WORD = re.compile(r"[^\W\d_]+")
BREAK = "."
Tokens = list[str]


def language_of(text: str) -> Language | None:
    """The language most of whose common words stand here; None for English, and where in doubt."""
    found = _counted(text)
    return found if isinstance(found, Language) else None


def is_foreign(text: str) -> bool:
    """Whether a text has more common words of some other language than of English."""
    return _counted(text) is not None


def _counted(text: str) -> Language | Literal["doubtful"] | None:
    words = [word.lower() for word in _WORD.findall(text)]
    counts = [sum(word in language.markers for word in words) for language in KNOWN]
    most = max(counts)
    if most < MIN_MARKERS or most <= sum(word in ENGLISH for word in words):
        return None
    return KNOWN[counts.index(most)] if counts.count(most) == 1 else "doubtful"


def tokens_in(text: str, language: Language) -> Tokens:
    """The tokens of a prompt in this language, in order."""
    tokens: Tokens = []
    for at, (quoted, number, word, stop, light, sign) in enumerate(_TOKEN.findall(text)):
        if word:
            kept = at and word in language.kept_capitals
            tokens += [word] if kept else _words(word.lower(), language)
        elif stop:
            if tokens and tokens[-1] != BREAK:
                tokens.append(BREAK)
        elif not light:
            tokens.append(quoted.replace(" ", "\\s") or number or sign)
    while tokens and tokens[-1] == BREAK:
        tokens.pop()
    return _without_politeness(_numbers(tokens, language), language)


def strict_key(text: str, languages: Collection[str]) -> tuple[str, Tokens] | str:
    """The key and its tokens; else the reason why there is none, as ``Ineligible`` names it."""
    language = language_of(text)
    if language is None or language.code not in languages:
        return "language"
    if text.isupper():
        text = text.lower()
    tokens = tokens_in(text, language)
    if not language.fresh.isdisjoint(tokens):
        return "fresh"
    content = sum(token.lower() not in language.words and token != BREAK for token in tokens)
    if content < MIN_CONTENT_WORDS:
        return "few_words"
    return f"\n{language.code}{VERSION}\n{' '.join(tokens)}", tokens


@lru_cache(maxsize=4096)
def _words(word: str, language: Language) -> tuple[str, ...]:
    """A word, or those that it stands for."""
    return language.contractions.get(word, (word,))


def _numbers(tokens: Tokens, language: Language) -> Tokens:
    """Number words below 100 as digits; the longest first: soixante et onze."""
    table = language.numbers
    result: Tokens = []
    at = 0
    while at < len(tokens):
        for length in (3, 2, 1):
            found = table.get(tuple(tokens[at : at + length]))
            if found is not None and at + length <= len(tokens):
                result.append(found)
                at += length
                break
        else:
            result.append(tokens[at])
            at += 1
    return result


def _without_politeness(tokens: Tokens, language: Language) -> Tokens:
    """Without greetings and frames before, and thanks behind."""
    at, end = 0, len(tokens)
    moved = True
    while moved and at < end:
        moved = False
        if tokens[at] == BREAK:
            at, moved = at + 1, True
            continue
        for phrase in language.front.get(tokens[at], ()):
            after = at + len(phrase)
            if (
                after < end
                and tuple(tokens[at:after]) == phrase
                and _opens(tokens, after, phrase, language)
            ):
                at, moved = after, True
                break
    moved = True
    while moved and end > at + 1:
        moved = False
        if tokens[end - 1] == BREAK:
            end, moved = end - 1, True
            continue
        for phrase in language.back.get(tokens[end - 1], ()):
            before = end - len(phrase)
            if (
                before > at
                and tuple(tokens[before:end]) == phrase
                and tokens[before - 1] not in language.naming
            ):
                end, moved = before, True
                break
    return tokens[at:end]


def _opens(tokens: Tokens, after: int, phrase: tuple[str, ...], language: Language) -> bool:
    """Whether what follows shows that the phrase is a greeting or a frame."""
    if phrase not in language.frames:
        return tokens[after] == BREAK or tokens[after] not in language.naming
    follows = tokens[after + 1 : after + 2]
    if tokens[after] not in language.questions:
        return tokens[after] in _WHY_OR_WHAT and follows in (["qué"], ["que"], ["quê"])
    return not language.verb_second or (bool(follows) and follows[0] in language.verb_second)


_WHY_OR_WHAT = frozenset({"por", "o"})  # por qué, o que
