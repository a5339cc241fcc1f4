"""Phrases around a question that ask for nothing themselves."""

from __future__ import annotations

Phrase = tuple[str, ...]


def lines_of(text: str) -> tuple[Phrase, ...]:
    return tuple(tuple(line.split()) for line in text.strip().splitlines())


GREETINGS = lines_of(
    """
    hi
    hey
    hello
    hi there
    hey there
    hello there
    good morning
    good afternoon
    good evening
    greetings
    please
    kindly
    ok
    so
    um
    uh
    excuse me
    sorry to bother you
    quick question
    i have a question
    i have a quick question
    thanks
    thanks in advance
    """
)
FAREWELLS = lines_of(
    """
    please
    thanks
    thanks a lot
    thanks so much
    thanks very much
    thanks in advance
    thanks for your help
    thanks for the help
    thank you
    thank you so much
    thank you very much
    thank you in advance
    thank you for your help
    many thanks
    cheers
    """
)
# Before a question word, "if" or "whether".
QUESTION_FRAMES = lines_of(
    """
    tell me
    tell us
    can you tell me
    could you tell me
    would you tell me
    will you tell me
    can you please tell me
    could you please tell me
    would you please tell me
    if you can tell me
    if you could tell me
    can you let me know
    could you let me know
    could you please let me know
    can you please let me know
    can you explain to me
    could you explain to me
    can you explain
    could you explain
    could you please explain
    can you please explain
    explain to me
    explain
    let me know
    do you know
    do you happen to know
    do you have any idea
    would you know
    would you happen to know
    does anyone know
    does anybody know
    does someone know
    can anyone tell me
    can someone tell me
    could anyone tell me
    could someone tell me
    can anyone explain
    can someone explain
    can anybody tell me
    can somebody tell me
    any idea
    i want to know
    i want to find out
    i want to ask
    i want to ask you
    i want to understand
    i want you to tell me
    i need to know
    i need to find out
    i need you to tell me
    i would like to know
    i would like to find out
    i would like to ask
    i would like to understand
    i would like you to tell me
    i would love to know
    i am wondering
    i was wondering
    i was just wondering
    i am just wondering
    i wonder
    i am curious
    i am curious about
    i am trying to find out
    i am trying to understand
    may i know
    may i ask
    can i know
    can i ask
    could i ask
    my question is
    help me understand
    can you help me understand
    are you able to tell me
    is it possible to know
    would you mind telling me
    do you mind telling me
    show me
    """
)
