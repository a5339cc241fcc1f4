"""Requests that the gateway changes, or makes, on their way to one provider."""

from __future__ import annotations

import asyncio

import orjson
import pytest

from app.core.errors import InvalidRequest
from app.openai.completions.fim import TEMPLATES
from app.openai.completions.request import parse
from app.providers.adapters.changed_request import ChangedRequest
from app.providers.adapters.filling import Filling
from app.providers.adapters.plain_request import PlainRequest
from app.providers.base import UpstreamCall


def request(**members):
    return parse(orjson.dumps({"model": "alias", "prompt": "a"} | members))


def test_a_member_is_changed_or_left_out_and_the_others_stay_as_they_were_written():
    changed = ChangedRequest(
        request(temperature=1.0, stop=["x"], seed=1), {"stop": None, "seed": 2}
    )
    assert changed.document == {"model": "alias", "prompt": "a", "temperature": 1.0, "seed": 2}
    assert changed.body_for("up") == b'{"model":"up","prompt":"a","temperature":1.0,"seed":2}'


def test_whoever_sends_a_changed_request_can_change_it_again():
    changed = ChangedRequest(request(n=2), {"seed": 2})
    assert orjson.loads(changed.body_for("up", {"seed": b"", "n": b"3"})) == {
        "model": "up",
        "prompt": "a",
        "n": 3,
    }


def test_a_changed_request_keeps_the_limit_that_was_written_out():
    changed = ChangedRequest(request().bound(), {"seed": 2})
    assert orjson.loads(changed.body_for("up"))["max_tokens"] == 16


def test_a_request_of_our_own_is_sent_as_its_document_says():
    made = PlainRequest({"prompt": "a", "x": 1})
    assert orjson.loads(made.body_for("up", {"x": b"", "y": b"[1]"})) == {
        "prompt": "a",
        "model": "up",
        "y": [1],
    }


class Kept:
    """Keeps the call that it was asked."""

    async def answer(self, call):
        self.call = call
        return b"{}"


def test_a_suffix_is_written_into_the_prompt_and_its_marks_are_counted():
    kept = Kept()
    filling = Filling(kept, TEMPLATES["starcoder"])  # type: ignore[arg-type]
    asked = request(prompt=["a", "b"], suffix="z")
    asyncio.run(filling.answer(UpstreamCall("completions", asked, "up")))
    sent = orjson.loads(kept.call.request.body_for("up"))
    assert sent["prompt"][1] == "<fim_prefix>b<fim_suffix>z<fim_middle>"
    assert "suffix" not in sent
    assert filling.fan_out(asked).added == 2 * len("<fim_prefix><fim_suffix><fim_middle>")
    assert filling.fan_out(request()).added == 0


@pytest.mark.parametrize("members", [{"prompt": [1, 2]}, {"echo": True}])
def test_what_would_show_the_template_is_refused(members):
    filling = Filling(Kept(), TEMPLATES["qwen"])  # type: ignore[arg-type]
    call = UpstreamCall("completions", request(suffix="z", **members), "up")
    with pytest.raises(InvalidRequest) as caught:
        asyncio.run(filling.answer(call))
    assert caught.value.param in members
