"""An embeddings answer: read, mended or refused, taken apart and put together, in either form."""

from __future__ import annotations

import base64
import struct
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.core.errors import UpstreamInvalid
from app.core.reply import Answer
from app.core.usage import Usage
from app.openai.embeddings.answer import (
    in_form,
    is_complete,
    joined,
    merge,
    read_answer,
    split,
    to_base64,
    to_floats,
    vectors_of,
)
from app.openai.embeddings.request import EmbeddingsRequest, parse

NOW = 1_700_000_000
USAGE = {"prompt_tokens": 3, "total_tokens": 3}


def request(given_input: Any = "a", **members: Any) -> EmbeddingsRequest:
    return parse(orjson.dumps({"model": "m", "input": given_input} | members))


def answer(*vectors: Any, **members: Any) -> dict[str, Any]:
    data = [
        {"object": "embedding", "index": index, "embedding": vector}
        for index, vector in enumerate(vectors)
    ]
    return {"object": "list", "data": data, "model": "e-1", "usage": USAGE} | members


def read(document: Any, given_input: Any = "a") -> Answer:
    body = document if isinstance(document, bytes) else orjson.dumps(document)
    return read_answer(body, request(given_input), "asked", NOW)


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


@pytest.mark.parametrize("vector", [[0.5, -1.0], [1, 2], packed(0.5, 1.0)])
def test_a_clean_answer_is_passed_on_byte_for_byte(vector: Any) -> None:
    body = b" " + orjson.dumps(answer(vector, extra=1))
    assert read(body) == Answer(body, "e-1", Usage(3, 0))


def test_vectors_come_in_the_order_of_the_inputs() -> None:
    document = answer([1.0], [2.0])
    document["data"].reverse()
    assert vectors_of(read(document, ["a", "b"]).body) == [[1.0], [2.0]]


def test_what_is_missing_is_filled_in() -> None:
    found = read({"data": [{"embedding": [1.0]}]})
    assert orjson.loads(found.body) == {
        "data": [{"embedding": [1.0], "object": "embedding", "index": 0}],
        "object": "list",
        "model": "asked",
        "usage": {"prompt_tokens": 1, "total_tokens": 1},
    }
    assert found.usage.estimated


def test_a_total_alone_is_the_prompts() -> None:
    assert read(answer([1.0], usage={"total_tokens": 9})).usage == Usage(9, 0)


REFUSED: list[Any] = [
    b"not json",
    [],
    {},
    {"error": {"message": "no"}},
    answer(),
    answer([1.0], [2.0]),
    answer([]),
    answer(None),
    answer("?"),
    answer("AACA"),
    answer(packed(float("nan"))),
    answer([1.0, None]),
    answer([1.0, True]),
    answer([[1.0]]),
    {"data": ["a"]},
    {"data": [{"embedding": [1.0], "index": 1}]},
    {"data": [{"embedding": [1.0], "index": "0"}]},
    b'{"data": [{"embedding": [1e999]}]}',
    b'{"data": [{"embedding": [NaN]}]}',
    b'{"data": [{"embedding": [%b]}]}' % (b"9" * 400),
]


@pytest.mark.parametrize("document", REFUSED)
def test_what_cannot_be_read_is_refused(document: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        read(document)


@pytest.mark.parametrize("second", [[1.0, 2.0], packed(1.0, 2.0)])
def test_vectors_of_different_lengths_are_refused(second: Any) -> None:
    with pytest.raises(UpstreamInvalid):
        read(answer([1.0], second), ["a", "b"])


FLOATS = st.lists(
    st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=9
)


@given(FLOATS)
@settings(deadline=None)
def test_both_forms_say_the_same(numbers: list[float]) -> None:
    assert to_base64(numbers) == packed(*numbers)
    assert to_floats(to_base64(numbers)) == numbers


@pytest.mark.parametrize("kept", [[1.5, 2.0], packed(1.5, 2.0)])
@pytest.mark.parametrize("asked", ["float", "base64", None])
def test_a_caller_gets_the_form_asked_for(kept: Any, asked: str | None) -> None:
    form = {"encoding_format": asked} if asked else {}
    body = orjson.dumps(answer(kept, [1.0, 1.0]))
    found = orjson.loads(in_form(body, request(["a", "b"], **form)))
    first = found["data"][0]["embedding"]
    assert first == (packed(1.5, 2.0) if asked == "base64" else [1.5, 2.0])
    assert {name: found[name] for name in ("model", "usage")} == {"model": "e-1", "usage": USAGE}


def test_the_form_that_is_there_stays_byte_for_byte() -> None:
    body = b" " + orjson.dumps(answer([1.5]))
    assert in_form(body, request()) is body


def test_a_batch_comes_apart_and_together_again() -> None:
    asked = request(["aaaa", "bbbb", "aaaa"])
    body = orjson.dumps(answer([1.0], [2.0], [1.0], usage={"prompt_tokens": 4, "total_tokens": 4}))
    parts = split(body, Usage(4, 0), asked)
    assert [vectors_of(part.body) for part in parts] == [[[1.0]], [[2.0]], [[1.0]]]
    assert [part.usage.prompt_tokens for part in parts] == [2, 2, 2]  # what is double is sent once
    assert all(is_complete(part.body, asked) for part in parts)
    assert orjson.loads(merge({i: p.body for i, p in enumerate(parts)}, asked, 0)) == orjson.loads(
        body
    )


def test_the_shares_of_token_ids_are_exact() -> None:
    body = orjson.dumps(answer([1.0], [2.0], usage=USAGE))
    parts = split(body, Usage(3, 0), request([[1], [2, 3]]))
    assert [part.usage.prompt_tokens for part in parts] == [1, 2]


def test_the_answers_of_several_calls_are_one() -> None:
    bodies = [orjson.dumps(answer([1.0], [2.0])), orjson.dumps(answer([3.0]))]
    found = orjson.loads(joined(bodies, [0, 2, 1, 0]))
    assert [one["embedding"] for one in found["data"]] == [[1.0], [3.0], [2.0], [1.0]]
    assert [one["index"] for one in found["data"]] == [0, 1, 2, 3]
    assert found["usage"] == {"prompt_tokens": 6, "total_tokens": 6}
