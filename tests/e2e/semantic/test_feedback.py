"""POST /v1/cache/feedback: a caller says that an answer by meaning was wrong."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from typing import Any

import pytest

from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    barrier,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import ANY_STORE, BOTH_TIERS, configuration
from tests.harness.credentials import COLLEAGUE, KEY, STRANGER
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.good_server import text_of
from tests.harness.metrics import metric
from tests.harness.prompts import PRIVATE
from tests.harness.redis_server import RedisServer
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

THIRD = f"HOW DO I FEED {PRIVATE.upper()}S IN WINTER"


def feedback(gateway: Gateway, body: Any, key: str | None = KEY) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"content-type": "application/json"}
    return gateway.ask("POST", "/v1/cache/feedback", key, headers, content)


def hit_id(gateway: Gateway, space: dict[str, str], **fields: Any) -> str:
    """The id of an answer by meaning."""
    teach(gateway, space, **fields)
    reply = ask(gateway, PARAPHRASE, space, **fields)
    found: str = reply.headers["x-headgate-cache-id"]
    return found


def test_a_bad_answer_is_never_given_again(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    found = hit_id(gateway, space)
    reply = feedback(gateway, {"id": found, "verdict": "bad"})
    assert (reply.status, reply.document) == (200, {"id": found, "quarantined": True})
    for prompt in (PARAPHRASE, THIRD):
        assert served(only(gateway, prompt, space)) is None
    assert served(ask(gateway, QUESTION, space)) == "exact"
    # Their own answers may answer each other, and still not the one who complained by the bad one.
    reply = ask(gateway, PARAPHRASE, space)
    assert (served(reply), reply.texts) == (None, [text_of(PARAPHRASE)])
    barrier(gateway)
    reply = only(gateway, THIRD, space)
    assert reply.status == 504 or reply.texts == [text_of(PARAPHRASE)]
    assert ask(gateway, QUESTION, space).texts == [text_of(QUESTION)]


@BOTH_TIERS
def test_a_bad_answer_of_tier_2_is_never_given_again(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space, model="same", paraphrase=STRESSED)
    reply = ask(gateway, STRESSED, space, model="same")
    assert served(reply) == "tier 2"
    found = reply.headers["x-headgate-cache-id"]
    assert feedback(gateway, {"id": found, "verdict": "bad"}).status == 200
    other = QUESTION.replace("winter", "winter please indeed")
    for prompt in (STRESSED, PARAPHRASE, other):
        assert served(only(gateway, prompt, space, model="same")) is None
    assert served(only(gateway, QUESTION, space, model="same")) == "exact"


def test_a_good_answer_goes_on_being_given(gateway: Gateway, space: dict[str, str]) -> None:
    found = hit_id(gateway, space)
    before = metric(gateway, "feedback_total", verdict="good")
    reply = feedback(gateway, {"id": found, "verdict": "good"})
    assert (reply.status, reply.document) == (200, {"id": found, "quarantined": False})
    assert served(ask(gateway, PARAPHRASE, space)) == "tier 1"
    eventually(lambda: metric(gateway, "feedback_total", verdict="good") == before + 1)


def test_another_tenant_cannot_end_an_answer(gateway: Gateway, space: dict[str, str]) -> None:
    found = hit_id(gateway, space)
    reply = feedback(gateway, {"id": found, "verdict": "bad"}, STRANGER)
    assert (reply.status, reply.error["param"]) == (400, "id")
    assert served(ask(gateway, PARAPHRASE, space)) == "tier 1"
    assert feedback(gateway, {"id": found, "verdict": "bad"}, COLLEAGUE).status == 200
    assert served(only(gateway, PARAPHRASE, space)) is None


def test_what_everybody_shares_anybody_can_end(gateway: Gateway, space: dict[str, str]) -> None:
    found = hit_id(gateway, space, model="everybody")
    assert feedback(gateway, {"id": found, "verdict": "bad"}, STRANGER).status == 200
    assert served(only(gateway, PARAPHRASE, space, model="everybody")) is None


@ANY_STORE
@pytest.mark.parametrize("key", [None, "hg-unknown-0123456789abcdef"])
def test_feedback_needs_a_key(gateway: Gateway, space: dict[str, str], key: str | None) -> None:
    found = hit_id(gateway, space)
    reply = feedback(gateway, {"id": found, "verdict": "bad"}, key)
    assert (reply.status, reply.error["type"]) == (401, "authentication_error")
    assert served(ask(gateway, PARAPHRASE, space)) == "tier 1"


LONG = urlsafe_b64encode(b"a" * 80).rstrip(b"=").decode()
OLD = urlsafe_b64encode(b"a" * 64).rstrip(b"=").decode()  # as they were, without a signature


@ANY_STORE
@pytest.mark.parametrize(
    "wrong",
    [
        "", "x", LONG, OLD, LONG[:-1], LONG + "AA", LONG[:-2] + "\u00e9\u00e9", " " * 107,
        "=" * 107, f"{LONG[:4]}!!!!{LONG[4:]}", f"{LONG}\n", LONG.replace("Y", "/"),
    ],
)  # fmt: skip
def test_a_wrong_id_is_refused_by_name(gateway: Gateway, wrong: str) -> None:
    reply = feedback(gateway, {"id": wrong, "verdict": "bad"})
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")
    assert reply.error["param"] == "id"


@ANY_STORE
@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b"{", b"\xff\xfe", b'"bad"', b'{"id": "\\ud800", "verdict": "bad"}',
        {}, {"id": LONG}, {"verdict": "bad"}, {"id": 1, "verdict": "bad"},
        {"id": LONG, "verdict": "ugly"}, {"id": LONG, "verdict": True},
        {"id": LONG, "verdict": "bad", "tenant": "other"},
    ],
    ids=str,
)  # fmt: skip
def test_a_wrong_body_is_refused(gateway: Gateway, body: Any) -> None:
    reply = feedback(gateway, body)
    assert (reply.status, reply.error["type"]) == (400, "invalid_request_error")


@ANY_STORE
def test_too_large_a_body_is_refused(gateway: Gateway) -> None:
    reply = feedback(gateway, {"id": "x" * 100_000, "verdict": "bad"})
    assert (reply.status, reply.error["code"]) == (413, "request_too_large")


@ANY_STORE
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_only_post_is_allowed(gateway: Gateway, method: str) -> None:
    reply = gateway.ask(method, "/v1/cache/feedback")
    assert (reply.status, reply.headers["allow"]) == (405, "POST")


def test_invented_ids_write_nothing(
    the_upstream: Upstream, redis7: RedisServer, space: dict[str, str]
) -> None:
    settings = configuration(redis7.url, the_upstream)
    settings["limits"] = {"few": {"requests_per_minute": 30, "tokens_per_minute": 1000}}
    settings["keys"][2]["limits"] = "few"
    with open_gateway(settings, the_upstream) as gateway:
        found = hit_id(gateway, space)
        before = set(redis7.cli("KEYS", "*").splitlines())
        invented = [
            urlsafe_b64encode(f"{number:080}".encode()).rstrip(b"=").decode()
            for number in range(40)
        ]
        replies = [
            feedback(gateway, {"id": one, "verdict": "bad"}, STRANGER) for one in [found, *invented]
        ]
        # The key's request limit holds here too, and says so.
        assert {reply.status for reply in replies[:30]} == {400}
        assert {reply.status for reply in replies[31:]} == {429}
        assert replies[-1].error["code"] == "rate_limit_exceeded"
        # It can be told and counted like any other request of that key.
        reply = feedback(gateway, {"id": LONG, "verdict": "bad"})
        assert gateway.line(reply.headers["x-request-id"])["status"] == 400
        new = set(redis7.cli("KEYS", "*").splitlines()) - before
        assert not [key for key in new if "banned" in key or "quarantined" in key], new
        usage = "{other}:usage:"
        eventually(lambda: any(usage in key for key in redis7.cli("KEYS", "*").splitlines()))
        assert served(ask(gateway, PARAPHRASE, space)) == "tier 1"
