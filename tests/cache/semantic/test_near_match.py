"""The guard: what it lets pass is one prompt written twice; every other pair has a veto."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.canonical import Form, canonical
from cache.semantic.near_match import OFTEN_MISTYPED, VETOES, veto


def judged(a: str, b: str) -> str | None:
    one, other = canonical(a), canonical(b)
    assert isinstance(one, Form)
    assert isinstance(other, Form)
    assert veto(one, other) == veto(other, one)
    return veto(one, other)


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("How do I clean a wool rug?", "how can I clean a wool rug"),
        ("Is that cat asleep on the sofa?", "Is that cat actually asleep on the sofa?"),
        ("What is also known as a leap year?", "What is known as a leap year?"),
        (
            "Find a restaurant near the harbor",
            "find a restuarant near the harbor",
        ),
        ("book an appointment with the dentist", "book an apointment with the dentist"),
        ("tips for digitising old tapes", "tips for digitizing old tapes"),
        ("how do I get to the airport by bus", "how do I get to the airprot by bus"),
    ],
)
def test_one_prompt_written_twice_passes(a: str, b: str) -> None:
    assert judged(a, b) is None


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("drive 10 km north", "drive 12 km north", "number"),
        ("drive 10 km north", "drive 10 miles north", "number"),
        ("pay $9 for bread", "pay €9 for bread", "symbol"),
        ("Is it rude to tip waiters?", "Is it not rude to tip waiters?", "negation"),
        ("enable the spam filter", "disable the spam filter", "polarity"),
        ("eat fruit before lunch", "eat fruit after lunch", "direction"),
        ("wash my red shirt", "wash your red shirt", "pronoun"),
        ("who broke the old vase", "when broke the old vase", "question"),
        ("Is Anna a good dentist?", "Was Anna a good dentist?", "tense"),
        ("can dogs eat grapes", "should dogs eat grapes", "tense"),
        ('spell "kernel" slowly', 'spell "colonel" slowly', "quoted"),
        ("Is the US a republic country?", "Is the IT a republic country?", "acronym"),
        ("tell the story of Jonas Salk", "tell the story of Jonas Falk", "entity"),
        ("dog bites old man", "man bites old dog", "order"),
        ("a photographer from Rome", "a bad photographer from Rome", "polarity"),
        ("how to fry fresh trout", "how to fry fresh perch", "word"),
    ],
)
def test_a_veto_is_named_for_what_differs(a: str, b: str, expected: str) -> None:
    assert judged(a, b) == expected


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("a typical case of flu", "an atypical case of flu"),
        ("prostate pain in old men", "prostrate pain in old men"),
        ("stationary shop in Leeds", "stationery shop in Leeds"),
        ("is nitrate bad for fish", "is nitrite bad for fish"),
        ("flights around Iceland coast", "flights around Ireland coast"),
        ("marital arts for kids", "martial arts for kids"),
        ("a quick identity check", "a quick identify check"),
        ("old computer museum", "old commuter museum"),
        ("a few ripe pears", "few ripe pears"),
        ("is a really hot bath fine", "is a hot bath fine"),
        ("has it exactly one root here", "has it one root here"),
    ],
)
def test_another_word_is_no_slip(a: str, b: str) -> None:
    assert judged(a, b) in VETOES


@given(
    st.lists(
        st.sampled_from("the dog not 5 km bites before my will who Anna safe".split()),
        min_size=5,
        max_size=9,
    ),
    st.data(),
)
def test_a_changed_place_is_a_veto(words: list[str], data: st.DataObject) -> None:
    tail = " old garden fence"
    mixed = data.draw(st.permutations(words))
    one, other = (
        canonical("see " + " ".join(words) + tail),
        canonical("see " + " ".join(mixed) + tail),
    )
    if isinstance(one, Form) and isinstance(other, Form) and one.key != other.key:
        assert veto(one, other) in VETOES


def test_no_two_words_that_are_often_mistyped_are_taken_for_each_other() -> None:
    near = [(a, b) for a, b in combinations(sorted(OFTEN_MISTYPED), 2) if a[:3] == b[:3]]
    assert len(near) > 50
    for a, b in near:
        one, other = canonical(f"old {a} garden"), canonical(f"old {b} garden")
        if isinstance(one, Form) and isinstance(other, Form):
            assert veto(one, other) in VETOES
