"""Text completions as one value: what the chain and the cache know of them."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from app.core.usage import Usage
from app.openai.completions.parts import is_clean
from app.routes.completions import COMPLETIONS


def request(prompt: Any = "Once", **members: Any) -> Any:
    return COMPLETIONS.parse(orjson.dumps({"model": "m", "prompt": prompt} | members))


def answer(*texts: Any) -> bytes:
    choices = [
        {"index": index, "text": text, "logprobs": None, "finish_reason": "stop"}
        for index, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}
    head = {"id": "cmpl-1", "object": "text_completion", "created": 1, "model": "m"}
    return orjson.dumps(head | {"choices": choices, "usage": usage})


def test_an_answer_is_complete_with_a_choice_for_each_prompt_and_each_of_n() -> None:
    asked = request(["a", "b"], n=2)
    assert COMPLETIONS.is_complete(answer("1", "2", "3", "4"), asked)
    assert not COMPLETIONS.is_complete(answer("1", "2"), asked)


def test_a_batch_is_split_by_prompt_and_merged_by_position() -> None:
    asked = request(["a", "b"])
    parts = COMPLETIONS.split(answer("of a", "of b"), Usage(4, 2), asked)
    assert [COMPLETIONS.answer_text(part.body) for part in parts] == ["of a", "of b"]
    assert all(is_clean(part.body, 1) for part in parts)
    merged = orjson.loads(COMPLETIONS.merge({1: parts[1].body, 0: parts[0].body}, asked, 0))
    assert [(c["index"], c["text"]) for c in merged["choices"]] == [(0, "of a"), (1, "of b")]
    assert merged["usage"] == {"prompt_tokens": 4, "completion_tokens": 2, "total_tokens": 6}


def test_a_replay_assembles_to_the_answer_it_came_from() -> None:
    chunks, end = COMPLETIONS.replay(answer("all of it"))
    assembly = COMPLETIONS.assembly()
    assembly.add(chunks)
    assert COMPLETIONS.answer_text(assembly.body(end)) == "all of it"


def test_a_view_gives_the_choices_the_positions_that_its_caller_asked_for() -> None:
    chunks, _ = COMPLETIONS.replay(answer("of b"))
    view = COMPLETIONS.view(request(["a", "b"]), [1], {0: answer("of a")})
    seen = [choice["index"] for chunk in view.take(chunks) for choice in chunk.document["choices"]]
    assert set(seen) == {0, 1}


def test_an_answer_without_a_text_has_none_to_compare() -> None:
    assert COMPLETIONS.answer_text(answer(None)) == ""


@pytest.mark.parametrize(
    ("prompt", "text"), [("Once", "Once"), ([[1, 2]], None), (["a", "b"], None)]
)
def test_only_one_text_can_be_compared_by_meaning(prompt: Any, text: str | None) -> None:
    assert COMPLETIONS.semantic_text(request(prompt, temperature=0)) == text
