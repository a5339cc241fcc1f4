"""What every request has: a member that is missing, and the one that may be meant."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.openai.completions.request import parse


def refused(document: dict[str, Any]) -> str:
    """What is said of a refused document."""
    with pytest.raises(InvalidRequest) as caught:
        parse(orjson.dumps(document))
    return caught.value.message


@pytest.mark.parametrize(
    ("sent", "missing"),
    [
        ("promt", "prompt"),
        ("Prompt", "prompt"),
        ("prompts", "prompt"),
        ("mesages", "messages"),
        ("modle", "model"),
    ],
)
def test_a_misspelt_member_is_named_where_its_right_name_is_missing(
    sent: str, missing: str
) -> None:
    document = {"model": "m", "prompt": "p", "min_p": 0.1, sent: "x"}
    del document["model" if missing == "model" else "prompt"]
    message = refused(document)
    assert f"You sent `{sent}`; did you mean `{missing}`?" in message


@pytest.mark.parametrize("name", ["min_p", "temperature", "p" * 1000, "suffix"])
def test_what_is_not_close_is_not_guessed_at(name: str) -> None:
    assert "did you mean" not in refused({"model": "m", name: "x"})


def test_many_unknown_members_are_not_all_compared() -> None:
    document = {f"promp{number}": 1 for number in range(10_000)}
    began = perf_counter()
    assert "did you mean" in refused({"model": "m"} | document)
    assert perf_counter() - began < 1
