"""What stands around a question: greetings, thanks, "could you tell me", "I want to know".

A phrase is taken away only where what follows shows that it is one: "hello, can you …" loses its
greeting, "hello world" does not; "how do I say thanks" keeps its last word.
"""

from __future__ import annotations

from cache.semantic.canonical.phrases import FAREWELLS, GREETINGS, QUESTION_FRAMES, Phrase
from cache.semantic.canonical.words import ARTICLES, QUESTIONS, TENSES


def _by_word(phrases: tuple[Phrase, ...], at: int) -> dict[str, list[Phrase]]:
    """The phrases by their first or last word, the longest first."""
    table: dict[str, list[Phrase]] = {}
    for phrase in sorted(phrases, key=len, reverse=True):
        table.setdefault(phrase[at], []).append(phrase)
    return table


# These ask to be told later, or whether somebody can: "let me know when", "do you know how to".
_TOLD_LATER = frozenset({("let", "me", "know"), ("tell", "me"), ("tell", "us"), ("show", "me")})
_DO_YOU = frozenset({"do", "would", "does"})
# Before "the …" and "my …" as well: tell me the capital of X is what is the capital of X.
_NOUN_FRAMES = frozenset(
    phrase
    for phrase in QUESTION_FRAMES
    if phrase[-2:] in {("tell", "me"), ("to", "know"), ("me", "know")} and phrase[1] != "know"
) - {("is", "it", "possible", "to", "know"), ("do", "you", "happen", "to", "know"),
     ("would", "you", "happen", "to", "know")}  # fmt: skip
_OWNERS = frozenset({"the", "my", "your"})
_NO_NOUN_FRAME = frozenset(
    "moment minute second time day story tale truth joke news whole full way rest part".split()
)

# "can you" before these is a request, whoever is asked. "can you freeze eggs" is a question.
_SAYING = frozenset("tell explain describe summarize recommend suggest clarify rephrase".split())
_TO_ME = frozenset("give show find write help teach remind send".split())
# … and before these where the rest is about "my" things or "for me".
_ACTIONS = frozenset(
    """set turn play book schedule cancel order call text send add remove update reset make change
    switch locate find check put pay transfer lower raise increase decrease pause resume stop start
    open close reschedule reserve confirm connect disconnect sync pair activate block freeze unfreeze
    lock unlock report submit roll flip write create draft generate translate summarize""".split()
)
_VERBS = _SAYING | _TO_ME | _ACTIONS | frozenset("list compare define calculate convert".split())
_MINE = frozenset({"my", "me"})
# "I want you to …" before these is a wish, not a task.
_NO_TASKS = frozenset(
    "be not never know feel like love understand realize have want need think believe die".split()
)
# To please somebody is a verb.
_PLEASED = frozenset(
    """me my him his her them their us our everyone everybody someone somebody yourself myself
    others people note""".split()
)

_OPENERS = QUESTIONS | TENSES | _VERBS | frozenset(
    ". i if please kindly let whether may any thanks hi hello".split()
)  # fmt: skip
# A word that is named, not said: the French for thanks, how do I say please.
_NAMING = frozenset(
    """for say saying says said mean means word words of spell write translate is to as with a the
    and or your no called phrase term between than from not in about my""".split()
)

_FRAMES = frozenset(QUESTION_FRAMES)
_FRONT = _by_word(GREETINGS + QUESTION_FRAMES, 0)
_BACK = _by_word(FAREWELLS, -1)
_ASKING = frozenset({"can", "could", "would", "will"})
_EMBEDDED = QUESTIONS | {"if", "whether"}
_SUBJECTS = frozenset("i you he she it we they there".split())
_SUBJECTS_OF_BE = frozenset("it this that he she they you".split())
_BEFORE_PLEASE = frozenset({".", "i", "we", "you", "someone"})
_BE = frozenset("is are was were".split())
_MODAL = frozenset("can could will would should must may might".split())
_MOVABLE = _BE | _MODAL | {"am"}
# "how do I look" asks for no way to look.
STATES = frozenset(
    """look feel sound seem smell taste appear rank compare die age rate owe have weigh come stack
    fare do be score""".split()
)


