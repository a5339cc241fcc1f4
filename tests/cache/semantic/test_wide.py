"""Properties of the wide key: numbers and negations always count, order does, and it never fails."""

from __future__ import annotations

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from cache.semantic.canonical import Form, read
from cache.semantic.canonical.numbers import NUMBER_WORDS
from cache.semantic.canonical.wide import RULES, Wide

FRAMES = (
    "What is the best way to {}?",
    "How can one {}?",
    "Is it possible to {}?",
    "I need to {}",
    "Could you really {} please",
    "Do I have to {}?",
    "What does it feel like to {}?",
    "Alexa, how do I {}",
    "{}",
)
WORDS = """boil mend the a an of for about or and between which what is are do does how to can i you my your
    some any best way really exactly mean going turn off on light bread door garden bridge engine 's
    between possible need want kind type define where today first not never no""".split()
frames = st.sampled_from(FRAMES)
words = st.lists(st.sampled_from(WORDS), min_size=1, max_size=14)


def key(text: str) -> str:
    form = read(text).wide
    assert isinstance(form, Wide), text
    return form.key


@given(frames, st.integers(0, 10**6), st.integers(0, 10**6))
def test_another_number_is_another_key(frame: str, one: int, other: int) -> None:
    assume(one != other)
    task = "boil {} red eggs in the garden"
    assert key(frame.format(task.format(one))) != key(frame.format(task.format(other)))


@given(frames, frames, st.sampled_from(sorted(NUMBER_WORDS)), st.sampled_from(sorted(NUMBER_WORDS)))
def test_another_number_word_is_another_key_in_any_frame(
    a: str, b: str, one: str, two: str
) -> None:
    assume(NUMBER_WORDS[one] != NUMBER_WORDS[two])
    task = "carry {} heavy stones over the bridge"
    assert key(a.format(task.format(one))) != key(b.format(task.format(two)))


@given(frames, frames, st.sampled_from(["not", "never", "hardly", "no longer"]))
def test_a_negation_is_another_key_in_any_frame(a: str, b: str, negation: str) -> None:
    assert key(a.format(f"{negation} open the garden door")) != key(
        b.format("open the garden door")
    )


@given(words, words)
def test_the_wide_key_holds_every_number_and_negation(before: list[str], after: list[str]) -> None:
    text = " ".join([*before, "7319", *after])
    form = read(text).wide
    if form is not None:
        assert "7319" in form.key
        said = sum(word in ("not", "never", "no") for word in text.split())
        assert sum(word in ("not", "never", "no") for word in form.key.split()) == said


@example(["the", "boil", "or"])
@given(words)
def test_equal_texts_have_equal_keys_and_known_rules(said: list[str]) -> None:
    reading = read(" ".join(said))
    assert read(" ".join(said)) == reading
    if reading.wide is not None:
        assert set(reading.wide.rules) <= set(RULES)
        assert reading.wide.key


@given(st.text(max_size=300))
def test_no_text_makes_it_fail(text: str) -> None:
    read(text)


@pytest.mark.parametrize(
    "word", ["really", "my", "the", "'s", "or", "and", "between", "any", "some"]
)
def test_a_rules_word_alone_is_no_question(word: str) -> None:
    reading = read(word)
    assert not isinstance(reading.strict, Form)
    assert reading.wide is None
