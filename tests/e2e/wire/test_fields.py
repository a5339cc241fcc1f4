"""The request's fields: what each takes, what it refuses, what reaches the upstream."""

import json
from typing import Any

import pytest

from tests.harness.gateway import Gateway
from tests.harness.prompts import PROMPT
from tests.harness.upstream import Upstream

ALLOWED = [
    ("max_tokens", 0),
    ("max_tokens", 1),
    ("max_tokens", 10**9),
    ("temperature", 0),
    ("temperature", 0.0),
    ("temperature", 2),
    ("temperature", 0.7),
    ("top_p", 0),
    ("top_p", 1),
    ("top_p", 0.5),
    ("n", 1),
    ("n", 128),
    ("best_of", 1),
    ("best_of", 128),
    ("stop", ""),
    ("stop", "\n"),
    ("stop", ["a"]),
    ("stop", ["a", "b", "c", "d"]),
    ("stop", [f"<{i}>" for i in range(14)]),
    ("stop", [f"<{i}>" for i in range(64)]),
    ("suffix", ""),
    ("suffix", "end"),
    ("echo", True),
    ("echo", False),
    ("stream", False),
    ("logprobs", 0),
    ("logprobs", 5),
    ("frequency_penalty", -2),
    ("frequency_penalty", 2),
    ("frequency_penalty", -0.5),
    ("presence_penalty", -2),
    ("presence_penalty", 2),
    ("presence_penalty", 1.5),
    ("logit_bias", {}),
    ("logit_bias", {"50256": -100, "1": 100, "not a number": 0.5}),
    ("seed", 0),
    ("seed", -1),
    ("seed", 2**63 - 1),
    ("user", ""),
    ("user", "someone"),
]

REFUSED = [
    ("model", ""),
    ("model", 5),
    ("model", ["native"]),
    ("max_tokens", -1),
    ("max_tokens", 1.5),
    ("max_tokens", "16"),
    ("max_tokens", True),
    ("temperature", -0.001),
    ("temperature", 2.001),
    ("temperature", "1"),
    ("temperature", True),
    ("top_p", -0.001),
    ("top_p", 1.001),
    ("top_p", "1"),
    ("top_p", False),
    ("n", 0),
    ("n", 129),
    ("n", -1),
    ("n", 1.5),
    ("n", "2"),
    ("n", True),
    ("best_of", -1),
    ("best_of", 129),
    ("best_of", 1.5),
    ("best_of", "2"),
    ("stream", "true"),
    ("stream", 1),
    ("stream", {}),
    ("stream_options", True),
    ("stream_options", []),
    ("stop", 5),
    ("stop", ["a", 5]),
    ("stop", ["a", None]),
    ("stop", {"a": 1}),
    ("stop", [f"<{i}>" for i in range(65)]),
    ("suffix", 5),
    ("suffix", ["end"]),
    ("echo", "true"),
    ("echo", 0),
    ("logprobs", -1),
    ("logprobs", 6),
    ("logprobs", True),
    ("logprobs", 1.5),
    ("frequency_penalty", -2.001),
    ("frequency_penalty", 2.001),
    ("frequency_penalty", "0"),
    ("presence_penalty", -2.001),
    ("presence_penalty", 2.001),
    ("presence_penalty", True),
    ("logit_bias", {"1": 101}),
    ("logit_bias", {"1": -101}),
    ("logit_bias", {"1": "5"}),
    ("logit_bias", {"1": None}),
    ("logit_bias", {"1": True}),
    ("logit_bias", []),
    ("seed", 1.5),
    ("seed", "1"),
    ("seed", True),
    ("user", 5),
    ("user", {"id": 1}),
    ("prompt", 5),
    ("prompt", {}),
    ("prompt", True),
    ("messages", "hello"),
]

OPTIONAL = [
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "best_of",
    "stream",
    "stream_options",
    "stop",
    "suffix",
    "echo",
    "logprobs",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "seed",
    "user",
    "messages",
]


def _named(value: Any) -> str:
    return json.dumps(value)[:30]


@pytest.mark.parametrize(("field", "value"), ALLOWED, ids=_named)
def test_a_value_in_range_is_forwarded_as_it_is(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    reply = gateway.complete(**{field: value})
    assert reply.status == 200
    assert upstream.request.member(field) == json.dumps(value).encode()


@pytest.mark.parametrize("model", ["native", "chat"])
@pytest.mark.parametrize("field", ["max_tokens", "n", "logprobs", "best_of", "seed"])
def test_an_integer_written_as_a_float_is_forwarded_as_an_integer(
    gateway: Gateway, upstream: Upstream, field: str, model: str
) -> None:
    body = b'{"model":"%b","prompt":"x","%b":1.0}' % (model.encode(), field.encode())
    assert gateway.send(body).status == 200
    sent = upstream.request.body
    assert b"1.0" not in sent
    # On chat, `n: 1` goes without saying, and `logprobs: 1` becomes two members.
    names = {"logprobs": "top_logprobs", "n": None, "best_of": None} if model == "chat" else {}
    name = names.get(field, field)
    assert name is None or upstream.request.member(name) == b"1"


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=_named)
def test_a_value_out_of_range_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    prompt = None if field == "messages" else PROMPT
    reply = gateway.complete(**{"prompt": prompt, field: value})
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["code"] == "invalid_request"
    assert reply.error["param"] == field
    assert [detail["param"] for detail in reply.error["details"]] == [field]
    assert reply.error["message"] == reply.error["details"][0]["message"]
    assert upstream.requests == []


