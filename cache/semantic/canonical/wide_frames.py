"""Ways to ask that the wide key takes for one: how to, is it possible, I need to, which, mean."""

from __future__ import annotations

from cache.semantic.canonical.frames import STATES
from cache.semantic.canonical.phrases import lines_of
from cache.semantic.canonical.words import DIRECTIONS, PRONOUNS, TENSES

Tokens = list[str]

# Who asks in general. Not here: you and we, who may be somebody; should, which asks for advice.
_ANYBODY = (("i",), ("one",), ("1",), ("someone",), ("somebody",), ("a", "person"))
_HOW_CAN = frozenset("can could do would".split())


def _subject(tokens: Tokens, at: int) -> int:
    """Where what follows "I", "one", "someone" begins; the same place where none of them stands."""
    for who in _ANYBODY:
        if tuple(tokens[at : at + len(who)]) == who:
            return at + len(who)
    return at


def how_to(tokens: Tokens, names: set[str]) -> Tokens:
    """ "how can I", "how could one", "how does someone" as "how to"."""
    if tokens[0] != "how" or len(tokens) < 4 or tokens[1] not in _HOW_CAN:
        return tokens
    after = _subject(tokens, 2)
    if after == 2 or after >= len(tokens) or tokens[after] in STATES:
        return tokens
    if tokens[after] in {"know", "tell"} and tokens[1] != "do":
        return tokens
    return ["how", "to", *tokens[after:]]


_WAYS = tuple(
    (*begin, *article, *praise, "way", "to")
    for begin in (("what", "is"), ("what", "would", "be"), ())
    for article in (("the",), ("a",), ("some",), ())
    for praise in (("best",), ("good",), ("best", "possible"), ())
    if praise or begin
) + lines_of(
    """
    what can i do to
    what do i need to do to
    what do i have to do to
    """
)


def way(tokens: Tokens, names: set[str]) -> Tokens:
    """ "the best way to" as "how to"; not the easiest, the fastest, the only."""
    for phrase in _WAYS:
        if tuple(tokens[: len(phrase)]) == phrase and len(tokens) > len(phrase):
            return ["how", "to", *tokens[len(phrase) :]]
    return tokens


_POSSIBLE = lines_of(
    """
    is it possible to
    would it be possible to
    is it possible for me to
    is it possible for one to
    is it possible for someone to
    is it possible that i can
    is it possible i can
    is there a way to
    is there way to
    is there any way to
    is there a way for me to
    is there any way for me to
    is there a way i can
    is there a way that i can
    is there any way i can
    is there any way that i can
    am i able to
    could i
    can one
    could one
    can 1
    could 1
    can someone
    """
)


def possible(tokens: Tokens, names: set[str]) -> Tokens:
    """ "is it possible to" and "is there a way to" as "can I"."""
    if tokens[0] not in _POSSIBLE_FIRST:
        return tokens
    for phrase in _POSSIBLE:
        after = len(phrase)
        if tuple(tokens[:after]) == phrase and len(tokens) > after:
            if tokens[after] in _NO_TASKS or tokens[after] in _ASKS_OTHERS:
                return tokens
            return ["can", "i", *tokens[after:]]
    return tokens


_POSSIBLE_FIRST = frozenset(phrase[0] for phrase in _POSSIBLE)
# "can someone help me", "can someone explain": asked of whoever reads it.
_ASKS_OTHERS = frozenset("please help explain tell give show suggest recommend have".split())

_WISHES = lines_of(
    """
    i need to
    i want to
    i would like to
    i would love to
    i wish to
    i just want to
    i just need to
    i am looking to
    i am trying to
    i need help to
    help me to
    help me
    please help me
    please help me to
    go ahead and
    """
)
_YOU = lines_of(
    """
    can you help me to
    can you help me
    could you help me to
    could you help me
    can you please
    can you
    could you
    will you
    would you
    is you able to
    is it possible for you to
    """
)
# Wishes that are no task: "I want to be loved".
_NO_TASKS = frozenset(
    """be not never know feel like love understand realize have want need think believe die go see
    hear say talk speak live stop quit leave""".split()
)
# What only somebody who serves can be asked for. "can you freeze eggs" asks whether it can be done.
TASKS = frozenset(
    """tell explain describe summarize recommend suggest list give show write draft generate compose
    translate play book schedule remind set turn roll flip spell repeat read calculate convert define
    check search compare call text send add update cancel pause resume skip reserve confirm create
    provide share name look tutor rephrase paraphrase proofread edit compute solve recite outline
    brainstorm enlighten assist order find get inform specify ping dial toss switch activate""".split()
)
# … and of these, those that anybody may do: they need "me" or "my" beside them.
_ANYBODY_DOES = frozenset(
    """get find order create add switch call send update convert name read""".split()
)
_MINE = frozenset({"me", "my"})
REQUEST_WORDS = frozenset({"need", "want", "like", "love", "help", "can", "could", "will", "would",
                           "able", "ahead", "wish", "trying", "looking", "possible"})  # fmt: skip