def without_frames(tokens: list[str]) -> list[str]:
    """The question itself."""
    tokens = _spelled(tokens)
    at, framed, noun = _front(tokens)
    end = _back(tokens, at)
    rest = tokens[at:end]
    if "please" in rest:
        rest = _without_please(rest)
    if noun:
        return ["what", "is", *rest]
    if framed:
        rest = _as_a_question(rest)
    return _one_way_to_ask(rest)


def without_articles(tokens: list[str]) -> list[str]:
    """Without a, an and the, save where they carry meaning: a few, the number, vitamin a."""
    if ARTICLES.isdisjoint(tokens):
        return tokens
    one_of_many = tokens[0] in _MAKING
    result: list[str] = []
    last = len(tokens) - 1
    for at, word in enumerate(tokens):
        if word not in ARTICLES or at == last:
            result.append(word)
        elif one_of_many and word != "the":
            result.append("a")
        elif not _is_an_article(word, tokens, at):
            result.append(word)
    return result


# After these an "a" is a name: vitamin a, plan a.
_NAMED_BY_LETTER = frozenset(
    """answer appendix choice class exhibit grade group hepatitis influenza item level option part
    plan point question row schedule section series set size step team tier type variable version
    vitamin""".split()
)
_ARTICLE_MATTERS_BEFORE = frozenset("few little lot bit number while couple us who".split())


# "write a poem" asks for one, "write poems" for some.
_MAKING = frozenset(
    """write give suggest recommend tell create generate show list name draft make compose invent
    propose offer provide""".split()
)


# No noun begins with these: the "a" before them is a letter.
_NO_NOUNS = frozenset(
    """is are was were be been do does did has have had and or but to of in on at for with from by as
    than that not if because""".split()
)


def _is_an_article(word: str, tokens: list[str], at: int) -> bool:
    follows = tokens[at + 1]
    if follows in _ARTICLE_MATTERS_BEFORE:
        return False
    if word == "the":
        return True
    if word == "a" and at and tokens[at - 1] in _NAMED_BY_LETTER:
        return False
    return follows not in _NO_NOUNS


def _spelled(tokens: list[str]) -> list[str]:
    """ "i'd like" written out (but "i'd" may be "i had"), "in order to" as "to"."""
    if "i'd" in tokens:
        at = tokens.index("i'd")
        if tokens[at + 1 : at + 2] in (["like"], ["love"], ["prefer"], ["appreciate"]):
            tokens = [*tokens[:at], "i", "would", *tokens[at + 1 :]]
    return tokens


def _front(tokens: list[str]) -> tuple[int, bool, bool]:
    """Where the question begins; whether a frame stood before it; whether a noun follows that."""
    at, end, framed = 0, len(tokens), False
    while at < end:
        if tokens[at] == ".":
            at += 1
            continue
        for phrase in _FRONT.get(tokens[at], ()):
            after = at + len(phrase)
            if after >= end or tuple(tokens[at:after]) != phrase:
                continue
            if phrase not in _FRAMES:
                if tokens[after] in _OPENERS or (
                    phrase == ("please",) and tokens[after] not in _PLEASED
                ):
                    break
            elif _opens_a_question(phrase, tokens, after):
                framed = True
                break
            elif _opens_a_noun(phrase, tokens, after):
                return after, framed, True
        else:
            after = _request(tokens, at)
        if after == at:
            break
        at = after
    return at, framed, False


def _opens_a_question(phrase: Phrase, tokens: list[str], after: int) -> bool:
    follows = tokens[after]
    if follows not in _EMBEDDED:
        return False
    if follows in {"when", "if", "whether"} and phrase in _TOLD_LATER:
        return False
    return not (phrase[0] in _DO_YOU and tokens[after + 1 : after + 2] == ["to"])