@pytest.mark.parametrize("field", OPTIONAL)
def test_null_means_absent_and_is_not_forwarded(
    gateway: Gateway, upstream: Upstream, field: str
) -> None:
    reply = gateway.complete(**{field: None})
    assert reply.status == 200
    assert set(upstream.request.document) == {"model", "prompt"}


def test_a_null_prompt_beside_messages_means_absent(gateway: Gateway, upstream: Upstream) -> None:
    reply = gateway.complete(prompt=None, messages=[{"role": "user", "content": PROMPT}])
    assert reply.status == 200
    assert upstream.request.document == {"model": "native", "prompt": PROMPT}


def test_a_null_model_is_a_missing_model(gateway: Gateway) -> None:
    reply = gateway.complete(model=None)
    assert (reply.status, reply.error["param"]) == (400, "model")


@pytest.mark.parametrize(("field", "value"), [("stop", []), ("best_of", 0)])
def test_what_harnesses_send_for_absent_is_not_forwarded(
    gateway: Gateway, upstream: Upstream, field: str, value: Any
) -> None:
    reply = gateway.complete(**{field: value})
    assert reply.status == 200
    assert field not in upstream.request.document


def test_best_of_zero_does_not_clash_with_n_or_stream(gateway: Gateway) -> None:
    reply = gateway.complete(best_of=0, n=2, stream=True)
    assert reply.status == 200
    assert len(reply.streamed_texts()) == 2


def test_every_wrong_field_is_named(gateway: Gateway) -> None:
    wrong = {
        "n": 0,
        "temperature": 9,
        "top_p": 7,
        "max_tokens": -1,
        "logprobs": 77,
        "stop": 1,
        "echo": "yes",
        "seed": "x",
        "prompt": [],
    }
    reply = gateway.complete(**wrong)
    assert reply.status == 400
    assert {detail["param"] for detail in reply.error["details"]} == set(wrong)
    assert all(set(detail) == {"param", "message"} for detail in reply.error["details"])
    assert reply.error["param"] == reply.error["details"][0]["param"]
    assert reply.error["message"] == reply.error["details"][0]["message"]


def test_an_empty_object_is_told_everything_it_lacks(gateway: Gateway) -> None:
    reply = gateway.send({})
    assert reply.status == 400
    assert {detail["param"] for detail in reply.error["details"]} == {"model", "prompt"}


def test_prompt_and_messages_together_are_refused(gateway: Gateway) -> None:
    reply = gateway.complete(messages=[{"role": "user", "content": "x"}])
    assert reply.status == 400
    assert reply.error["param"] in {"prompt", "messages"}


def test_best_of_below_n_is_refused(gateway: Gateway) -> None:
    reply = gateway.complete(n=3, best_of=2)
    assert (reply.status, reply.error["param"]) == (400, "best_of")


def test_best_of_equal_to_n_may_be_streamed(gateway: Gateway) -> None:
    assert gateway.complete(n=2, best_of=2, stream=True).done


def test_best_of_above_n_may_not_be_streamed(gateway: Gateway) -> None:
    reply = gateway.complete(n=1, best_of=2, stream=True)
    assert (reply.status, reply.error["param"]) == (400, "best_of")


@pytest.mark.parametrize("more", [{}, {"stream": False}, {"stream": None}])
def test_stream_options_without_stream_are_refused(gateway: Gateway, more: Any) -> None:
    reply = gateway.complete(stream_options={"include_usage": True}, **more)
    assert (reply.status, reply.error["param"]) == (400, "stream_options")


@pytest.mark.parametrize("value", ["yes", 1, []])
def test_include_usage_is_a_boolean(gateway: Gateway, value: Any) -> None:
    reply = gateway.complete(stream=True, stream_options={"include_usage": value})
    assert reply.status == 400
    assert reply.error["param"].startswith("stream_options")


def test_validation_comes_before_the_model_is_looked_up(gateway: Gateway) -> None:
    reply = gateway.complete(model="nobody-knows-it", n=0)
    assert (reply.status, reply.error["param"]) == (400, "n")


def test_other_errors_have_no_details(gateway: Gateway) -> None:
    reply = gateway.complete(model="nobody-knows-it")
    assert reply.status == 404
    assert "details" not in reply.error
