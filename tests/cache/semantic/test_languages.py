"""Prompts in other languages than English: read where the operator says so, and certain, or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.canonical import Form, Ineligible, read
from cache.semantic.canonical.languages import KNOWN, language_of, tokens_in
from cache.semantic.canonical.languages.language import Language

ALL = frozenset(language.code for language in KNOWN)
FILE = Path(__file__).parent / "pairs" / "languages.tsv"
ROWS = [line.split("\t") for line in FILE.read_text(encoding="utf-8").splitlines()[1:]]
EACH = pytest.mark.parametrize("language", KNOWN, ids=[language.code for language in KNOWN])


def form(text: str) -> Form:
    found = read(text, ALL).strict
    assert isinstance(found, Form), (text, found)
    return found


def reason(text: str, languages: frozenset[str] = ALL) -> str:
    found = read(text, languages).strict
    assert isinstance(found, Ineligible), (text, found)
    return found.reason


@pytest.mark.parametrize(("code", "verdict", "a", "b"), ROWS)
def test_a_pair_meets_where_it_means_the_same(code: str, verdict: str, a: str, b: str) -> None:
    one, other = form(a), form(b)
    assert {one.language, other.language} == {code}
    assert (one.key == other.key) == (verdict == "same")


@pytest.mark.parametrize(("code", "verdict", "a", "b"), ROWS)
def test_what_is_not_switched_on_is_not_read(code: str, verdict: str, a: str, b: str) -> None:
    assert reason(a, ALL - {code}) == "language"
    assert read(a, ALL).wide is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Wie ist das Wetter heute in Bonn am Rhein?", "fresh"),
        ("Quel est le prix actuel de la baguette ?", "fresh"),
        ("¿Cuál es la última noticia de hoy en la ciudad?", "fresh"),
        ("Qual è il prezzo della benzina oggi?", "fresh"),
        ("Qual é o preço da gasolina agora?", "fresh"),
        ("Was ist das?", "few_words"),
        ("Qu'est-ce que c'est ?", "few_words"),
    ],
)
def test_what_ages_and_what_says_too_little_has_no_key(text: str, why: str) -> None:
    assert reason(text) == why


@pytest.mark.parametrize(
    "text",
    [
        "How do I boil potatoes without salt?",
        "What is the capital of France?",
        "Translate la casa into English please",
        "Explain the difference between ser and estar to me",
    ],
)
def test_english_stays_english(text: str) -> None:
    assert read(text, ALL) == read(text)


@pytest.mark.parametrize("text", ["la casa de la playa", "para a casa de", "de la mer, de la mesa"])
def test_what_may_be_two_languages_is_none_of_them(text: str) -> None:
    assert language_of(text) is None
    assert reason(text) == "language"


def test_few_words_tell_no_language() -> None:
    assert language_of("Berlin Tegel") is None
    assert language_of("xyz") is None


@EACH
def test_every_number_word_is_another_number(language: Language) -> None:
    """Those with one value are two spellings; none is a number of 100 or more."""
    assert set(map(int, language.numbers.values())) <= set(range(100))
    assert len(set(language.numbers.values())) >= 97
    for said, value in language.numbers.items():
        assert tokens_in(" ".join(said), language) == [value]


@EACH
@given(st.data())
def test_two_numbers_are_never_one(language: Language, data: st.DataObject) -> None:
    said = sorted(" ".join(words) for words in language.numbers)
    one, other = data.draw(st.sampled_from(said)), data.draw(st.sampled_from(said))
    same = language.numbers[tuple(one.split())] == language.numbers[tuple(other.split())]
    both = [tokens_in(f"x {number} y", language) for number in (one, other)]
    assert (both[0] == both[1]) == same


@EACH
@given(st.text(max_size=200))
def test_no_text_makes_it_fail(language: Language, text: str) -> None:
    assert isinstance(tokens_in(text, language), list)
    read(text, ALL)
