"""GET /v1/models: the aliases that a key may use."""

from __future__ import annotations

from typing import Any

import pytest

from app.core.errors import NotFound
from app.routes.models import models_app
from tests.app.routes.asking import Answered, ask
from tests.harness.chain import KEY, in_loop

APP = models_app(["b", "a/long name", "secret"], 1_700_000_000)
CALLER = KEY._replace(models=frozenset({"b", "a/long name", "gone"}))


def asked(path: str, **scope: Any) -> Answered:
    answered: Answered = in_loop(lambda: ask(APP, path=path, key=CALLER, **scope))
    return answered


def test_the_list_has_what_the_key_may_use_in_order() -> None:
    document = asked("/v1/models").document
    assert document["object"] == "list"
    assert [card["id"] for card in document["data"]] == ["a/long name", "b"]


def test_a_card_says_what_a_model_is() -> None:
    card = {"id": "b", "object": "model", "created": 1_700_000_000, "owned_by": "headgate"}
    assert asked("/v1/models/b").document == card


def test_an_alias_may_hold_anything() -> None:
    found = asked("/v1/models/a/long name", raw_path=b"/v1/models/a%2Flong%20name")
    assert found.document["id"] == "a/long name"


def test_unknown_and_forbidden_models_are_told_apart_by_nobody() -> None:
    said = []
    for alias in ("secret", "unheard-of", "gone"):
        with pytest.raises(NotFound) as caught:
            asked(f"/v1/models/{alias}")
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        said.append(caught.value.message.replace(alias, "X"))
    assert len(set(said)) == 1
