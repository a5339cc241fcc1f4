"""Where money or tokens are held, a body says once how much is generated, and that is the bound."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.core.request import Cap
from app.openai.chat_bridge import ChatPlan
from app.openai.completions.bounds import is_bounded, limited, output_bound
from app.openai.completions.request import FIELDS, CompletionRequest, parse
from app.openai.output_limits import OPENAI, folded
from cache.answers.fingerprint import Fingerprinter
from cache.answers.fingerprint_form import Scope

# As they are written by those who know them.
LIMITS = (
    "max_completion_tokens max_output_tokens n_predict num_predict max_new_tokens "
    "max_tokens_to_sample max_gen_len max_gen_tokens tokens_to_generate request_output_len "
    "maxTokens maxOutputTokens maxTokenCount MAX_TOKENS Max_Tokens n-predict max_to\u212aens "
    "max_token\u017f"
).split()
CANDIDATES = (
    "n_cmpl num_return_sequences num_beams num_beam_groups beam_width num_generations "
    "candidate_count candidateCount num_results numResults num_samples"
).split()
REFUSED = (
    "max_length max_total_tokens auto_max_new_tokens prediction prompt_embeds multi_modal_data "
    "image_data chat_template chat_template_str template mm_processor_kwargs media_io_kwargs "
    "models fallbacks route plugins web_search_options service_tier"
).split()
RESPELLED = {
    "N": "n",
    "Best_Of": "best_of",
    "bestOf": "best_of",
    "MODEL": "model",
    "Prompt": "prompt",
    "Suffix": "suffix",
}
FLOORS = ["min_tokens", "min_new_tokens", "min_completion_tokens", "min_length", "minTokens"]


def request(**members: Any) -> CompletionRequest:
    body = {name: value for name, value in members.items() if value is not ...}
    return parse(orjson.dumps({"model": "m", "prompt": "x"} | body))


def bound(cap: Cap | None = None, **members: Any) -> dict[str, Any]:
    """What the upstream is sent."""
    return orjson.loads(limited(request(**members), cap, OPENAI).body_for("m"))


def refused(cap: Cap | None = None, **members: Any) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        limited(request(**members), cap, OPENAI)
    return caught.value


def test_one_limit_is_passed_on_as_it_is() -> None:
    asked = request(max_tokens=7, temperature=0.5)
    made = limited(asked, None, OPENAI)
    assert made.body_for("m") == asked.body_for("m")
    assert (made.limited, asked.limited) == (True, False)  # what is passed along is frozen


def test_no_limit_is_the_sixteen_that_are_held() -> None:
    asked = limited(request(), None, OPENAI)
    assert (asked.max_tokens, orjson.loads(asked.body_for("m"))["max_tokens"]) == (16, 16)


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(("value", "tokens"), [(20000, 20000), (20000.0, 20000), (None, 16)])
def test_another_name_becomes_the_bound(name: str, value: Any, tokens: int) -> None:
    asked = limited(request(**{name: value}), None, OPENAI)
    assert asked.max_tokens == output_bound(asked) == tokens
    assert orjson.loads(asked.body_for("m")) == {"model": "m", "prompt": "x", "max_tokens": tokens}


@pytest.mark.parametrize("name", LIMITS)
@pytest.mark.parametrize(
    "value", [-1, -2, 0, 0.0, -1.0, 0.5, 20000.5, "20000", "-1", "", True, False, [], [5], {}]
)
def test_a_limit_that_is_none_is_refused_by_name(name: str, value: Any) -> None:
    error = refused(**{name: value})
    assert (error.status, error.code, error.param) == (400, "invalid_request", name)
    assert "integer of at least 1" in error.message


@pytest.mark.parametrize(
    ("members", "tokens"),
    [
        ({"max_tokens": 5, "n_predict": 9}, 5),
        ({"max_tokens": 9, "n_predict": 5}, 5),
        ({"max_tokens": 9, "n_predict": None}, 9),
        ({"max_tokens": None, "max_new_tokens": 40}, 40),
        ({"max_completion_tokens": 3, "n_predict": 2, "max_new_tokens": 4}, 2),
        ({"max_tokens": 0, "n_predict": 4}, 0),
    ],
)
def test_of_several_the_smallest_counts(members: dict[str, Any], tokens: int) -> None:
    assert bound(**members) == {"model": "m", "prompt": "x", "max_tokens": tokens}


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.parametrize("value", [2, 128, "2", -1, [1], {}])
def test_more_answers_by_another_name_are_refused(name: str, value: Any) -> None:
    error = refused(**{name: value})
    assert (error.status, error.code, error.param) == (400, "unsupported_parameter", name)


@pytest.mark.parametrize("name", CANDIDATES)
@pytest.mark.parametrize("value", [1, 0, None, False])
def test_one_answer_by_another_name_is_what_there_is_anyway(name: str, value: Any) -> None:
    assert name not in bound(**{name: value})


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("value", ["x", 5, True, {"a": 1}, ["m"]])
def test_what_cannot_be_bounded_is_refused(name: str, value: Any) -> None:
    error = refused(**{name: value})
    assert (error.code, error.param) == ("unsupported_parameter", name)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("value", [None, False])
def test_what_is_turned_off_is_left_out(name: str, value: Any) -> None:
    assert bound(**{name: value}) == {"model": "m", "prompt": "x", "max_tokens": 16}


@pytest.mark.parametrize("tier", ["auto", "default", "flex"])
def test_a_tier_that_is_not_dearer_is_passed_on(tier: str) -> None:
    assert bound(service_tier=tier)["service_tier"] == tier


@pytest.mark.parametrize("name", RESPELLED)
def test_a_field_in_another_spelling_is_refused(name: str) -> None:
    """A server written in Go reads `N` as `n`, and the last of both wins."""
    error = refused(**{name: 3})
    assert (error.code, error.param) == ("unsupported_parameter", name)
    assert f"`{RESPELLED[name]}`" in error.message


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"options": {"num_predict": 512}}, "options.num_predict"),
        ({"options": {"temperature": 1, "num_predict": -1}}, "options.num_predict"),
        ({"parameters": {"max_new_tokens": 9}}, "parameters.max_new_tokens"),
        ({"generation_config": {"maxOutputTokens": 9}}, "generation_config.maxOutputTokens"),
        ({"extra_body": {"options": {"n_predict": 9}}}, "extra_body.options.n_predict"),
        ({"sampling_params": {"n": 9}}, "sampling_params.n"),
        ({"parameters": {"num_beams": 9}}, "parameters.num_beams"),
        ({"parameters": {"min_tokens": 9}}, "parameters.min_tokens"),
        ({"extra_body": {"chat_template": "x"}}, "extra_body.chat_template"),
        ({"anything": {"model": "dearer"}}, "anything.model"),
    ],
)
def test_a_limit_inside_an_object_is_refused_by_its_path(
    members: dict[str, Any], param: str
) -> None:
    error = refused(**members)
    assert (error.code, error.param) == ("unsupported_parameter", param)


@pytest.mark.parametrize(
    "members",
    [
        {"options": {"temperature": 0.2}},
        {"guided_json": {"properties": {"max_tokens": {"type": "integer"}, "n": {}}}},
        {"response_format": {"json_schema": {"schema": {"properties": {"model": {}}}}}},
        {"structured_outputs": {"json": {"properties": {"n": {}}}}},
        {"min_p": 0.1, "top_k": 40, "repetition_penalty": 1.0, "ignore_eos": True},
        {"do_sample": True, "keep_alive": -1, "metadata": {"model": "x"}, "use_beam_search": True},
    ],
)
def test_what_generates_no_more_is_passed_on(members: dict[str, Any]) -> None:
    assert bound(**members) == {"model": "m", "prompt": "x", "max_tokens": 16} | members
    assert is_bounded(request(**members), OPENAI)


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize(("value", "good"), [(0, True), (20, True), (20.0, True), (None, True)])
def test_a_least_number_within_the_bound_is_passed_on(name: str, value: Any, good: bool) -> None:
    assert bound(max_tokens=20, **{name: value})[name] == value


@pytest.mark.parametrize("name", FLOORS)
@pytest.mark.parametrize("value", [21, 1e9, -1, "5", 2.5, [], True])
def test_a_least_number_above_the_bound_is_refused(name: str, value: Any) -> None:
    error = refused(max_tokens=20, **{name: value})
    assert (error.code, error.param) == ("invalid_request", name)
    assert "from 0 to 20" in error.message


# A cap.

CAP = Cap(100, "this key's")


@pytest.mark.parametrize("name", ["max_tokens", "n_predict", "max_completion_tokens"])
def test_more_than_the_cap_is_refused_by_name_and_number(name: str) -> None:
    error = refused(CAP, **{name: 101})
    assert (error.status, error.code, error.param) == (400, "invalid_request", name)
    assert "at most 100" in error.message
    assert "max_output_tokens" in error.message
    assert bound(CAP, **{name: 100})["max_tokens"] == 100


@pytest.mark.parametrize(("cap", "sent"), [(8, 8), (16, 16), (100, 16)])
def test_no_limit_is_sixteen_or_the_cap_if_smaller(cap: int, sent: int) -> None:
    assert bound(Cap(cap, "the model's"))["max_tokens"] == sent


# Zero.


def test_zero_is_nothing_where_the_server_says_so() -> None:
    assert bound(max_tokens=0, echo=True)["max_tokens"] == 0


def test_zero_is_refused_where_the_server_takes_it_for_no_limit() -> None:
    with pytest.raises(InvalidRequest) as caught:
        limited(request(max_tokens=0), None, OPENAI._replace(zero_is_none=False))
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "max_tokens")


# The cache knows what is sent.


@pytest.mark.parametrize(
    ("members", "cap", "same_as"),
    [
        ({}, None, {}),
        ({}, None, {"max_tokens": 16}),
        ({}, Cap(8, "this key's"), {"max_tokens": 8}),
        ({"n_predict": 5}, None, {"max_tokens": 5}),
        ({"max_tokens": 9, "max_completion_tokens": 5}, None, {"max_tokens": 5}),
    ],
)
def test_a_bound_request_shares_answers_with_those_that_ask_for_the_same(
    members: dict[str, Any], cap: Cap | None, same_as: dict[str, Any]
) -> None:
    prints = Fingerprinter(
        scope=Scope("tenant", "acme", ""),
        namespace="",
        family="completions",
        alias="m",
        targets=[["openai", "m"]],
        normalize="standard",
    )
    bound_one = limited(request(**members), cap, OPENAI)
    assert prints.of(bound_one) == prints.of(request(**same_as))


# Answers stay small, and the request as it was.


def test_every_problem_is_named_and_their_number_is_bounded() -> None:
    error = refused(n_predict=-1, num_beams=2)
    assert [problem.param for problem in error.details] == ["n_predict", "num_beams"]
    many = {"n" + "_" * count + "predict": -1 for count in range(1, 500)}
    assert len(refused(**many).details) <= 32
    assert len(refused(**{"n_predict" + "_" * 5000: -1}).body()) < 1000


def test_what_is_left_is_sent_byte_for_byte() -> None:
    body = b'{"model":"m","prompt":"\\u00e9","n_predict":5,"temperature":1.0,"x":1E+2}'
    sent = limited(parse(body), None, OPENAI).body_for("up")
    expected = b'{"model":"up","prompt":"\\u00e9","temperature":1.0,"x":1E+2,"max_tokens":5}'
    assert sent == expected


def test_a_part_of_a_batch_stays_limited() -> None:
    asked = limited(request(prompt=["a", "b"], n_predict=5), None, OPENAI).of_prompts([1])
    assert asked.limited
    assert orjson.loads(asked.body_for("m"))["max_tokens"] == 5
    default = limited(request(prompt=["a", "b"]), None, OPENAI).of_prompts([1])
    assert orjson.loads(default.body_for("m"))["max_tokens"] == 16


@pytest.mark.parametrize("members", [{"n_predict": 5}, {"num_beams": 2}, {"options": {"n": 2}}])
def test_an_unbound_body_that_says_more_is_known(members: dict[str, Any]) -> None:
    assert not is_bounded(request(**members), OPENAI)


# Any body at all.

names = st.sampled_from(
    ["max_tokens", *LIMITS, *CANDIDATES, *REFUSED, *RESPELLED, *FLOORS, "top_k", "options"]
)
values = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.dictionaries(names, st.integers(-1, 50), max_size=2),
)
bodies = st.dictionaries(st.one_of(names, st.text(min_size=1, max_size=4)), values, max_size=6)


@given(bodies, st.integers(1, 3), st.booleans())
def test_whatever_is_forwarded_has_one_limit_and_it_is_the_bound(
    members: dict[str, Any], n: int, chat: bool
) -> None:
    members = {name: value for name, value in members.items() if name not in FIELDS} | {
        name: members[name] for name in ("max_tokens",) if type(members.get(name)) is int
    }
    try:
        asked = limited(request(**members | {"n": n}), None, OPENAI)
    except InvalidRequest:
        return
    if chat:
        [call] = ChatPlan(asked, frozenset(), "max_completion_tokens")
        sent, field = json.loads(call.request.body_for("up")), "max_completion_tokens"
    else:
        sent, field = json.loads(asked.body_for("up")), "max_tokens"  # every digit
    limiting = [name for name in sent if folded(name) in OPENAI.limits]
    assert limiting == [field]
    assert sent[field] * n == output_bound(asked)
    assert not [name for name in sent if folded(name) in OPENAI.candidates]


def test_the_documentation_lists_every_name() -> None:
    page = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text()
    [section] = re.findall(r"### One limit\n(.*?)\n### ", page, re.DOTALL)
    listed = {folded(name) for name in re.findall(r"`(\w+)`", section)}
    for names in (OPENAI.limits, OPENAI.floors, OPENAI.candidates, OPENAI.refused):
        assert set(names) - listed == set()