def _opens_a_noun(phrase: Phrase, tokens: list[str], after: int) -> bool:
    return (
        phrase in _NOUN_FRAMES
        and tokens[after] in _OWNERS
        and after + 1 < len(tokens)
        and tokens[after + 1] not in _NO_NOUN_FRAME
    )


def _request(tokens: list[str], at: int) -> int:
    """Where the verb of "could you please …", "I want you to …" stands; else the same place."""
    head = tokens[at : at + 6]
    if len(head) < 4:
        return at
    if head[0] == "i" and (
        head[1:4] in (["want", "you", "to"], ["need", "you", "to"])
        or head[1:5] == ["would", "like", "you", "to"]
    ):
        after = at + (4 if head[1] != "would" else 5)
        return after if after < len(tokens) and tokens[after] not in _NO_TASKS else at
    if head[0] not in _ASKING or head[1] != "you":
        return at
    if head[2] in {"please", "kindly"}:
        return at + 3
    verb = head[2]
    if verb in _SAYING or (verb in _TO_ME and head[3] == "me"):
        return at + 2
    if verb in _ACTIONS and head[0] in {"can", "could"} and not _MINE.isdisjoint(tokens[at + 3 :]):
        return at + 2
    return at


def _back(tokens: list[str], at: int) -> int:
    """Where the question ends."""
    end = len(tokens)
    while end > at:
        if tokens[end - 1] == ".":
            end -= 1
            continue
        for phrase in _BACK.get(tokens[end - 1], ()):
            before = end - len(phrase)
            if before > at and tuple(tokens[before:end]) == phrase:
                break
        else:
            break
        if tokens[before - 1] in _NAMING:
            break
        end = before
    if end - at > 3 and tokens[at] in _VERBS and tokens[end - 2 : end] == ["for", "me"]:
        end -= 2
    return end


def _without_please(tokens: list[str]) -> list[str]:
    """Without "please" where it can be nothing but polite: "may I please", "… . Please help"."""
    return [
        word
        for at, word in enumerate(tokens)
        if word != "please"
        or not at
        or at + 1 == len(tokens)
        or tokens[at - 1] not in _BEFORE_PLEASE
        or tokens[at + 1] in _PLEASED
    ]


def _as_a_question(tokens: list[str]) -> list[str]:
    """ "what the capital is" as "what is the capital", "how i can" as "how can i"."""
    if len(tokens) < 3:
        return tokens
    first, second, third = tokens[:3]
    if second in _SUBJECTS and third in _MOVABLE:
        if first in {"if", "whether"}:
            return [third, second, *tokens[3:]]
        return [first, third, second, *tokens[3:]]
    if (
        first in {"what", "who", "where", "when"}
        and tokens[-1] in _BE
        and "." not in tokens
        and TENSES.isdisjoint(tokens[:-1])
    ):
        if tokens[-2] in _SUBJECTS_OF_BE:  # what time it is
            return [*tokens[:-2], tokens[-1], tokens[-2]]
        return [first, tokens[-1], *tokens[1:-1]]
    return tokens


def _one_way_to_ask(tokens: list[str]) -> list[str]:
    """The ways to say one thing that differ in no answer."""
    if len(tokens) < 4:
        return tokens
    first, second, third, fourth = tokens[:4]
    if first == "how" and third == "i" and fourth not in STATES and second in {"do", "can"}:
        return ["how", "to", *tokens[3:]]
    if first == "how" and second == "i" and third in {"can", "could", "should"}:
        return _one_way_to_ask(["how", third, "i", *tokens[3:]])
    if first == "i" and second == "would" and third == "like":
        return ["i", "want", *tokens[3:]]
    if first == "what" and second == "are" and third in _OWNERS:
        return ["what", "is", *tokens[2:]]
    return tokens
