"""A whole answer is passed on as it is, mended where it can be read, else refused."""

from __future__ import annotations

import contextlib
from typing import Any

import orjson
import pytest

from app.core.errors import UpstreamInvalid
from app.core.usage import Usage
from app.openai.completions.answer import Answer, read_answer
from app.openai.completions.request import parse

NOW = 1_700_000_000
REMOVED = object()


def choice(index: Any = 0, **members: Any) -> dict[str, Any]:
    whole = {"text": "t", "index": index, "logprobs": None, "finish_reason": "stop"} | members
    return {name: value for name, value in whole.items() if value is not REMOVED}


def answer(**members: Any) -> dict[str, Any]:
    whole = {
        "id": "cmpl-1",
        "object": "text_completion",
        "created": 1_600_000_000,
        "model": "up",
        "choices": [choice()],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    } | members
    return {name: value for name, value in whole.items() if value is not REMOVED}


def read(body: dict[str, Any] | bytes, **members: Any) -> Answer:
    request = parse(orjson.dumps({"model": "m", "prompt": "a prompt"} | members))
    data = body if isinstance(body, bytes) else orjson.dumps(body)
    return read_answer(data, request, "asked", NOW)


def mended(body: dict[str, Any], **members: Any) -> dict[str, Any]:
    document: dict[str, Any] = orjson.loads(read(body, **members).body)
    return document


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"system_fingerprint": "f", "x": [1, {"y": None}]},
        {"choices": [choice(prompt_logprobs=None, token_ids=[1])]},
        {"choices": [choice(logprobs={"tokens": []})]},
        {"choices": [choice(text="é\u2028😀")]},
    ],
)
def test_a_clean_answer_passes_byte_for_byte(extra: dict[str, Any]) -> None:
    body = b"\n " + orjson.dumps(answer(**extra), option=orjson.OPT_INDENT_2) + b" \n"
    assert read(body) == Answer(body, "up", Usage(3, 2))


def test_digits_and_escapes_of_a_clean_answer_stay() -> None:
    body = orjson.dumps(answer()).replace(b'"text":"t"', b'"text":"\\u0074","x":1.50e0')
    assert read(body).body == body


def test_usage_details_are_kept() -> None:
    details = {"cached_tokens": 1}
    body = answer()
    body["usage"]["prompt_tokens_details"] = details
    assert orjson.loads(read(body).body)["usage"]["prompt_tokens_details"] == details


@pytest.mark.parametrize(
    ("given", "id"), [("chatcmpl-9", "cmpl-chatcmpl-9"), ("9", "cmpl-9"), ("cmpl-9", "cmpl-9")]
)
def test_an_id_gets_the_prefix_of_completions(given: str, id: str) -> None:
    assert mended(answer(id=given))["id"] == id


@pytest.mark.parametrize("given", [REMOVED, None, "", 5, []])
def test_a_missing_id_is_made(given: Any) -> None:
    assert mended(answer(id=given))["id"].startswith("cmpl-")


@pytest.mark.parametrize("given", [REMOVED, None, "chat.completion", 5])
def test_the_object_is_named_rightly(given: Any) -> None:
    assert mended(answer(object=given))["object"] == "text_completion"


@pytest.mark.parametrize(
    ("given", "created"),
    [
        (REMOVED, NOW),
        (None, NOW),
        ("now", NOW),
        (1_600_000_000.7, 1_600_000_000),
        (True, NOW),
    ],
)
def test_created_is_whole_seconds(given: Any, created: int) -> None:
    assert mended(answer(created=given))["created"] == created


@pytest.mark.parametrize("given", [REMOVED, None, 5])
def test_a_model_that_is_not_named_is_the_one_that_was_asked(given: Any) -> None:
    assert read(answer(model=given)).model == "asked"


@pytest.mark.parametrize(
    "given",
    [
        REMOVED,
        None,
        {},
        "many",
        {"prompt_tokens": "3"},
        {"prompt_tokens": -1, "completion_tokens": 0},
        {"prompt_tokens": True, "completion_tokens": 1},
    ],
)
def test_usage_that_cannot_be_trusted_is_estimated(given: Any) -> None:
    read_one = read(answer(usage=given, choices=[choice(text="12345678")]))
    assert read_one.usage == Usage(2, 2, estimated=True)
    assert orjson.loads(read_one.body)["usage"] == read_one.usage.document()


