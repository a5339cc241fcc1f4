"""What may be asked of POST /v1/completions, and what is forwarded of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import InvalidRequest
from app.openai.completions.request import DEFAULT_MAX_TOKENS, FIELDS, CompletionRequest, parse
from app.openai.validators import MAX_PROMPTS, MAX_STOPS

BASE = {"model": "m", "prompt": "p"}


def request(**members: Any) -> CompletionRequest:
    return parse(orjson.dumps(BASE | members))


def refused(document: dict[str, Any]) -> dict[str, Any]:
    """The error envelope of a refused document."""
    with pytest.raises(InvalidRequest) as caught:
        parse(orjson.dumps(document))
    assert caught.value.status == 400
    return caught.value.envelope()["error"]  # type: ignore[return-value]


# Every field that takes a number: its good edges, and what lies just outside or is of another type.
NUMBERS: dict[str, tuple[list[Any], list[Any]]] = {
    "max_tokens": ([0, 1, 10**9, 16.0, 1e9], [-1, -1.0, 1.5, 1e19]),
    "temperature": ([0, 0.0, 1, 2, 2.0], [-0.01, 2.01, 3]),
    "top_p": ([0, 0.5, 1, 1.0], [-0.01, 1.01]),
    "n": ([1, 128, 1.0, 128.0], [0, -1, 129, 0.0, 1.5, 129.0]),
    "best_of": ([0, 1, 128, 0.0, 2.0], [-1, 129, 1.5, 129.0]),
    "logprobs": ([0, 5, 0.0, 5.0], [-1, 6, 0.5, 6.0]),
    "frequency_penalty": ([-2, 0, 2, 1.5], [-2.01, 2.01]),
    "presence_penalty": ([-2, 0, 2, -1.5], [-2.01, 2.01]),
    "seed": ([0, -1, 2**53, -(2**63), 2**63, 1.0, -0.0, 1e17], [1.5]),
}
NOT_NUMBERS: list[Any] = [True, False, "1", [1], {}]
OTHERS: dict[str, tuple[list[Any], list[Any]]] = {
    "model": (["m", "org/model:tag"], [1, True, [], {}, ""]),
    "prompt": (
        ["", "p", ["a"], ["a", ""], [1], [0, 2**31], [[1], [2, 3]], ["a"] * MAX_PROMPTS],
        [
            1,
            True,
            {},
            [],
            [[]],
            [[1], []],
            [1, "a"],
            ["a", [1]],
            [[1], 2],
            [[1], "a"],
            [-1],
            [[-1]],
            [1.0],
            [True],
            [[True]],
            [None],
            ["a", None],
            [[1.0]],
            [{}],
            [[[1]]],
            ["a"] * (MAX_PROMPTS + 1),
            [[1]] * (MAX_PROMPTS + 1),
        ],
    ),
    "stream": ([True, False], [0, 1, "true", []]),
    "echo": ([True, False], [0, 1, "false", {}]),
    "stop": (
        ["", "x", [], ["a"], ["a"] * 4, ["a"] * MAX_STOPS],
        [1, True, {}, [1], ["a", None], [["a"]], ["a"] * (MAX_STOPS + 1)],
    ),
    "suffix": (["", "s"], [1, True, ["s"], {}]),
    "user": (["", "u"], [1, True, ["u"], {}]),
    "logit_bias": (
        [{}, {"50256": -100}, {"1": 100, "x": 0.5}],
        [[], "x", 1, True, {"1": 100.5}, {"1": -101}, {"1": "5"}, {"1": True}, {"1": None}],
    ),
}
GOOD = [(f, v) for f, (good, _) in (NUMBERS | OTHERS).items() for v in good]
BAD = [(f, v) for f, (_, bad) in (NUMBERS | OTHERS).items() for v in bad] + [
    (field, value) for field in NUMBERS for value in NOT_NUMBERS
]


def short(value: Any) -> str:
    return repr(value)[:30]


@pytest.mark.parametrize(("field", "value"), GOOD, ids=short)
def test_a_value_within_its_bounds_is_taken_as_it_is(field: str, value: Any) -> None:
    document = request(**{field: value}).document
    assert document.get(field, value) == value


@pytest.mark.parametrize(("field", "value"), BAD, ids=short)
def test_a_wrong_value_is_refused_by_name(field: str, value: Any) -> None:
    error = refused(BASE | {field: value})
    assert error["param"] == field
    assert field in error["message"]
    assert [detail["param"] for detail in error["details"]] == [field]


def test_every_field_of_the_contract_is_in_these_tables() -> None:
    assert set(FIELDS) == set(NUMBERS) | set(OTHERS) | {"stream_options"}


def test_every_wrong_field_is_named_at_once() -> None:
    wrong = {field: bad[0] for field, (_, bad) in (NUMBERS | OTHERS).items()}
    wrong |= {"stream_options": 5}
    error = refused(wrong)
    assert {detail["param"] for detail in error["details"]} == set(FIELDS)
    assert (error["param"], error["message"]) == (
        error["details"][0]["param"],
        error["details"][0]["message"],
    )


def test_an_error_of_fields_says_that_a_retry_is_useless() -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(n=0)
    assert (b"x-should-retry", b"false") in caught.value.headers
    assert caught.value.envelope()["error"]["type"] == "invalid_request_error"  # type: ignore[index]


def test_an_error_of_syntax_has_its_own_code() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(b"{")
    assert caught.value.code == "invalid_json"


@pytest.mark.parametrize("field", sorted(set(FIELDS) - {"model", "prompt"}))
def test_null_means_absent_and_is_not_forwarded(field: str) -> None:
    sent = request(**{field: None}).body_for("up")
    assert orjson.loads(sent) == {"model": "up", "prompt": "p"}


@pytest.mark.parametrize("field", ["model", "prompt"])
@pytest.mark.parametrize("how", ["absent", "null"])
def test_model_and_prompt_are_required(field: str, how: str) -> None:
    document: dict[str, Any] = BASE | {field: None}
    if how == "absent":
        del document[field]
    assert refused(document)["param"] == field


def test_a_null_prompt_beside_messages_is_no_prompt() -> None:
    messages = [{"role": "user", "content": "hi"}]
    assert request(prompt=None, messages=messages).messages == messages


def test_prompt_and_messages_together_are_refused() -> None:
    assert refused(BASE | {"messages": [{"role": "user", "content": "x"}]})["param"] == "messages"


@pytest.mark.parametrize("value", [0, None])
def test_best_of_that_means_absent_is_not_forwarded(value: Any) -> None:
    asked = request(best_of=value, n=3)
    assert "best_of" not in orjson.loads(asked.body_for("up"))
    assert asked.best_of == 3


def test_an_empty_list_of_stops_is_not_forwarded() -> None:
    assert "stop" not in orjson.loads(request(stop=[]).body_for("up"))


@pytest.mark.parametrize(
    ("members", "param"),
    [
        ({"n": 3, "best_of": 2}, "best_of"),
        ({"n": 2, "best_of": 3, "stream": True}, "best_of"),
        ({"stream_options": {"include_usage": True}}, "stream_options"),
        ({"stream_options": {}, "stream": False}, "stream_options"),
        ({"stream_options": {"include_usage": 1}, "stream": True}, "stream_options.include_usage"),
        ({"stream_options": [], "stream": True}, "stream_options"),
        ({"stream_options": True, "stream": True}, "stream_options"),
    ],
)
def test_a_wrong_combination_is_refused(members: dict[str, Any], param: str) -> None:
    assert refused(BASE | members)["param"] == param


@pytest.mark.parametrize(
    "members",
    [
        {"n": 2, "best_of": 2, "stream": True},
        {"n": 2, "best_of": 3},
        {"n": 5, "best_of": 0, "stream": True},
        {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}},
        {"stream": True, "stream_options": {}},
        {"stream": False, "stream_options": None},
        {"stream": True, "stream_options": {"include_usage": None}},
        {"max_tokens": 0, "echo": True, "logprobs": 0},
    ],
)
def test_a_right_combination_is_taken(members: dict[str, Any]) -> None:
    assert request(**members).model == "m"


def test_a_wrong_field_is_not_blamed_for_its_combination_too() -> None:
    assert [d["param"] for d in refused(BASE | {"n": 0, "best_of": 1})["details"]] == ["n"]


@pytest.mark.parametrize(
    ("prompt", "n", "prompts", "choices"),
    [
        ("", 1, [""], 1),
        ("p", 3, ["p"], 3),
        (["a", "b"], 2, ["a", "b"], 4),
        ([1, 2, 3], 1, [[1, 2, 3]], 1),
        ([[1], [2]], 2, [[1], [2]], 4),
    ],
)
def test_each_form_of_prompt_is_split(prompt: Any, n: int, prompts: Any, choices: int) -> None:
    asked = request(prompt=prompt, n=n)
    assert asked.prompts == prompts
    assert asked.choices == choices


def test_the_default_of_max_tokens_is_the_openai_one() -> None:
    assert request().max_tokens == DEFAULT_MAX_TOKENS == 16


# messages


@pytest.mark.parametrize(
    ("messages", "param"),
    [
        ([], "messages"),
        ("hi", "messages"),
        ({}, "messages"),
        (["hi"], "messages[0]"),
        ([{"content": "hi"}], "messages[0].role"),
        ([{"role": "robot", "content": "hi"}], "messages[0].role"),
        ([{"role": 1, "content": "hi"}], "messages[0].role"),
        ([{"role": ["user"], "content": "hi"}], "messages[0].role"),
        ([{"role": {}, "content": "hi"}], "messages[0].role"),
        ([{"role": None, "content": "hi"}], "messages[0].role"),
        ([{"role": "user"}], "messages[0].content"),
        ([{"role": "user", "content": None}], "messages[0].content"),
        ([{"role": "user", "content": 1}], "messages[0].content"),
        ([{"role": "user", "content": []}], "messages[0].content"),
        ([{"role": "user", "content": ["hi"]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": "text"}]}], "messages[0].content"),
        ([{"role": "user", "content": [{"type": ["text"]}]}], "messages[0].content"),
        ([{"role": "assistant"}], "messages[0].content"),
        (
            [{"role": "user", "content": "hi"}, {"role": "user", "content": 5}],
            "messages[1].content",
        ),
    ],
    ids=short,
)
def test_wrong_messages_are_refused_by_place(messages: Any, param: str) -> None:
    assert refused({"model": "m", "messages": messages})["param"] == param


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": ""}],
        [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}],
        [{"role": "developer", "content": "s"}, {"role": "user", "content": "u"}],
        [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
        [{"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}],
        [{"role": "user", "content": "hi", "name": "me"}],
    ],
    ids=short,
)
def test_right_messages_are_taken(messages: Any) -> None:
    assert parse(orjson.dumps({"model": "m", "messages": messages})).messages == messages


# The body that goes upstream


def test_the_forwarded_body_is_the_callers_own_bytes() -> None:
    body = (
        b'{ "prompt" : "a\\u0062\\n" , "model":"alias", "temperature": 0.70, "min_p":1e-1,\n'
        b'"guided_json":{"b" :1, "a":[ ]},"seed":12345678901234567}'
    )
    assert parse(body).body_for("up") == (
        b'{"model":"up","prompt":"a\\u0062\\n","temperature":0.70,"min_p":1e-1,'
        b'"guided_json":{"b" :1, "a":[ ]},"seed":12345678901234567}'
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [("top_k", 40), ("guided_json", {"a": None}), ("x", None), ("é", "ü"), ('"', 1), ("", [])],
)
def test_an_unknown_member_is_forwarded_untouched(name: str, value: Any) -> None:
    assert orjson.loads(request(**{name: value}).body_for("up"))[name] == value


def test_a_change_replaces_a_member_and_an_empty_one_removes_it() -> None:
    sent = request(user="u", seed=1).body_for("up", {"user": b"", "seed": b"2", "n": b"3"})
    assert orjson.loads(sent) == {"model": "up", "prompt": "p", "seed": 2, "n": 3}


MEMBERS = st.dictionaries(
    st.text(st.characters(codec="utf-8"), max_size=6).filter(
        lambda name: name not in {*FIELDS, "messages"}
    ),
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner),
        max_leaves=4,
    ),
    max_size=4,
)


@settings(max_examples=100, deadline=None)
@given(MEMBERS, st.text(st.characters(codec="utf-8"), max_size=10))
def test_nothing_but_the_model_changes_on_the_way(members: dict[str, Any], model: str) -> None:
    body = orjson.dumps(BASE | members)
    assert orjson.loads(parse(body).body_for(model)) == BASE | members | {"model": model}


@pytest.mark.parametrize(
    ("members", "sampled"),
    [
        ({}, True),
        ({"temperature": 1}, True),
        ({"temperature": 0.1}, True),
        ({"temperature": 0}, False),
        ({"temperature": 0.0}, False),
        ({"temperature": -0.0}, False),
        ({"seed": 0}, False),
        ({"seed": 1, "temperature": 1}, False),
        ({"seed": None}, True),
        ({"temperature": None}, True),
        ({"n": 2, "temperature": 0}, False),
    ],
)
def test_a_request_is_sampled_without_a_seed_and_with_temperature(
    members: dict[str, Any], sampled: bool
) -> None:
    assert request(**members).sampled == sampled


# A change is a copy


@pytest.mark.parametrize(
    "change",
    [
        lambda asked: asked.bound(),
        lambda asked: asked.of_prompts([1]),
    ],
    ids=["bound", "of_prompts"],
)
def test_a_change_leaves_the_request_as_it_was(change: Any) -> None:
    asked = request(prompt=["a", "b"], seed=1)
    before = asked.body_for("m"), list(asked.prompts), dict(asked.document)
    changed = change(asked)
    assert changed is not asked
    assert (asked.body_for("m"), asked.prompts, asked.document) == before


def test_a_request_that_is_bound_says_its_default_limit() -> None:
    sent = orjson.loads(request().bound().body_for("m"))
    assert sent["max_tokens"] == DEFAULT_MAX_TOKENS


def test_some_prompts_of_a_batch_are_sent_as_they_were_written() -> None:
    raw = b'{"model":"m","prompt":["a", "\\u0062","c"],"n":2}'
    some = parse(raw).of_prompts([1, 2])
    assert b'"prompt":["\\u0062","c"]' in some.body_for("m")
    assert (some.prompts, some.choices) == (["b", "c"], 4)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["role", "content", "type", "text", "x"]), inner, max_size=3
        )
    ),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(st.sampled_from([*FIELDS, "messages", "x"]), JSON, max_size=6))
def test_whatever_is_sent_is_taken_or_refused_cleanly(document: dict[str, Any]) -> None:
    import json

    try:
        asked = parse(json.dumps(document).encode())
    except InvalidRequest as error:
        assert error.message  # noqa: PT017 - raising is optional
    else:
        assert asked.model


# Integers written as floats: JSON knows no difference, servers do.


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b"16.0", b"16"),
        (b"1.6e1", b"16"),
        (b"160E-1", b"16"),
        (b"16", b"16"),
    ],
)
@pytest.mark.parametrize("field", ["max_tokens", "n", "seed"])
def test_an_integer_however_it_is_written_is_one(field: str, written: bytes, sent: bytes) -> None:
    asked = parse(b'{"model":"m","prompt":"p","%b":%b}' % (field.encode(), written))
    assert type(asked.document[field]) is int
    assert getattr(asked, field, 16) == 16
    assert b'"%b":%b' % (field.encode(), sent) in asked.body_for("up")


def test_only_the_integers_are_rewritten() -> None:
    body = b'{"model":"m","n":2.0,"temperature":1.0,"min_p":0.0,"top_k":5.0,"prompt":"p"}'
    expected = b'{"model":"up","n":2,"temperature":1.0,"min_p":0.0,"top_k":5.0,"prompt":"p"}'
    assert parse(body).body_for("up") == expected


def test_bounds_between_fields_hold_for_floats_too() -> None:
    assert refused(BASE | {"n": 3.0, "best_of": 2.0})["param"] == "best_of"
    assert "(3)" in refused(BASE | {"n": 3.0, "best_of": 2.0})["message"]
    assert "best_of" not in request(n=2, best_of=0.0).document


@pytest.mark.parametrize(
    ("written", "sent"),
    [
        (b"18446744073709551617", b"18446744073709551617"),
        (b"-18446744073709551617", b"-18446744073709551617"),
        (b"1e20", b"1e20"),
        (b"1e18", b"1000000000000000000"),
        (b"-0.0", b"0"),
    ],
)
def test_a_seed_is_an_integer_and_one_beyond_64_bits_stays_as_it_is(
    written: bytes, sent: bytes
) -> None:
    asked = parse(b'{"model":"m","prompt":"p","seed":%b}' % written)
    assert b'"seed":%b}' % sent in asked.body_for("up")


@pytest.mark.parametrize("prompt", [[1.0], [1, 2.0], [[1.0]], [[1], [2.0]]])
def test_token_ids_are_integers_to_the_letter(prompt: Any) -> None:
    """As at OpenAI: an id is a name, not a quantity, and a prompt is forwarded as it is written."""
    assert refused(BASE | {"prompt": prompt})["param"] == "prompt"


# A conversation on a target that takes prompts


def test_a_request_with_a_prompt_is_asked_as_it_is() -> None:
    asked = request()
    assert asked.native() is asked


@pytest.mark.parametrize(
    ("content", "prompt"),
    [("hi", "hi"), ([{"type": "text", "text": "a"}, {"type": "text", "text": "b"}], "ab")],
)
def test_one_user_message_becomes_the_prompt_of_a_native_target(content: Any, prompt: str) -> None:
    asked = request(prompt=None, messages=[{"role": "user", "content": content}])
    assert asked.native().prompts == [prompt]
    assert asked.prompts == []  # what is passed along is frozen
    sent = orjson.loads(asked.native().body_for("up"))
    assert sent == {"model": "up", "prompt": prompt}


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "system", "content": "s"}],
        [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}],
    ],
)
def test_any_other_conversation_is_refused_by_a_native_target(messages: Any) -> None:
    with pytest.raises(InvalidRequest) as caught:
        request(prompt=None, messages=messages).native()
    assert (caught.value.code, caught.value.param) == ("unsupported_parameter", "messages")
