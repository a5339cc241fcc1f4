"""Whether two prompts that look alike may be served one answer: the last word on every near hit.

An embedding sees what a prompt is about, not what it says: a changed number or a "not" hardly moves
it. So a neighbour is served only where the two forms agree word by word and in order, save for
words that carry nothing and for two spellings of one word. Everything else is a veto, and its name
is that of the first kind in which the two differ.
"""

from __future__ import annotations

from collections import Counter

from cache.semantic.canonical import Form
from cache.semantic.canonical.numbers import UNITS, is_number
from cache.semantic.canonical.words import (
    DIRECTIONS,
    NEGATIONS,
    POLARITY,
    PRONOUNS,
    QUESTIONS,
    TENSES,
)

VERSION = 1  # part of a partition: what another version allowed is not served by this one
VETOES = (
    "quoted", "number", "symbol", "negation", "polarity", "direction", "pronoun", "question",
    "tense", "acronym", "entity", "word", "order",
)  # fmt: skip

# They add stress, not meaning. Not here: exactly (one), simply (connected), really, just, only.
LIGHT = frozenset("please actually basically indeed of also".split())
# Long words that people mistype, each without an English neighbour inside one letter's distance:
# no computer (commuter), no vacation (vocation), no identity (identify).
OFTEN_MISTYPED = frozenset(
    """accommodation account address airport algorithm allergic allergies ambulance anniversary
    apartment apologize application appointment approximately arrangement assignment assistance
    attorney australia authority available avocado babysitter bachelor background balance
    basketball beautiful because beginner beginning believe between birthday breakfast business
    calculate calendar california cancellation certificate championship chocolate christmas
    citizenship colleague combination commitment committee community company comparison
    competition completely condition congratulations conscious considered consultant database
    daughter december definitely delivery democracy description developer development dictionary
    difference different difficult dinosaur directory disappear distance document education
    effective electric electricity electronic elephant embarrass employee employer encyclopedia
    engineer english entertainment entrepreneur environment equipment especially experience
    explanation facebook familiar february financial foreign furniture generation government
    graduate grammar guarantee happened headache hospital immediately important independent
    industry information instagram institution instruction instrument insurance intelligence
    interested interesting interview investment javascript keyboard kitchen knowledge language
    literature machine maintenance marketing marriage mathematics measurement medicine
    membership microsoft mortgage mountain necessary neighborhood newspaper normally november
    occasion october opportunity organization original password passport performance permission
    permanent photograph physical pneumonia politician population possible president privacy
    problem procedure pronunciation psychology purpose question receipt recommend recommendation
    refrigerator relationship religion replacement requirement reservation restaurant sandwich
    schedule science secretary separate september software something sometimes spaghetti
    statistics strategy successful supermarket technology telephone television temperature
    thermostat tomorrow transaction transferred umbrella understand university vaccination
    vegetable vegetarian vocabulary wednesday weekend whatsapp withdrawal yesterday
    youtube""".split()
)


def veto(a: Form, b: Form) -> str | None:
    """None where one may be served for the other; else one of VETOES."""
    if a.key == b.key:
        return None
    left = [token for token in a.tokens if token not in LIGHT]
    right = [token for token in b.tokens if token not in LIGHT]
    if left == right:
        return None
    names = a.names | b.names
    if len(left) == len(right) and all(
        mine == other or _one_word(mine, other, names)
        for mine, other in zip(left, right, strict=True)
    ):
        return None
    return _difference(left, right, names)


def _one_word(a: str, b: str, names: frozenset[str]) -> bool:
    """Whether these are two spellings of one word: British and American, or one a mistyped one."""
    shorter = min(len(a), len(b))
    if shorter < 6 or not (a.isalpha() and b.isalpha() and a.islower() and b.islower()):
        return False
    if a in names or b in names or _kind(a, names) != "word" or _kind(b, names) != "word":
        return False
    if shorter >= 7 and _american(a) == _american(b):
        return True
    return (a in OFTEN_MISTYPED) != (b in OFTEN_MISTYPED) and _one_slip(a, b)


def _american(word: str) -> str:
    for british, american in (("is", "iz"), ("our", "or"), ("ll", "l")):
        word = word.replace(british, american)
    return word


def _one_slip(a: str, b: str) -> bool:
    """One letter added, left out, changed, or two swapped; never the first or the last.

    A first letter makes another word (typical, atypical), a last one another form (happen,
    happens).
    """
    if a[0] != b[0] or a[-1] != b[-1] or abs(len(a) - len(b)) > 1:
        return False
    start = 0
    while start < min(len(a), len(b)) and a[start] == b[start]:
        start += 1
    end = 0
    while end < min(len(a), len(b)) - start and a[-1 - end] == b[-1 - end]:
        end += 1
    middle_a, middle_b = a[start : len(a) - end], b[start : len(b) - end]
    if len(middle_a) <= 1 and len(middle_b) <= 1:
        return True
    return len(middle_a) == len(middle_b) == 2 and middle_a == middle_b[::-1]


def _difference(left: list[str], right: list[str], names: frozenset[str]) -> str:
    a, b = Counter(left), Counter(right)
    kinds = {_kind(token, names) for token in (a - b) | (b - a)}
    return next((kind for kind in VETOES if kind in kinds), "order")


def _kind(token: str, names: frozenset[str]) -> str:
    if token[0] == '"' and len(token) > 1:
        return "quoted"
    if is_number(token) or token in UNITS or any(map(str.isdigit, token)):
        return "number"
    for kind, words in _WORDS:
        if token in words:
            return kind
    if not token[0].isalnum():
        return "word" if token[0] in "'." else "symbol"
    if len(token) > 1 and token.isupper():
        return "acronym"
    return "entity" if token in names or not token.islower() else "word"


_WORDS = (
    ("negation", NEGATIONS),
    ("polarity", POLARITY),
    ("direction", DIRECTIONS),
    ("pronoun", PRONOUNS),
    ("question", QUESTIONS),
    ("tense", TENSES),
)