def test_a_usage_without_a_total_gets_one() -> None:
    usage = mended(answer(usage={"prompt_tokens": 3, "completion_tokens": 2}))["usage"]
    assert usage["total_tokens"] == 5


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0], [2, 1, 0]])
def test_choices_come_in_index_order(order: list[int]) -> None:
    body = answer(choices=[choice(index, text=str(index)) for index in order])
    assert [c["text"] for c in mended(body, n=3)["choices"]] == ["0", "1", "2"]


@pytest.mark.parametrize("index", [REMOVED, None])
def test_choices_without_an_index_are_counted(index: Any) -> None:
    body = answer(choices=[choice(index), choice(index)])
    assert [c["index"] for c in mended(body, n=2)["choices"]] == [0, 1]


def test_a_choice_has_every_member_of_the_contract() -> None:
    body = answer(choices=[choice(logprobs=REMOVED, finish_reason=REMOVED)])
    assert mended(body)["choices"] == [choice(finish_reason=None)]


def test_an_empty_finish_reason_is_none() -> None:
    assert mended(answer(choices=[choice(finish_reason="")]))["choices"][0]["finish_reason"] is None


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"<html>",
        b"\xff",
        orjson.dumps(answer())[:-1],
        orjson.dumps(answer()) + b"{}",
        orjson.dumps(answer()).replace(b'"t"', b'"\xff"'),
        orjson.dumps(answer()).replace(b'"t"', b"NaN"),
    ],
)
def test_what_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(UpstreamInvalid):
        read(body)


@pytest.mark.parametrize(
    "members",
    [
        {"choices": REMOVED},
        {"choices": None},
        {"choices": []},
        {"choices": {}},
        {"choices": "x"},
        {"choices": [None]},
        {"choices": ["t"]},
        {"choices": [choice(text=REMOVED)]},
        {"choices": [choice(text=None)]},
        {"choices": [choice(text=5)]},
        {"choices": [choice(text=["t"])]},
        {"choices": [choice("0")]},
        {"choices": [choice(True)]},
        {"choices": [choice(0.0)]},
        {"choices": [choice(1)]},
        {"choices": [choice(-1)]},
        {"choices": [choice(finish_reason=5)]},
        {"choices": [choice(finish_reason=["stop"])]},
        {"choices": [choice(logprobs=[])]},
        {"choices": [choice(logprobs="x")]},
        {"choices": REMOVED, "message": {"content": "hi"}},
        {"error": {"message": "no"}, "choices": REMOVED},
        {"error": "no", "id": "x"},
        {"error": {"message": "no"}},
    ],
    ids=lambda members: repr(members).replace(repr(REMOVED), "REMOVED")[:50],
)
def test_what_is_not_a_completion_is_refused(members: dict[str, Any]) -> None:
    with pytest.raises(UpstreamInvalid):
        read(answer(**members))


def test_two_choices_of_one_index_are_refused() -> None:
    with pytest.raises(UpstreamInvalid, match="two choices"):
        read(answer(choices=[choice(0), choice(0)]), n=2)


@pytest.mark.parametrize(
    ("members", "count", "good"),
    [
        ({}, 1, True),
        ({}, 2, False),
        ({"n": 3}, 3, True),
        ({"n": 3}, 1, True),  # a server that ignores n
        ({"n": 3}, 4, False),
        ({"prompt": ["a", "b", "c"]}, 3, True),
        ({"prompt": ["a", "b", "c"]}, 1, False),
        ({"prompt": ["a", "b"], "n": 2}, 2, False),
        ({"prompt": ["a", "b"], "n": 2}, 4, True),
        ({"prompt": [[1], [2]]}, 1, False),
        ({"prompt": ["a"], "n": 2}, 1, True),
    ],
)
def test_choices_must_be_attributable_to_their_prompts(
    members: dict[str, Any], count: int, good: bool
) -> None:
    body = answer(choices=[choice(index) for index in range(count)])
    if good:
        assert len(mended(body, **members)["choices"]) == count
    else:
        with pytest.raises(UpstreamInvalid, match="choices"):
            read(body, **members)


def nested(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize("levels", [100, 300, 900])
def test_an_absurdly_nested_answer_is_never_a_crash(levels: int) -> None:
    # The id needs mending, so the whole answer is decoded and written anew.
    body = orjson.dumps(answer(id="9", extra=None)).replace(
        b'"extra":null', b'"extra":' + b"[" * levels + b"]" * levels
    )
    with contextlib.suppress(UpstreamInvalid):
        read(body)
