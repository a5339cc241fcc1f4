"""Which members a provider is sent: what is not allowed is refused by name, never dropped."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import InvalidRequest
from app.openai.completions.bounds import CONTRACT as COMPLETIONS
from app.openai.forwarded_members import forwardable, refuse_others

CONTRACT = COMPLETIONS.names
BODY: dict[str, Any] = {"model": "m", "prompt": "x", "min_p": 0.1, "guided_json": {}}


def test_all_lets_everything_through() -> None:
    refuse_others(BODY, CONTRACT, forwardable(("all",)))


def test_known_lets_the_contracts_fields_through() -> None:
    known = forwardable(("known",))
    refuse_others(dict.fromkeys(CONTRACT), CONTRACT, known)
    with pytest.raises(InvalidRequest) as caught:
        refuse_others(BODY, CONTRACT, known)
    assert (caught.value.status, caught.value.code) == (400, "unsupported_parameter")
    assert [problem.param for problem in caught.value.details] == ["min_p", "guided_json"]


def test_a_list_adds_names() -> None:
    refuse_others(BODY, CONTRACT, forwardable(("min_p", "guided_json")))
    with pytest.raises(InvalidRequest) as caught:
        refuse_others(BODY, CONTRACT, forwardable(("min_p",)))
    assert caught.value.param == "guided_json"


def test_an_answer_names_few_and_short() -> None:
    with pytest.raises(InvalidRequest) as caught:
        refuse_others({f"{i}" * 1000: 1 for i in range(1000)}, CONTRACT, forwardable(("known",)))
    assert len(caught.value.body()) < 16_000