def request(tokens: Tokens, names: set[str]) -> Tokens:
    """The task in "I need to …", "help me …", "could you …"."""
    for _ in range(3):
        after = _wish(tokens) or _asked(tokens)
        if not after:
            break
        tokens = tokens[after:]
    return tokens


def _wish(tokens: Tokens) -> int:
    if tokens[0] not in _WISH_FIRST:
        return 0
    for phrase in _WISHES:
        after = len(phrase)
        if tuple(tokens[:after]) == phrase and len(tokens) > after + 1:
            follows = tokens[after]
            if follows in _NO_TASKS or follows in PRONOUNS or follows in DIRECTIONS:
                continue
            return 0 if follows in _NOT_HELPED else after
    return 0


_WISH_FIRST = frozenset(phrase[0] for phrase in _WISHES)
_NOT_HELPED = frozenset("the a an please some get".split())


def _asked(tokens: Tokens) -> int:
    if tokens[0] not in _YOU_FIRST:
        return 0
    for phrase in _YOU:
        after = len(phrase)
        if tuple(tokens[:after]) == phrase and len(tokens) > after + 1:
            follows, rest = tokens[after], tokens[after + 1 :]
            if phrase[-1] in {"please", "me"} or phrase[-2:] == ("me", "to"):
                return after if follows not in _NO_TASKS and follows not in PRONOUNS else 0
            if follows not in TASKS:
                return 0
            return after if follows not in _ANYBODY_DOES or not _MINE.isdisjoint(rest) else 0
    return 0


_YOU_FIRST = frozenset(phrase[0] for phrase in _YOU)


def want(tokens: Tokens, names: set[str]) -> Tokens:
    """ "I need a card" as "I want a card"."""
    if tokens[:2] == ["i", "need"] and len(tokens) > 3 and tokens[2] not in {"to", "you", "not"}:
        return ["i", "want", *tokens[2:]]
    return tokens


def which(tokens: Tokens, names: set[str]) -> Tokens:
    """ "which" as "what", where a question begins with it."""
    if tokens[0] != "which" or len(tokens) < 3 or tokens[1] == "of":
        return tokens
    if tokens[1] == "one":
        return ["what", *tokens[2:]] if tokens[2] == "is" else tokens
    return ["what", *tokens[1:]]


# What these mean is more than what they are; and of a word it is another thing.
_MEANINGFUL = frozenset(
    """life love existence freedom happiness family success friendship home death god faith name dream
    tattoo number color song lyric sign symbol word phrase sentence line emoji light letter art world
    marriage peace power justice truth beauty time man woman human""".split()
)


def mean(tokens: Tokens, names: set[str]) -> Tokens:
    """ "what does a byte mean" and "the meaning of a byte" as "what is a byte"."""
    if tokens[0] != "what" or len(tokens) < 4:
        return tokens
    if tokens[1] == "do" and tokens[-1] in {"mean", "means"}:
        rest = tokens[2:-1]
    elif tokens[1:4] == ["is", "meant", "by"]:
        rest = tokens[4:]
    elif tokens[1:5] == ["is", "the", "meaning", "of"] and len(tokens) > 5:
        rest = tokens[5:]
    else:
        return tokens
    if _PLAIN_NOUN.isdisjoint(rest) and _MEANINGFUL.isdisjoint(rest) and len(rest) <= 4:
        return ["what", "is", *rest]
    return ["what", "do", *rest, "mean"]


_PLAIN_NOUN = PRONOUNS | TENSES | (DIRECTIONS - {"of"}) | {"."}

_DEFINITION = lines_of(
    """
    what is the definition of
    what is definition of
    the definition of
    definition of
    give me the definition of
    give the definition of
    tell me the definition of
    tell me the meaning of the word
    what is the meaning of the word
    """
)


def define(tokens: Tokens, names: set[str]) -> Tokens:
    """ "what is the definition of" as "define"."""
    for phrase in _DEFINITION:
        if tuple(tokens[: len(phrase)]) == phrase and len(tokens) > len(phrase):
            return ["define", *tokens[len(phrase) :]]
    return tokens


_MODALS = frozenset("can could do might".split())


def place(tokens: Tokens, names: set[str]) -> Tokens:
    """ "where can I buy", "where does one buy", "where to buy"; "what should I do", "what to do"."""
    if len(tokens) < 4 or tokens[1] not in _MODALS:
        return tokens
    after = _subject(tokens, 2)
    if after == 2 or after >= len(tokens):
        return tokens
    if tokens[0] == "where" and tokens[after] not in STATES:
        return ["where", "to", *tokens[after:]]
    if tokens[0] == "what" and tokens[after] == "do":
        return ["what", "to", *tokens[after:]]
    return tokens
