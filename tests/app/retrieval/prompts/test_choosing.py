"""Which chunks are used: the nearest that fit, each once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.core.usage import estimate_text
from app.retrieval.chunk import Chunk
from app.retrieval.prompts.choosing import choose
from app.retrieval.prompts.template import context_of


def chunk(name: str, score: float, text: str | None = None) -> Chunk:
    return Chunk(name, text or f"text of {name}", "s", score)


def test_the_nearest_come_first_and_those_below_the_score_go() -> None:
    chosen = choose(
        [chunk("far", 0.2), chunk("b", 0.5), chunk("a", 0.9)], min_score=0.4, max_tokens=999
    )
    assert [one.id for one in chosen.chunks] == ["a", "b"]
    assert chosen.left_out == {"score": 1}


def test_what_says_the_same_is_used_once() -> None:
    same = [chunk("a", 0.9, "One  text."), chunk("b", 0.8, "one text."), chunk("a", 0.7, "other")]
    chosen = choose([*same, chunk("c", 0.6, " \n")], min_score=None, max_tokens=999)
    assert [one.id for one in chosen.chunks] == ["a"]
    assert chosen.left_out == {"duplicate": 2, "blank": 1}


def test_the_farthest_goes_first_where_they_are_too_many() -> None:
    found = [chunk("a", 0.9, "x" * 400), chunk("b", 0.8, "y" * 4000), chunk("c", 0.7, "z")]
    chosen = choose(found, min_score=None, max_tokens=300)
    assert [one.id for one in chosen.chunks] == ["a"]
    assert chosen.left_out == {"budget": 2}


CHUNKS = st.builds(
    Chunk, st.text(max_size=5), st.text(max_size=300), st.text(max_size=9), st.floats(-1, 1)
)


@given(st.lists(CHUNKS, max_size=12), st.integers(32, 400))
def test_the_budget_holds_and_every_chunk_is_accounted_for(found: list[Chunk], most: int) -> None:
    chosen = choose(found, min_score=None, max_tokens=most)
    assert not chosen.chunks or estimate_text(context_of(chosen.chunks)) <= most
    assert len(chosen.chunks) + sum(chosen.left_out.values()) == len(found)
    scores = [one.score for one in chosen.chunks]
    assert scores == sorted(scores, reverse=True)
