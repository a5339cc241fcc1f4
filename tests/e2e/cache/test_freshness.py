"""For how long an answer counts, and what a caller can ask of the cache."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cache.asking import ONLY_CACHED, ask, expired, how, is_kept, saying, wait_kept, warm
from tests.harness.credentials import KEYS
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

SAME_CALL = pytest.mark.parametrize("fields", [{}, {"temperature": 0}], ids=["alone", "shared"])


def control(directives: str) -> dict[str, str]:
    return {"cache-control": directives}


@SAME_CALL
def test_no_cache_asks_anew_and_keeps_the_answer(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    upstream.on("up", saying("old"))
    warm(gateway, prompt, **fields)
    upstream.on("up", saying("new"))
    anew = ask(gateway, prompt, headers=control("no-cache"), **fields)
    assert (how(anew), anew.texts) == ("miss", ["new"])
    eventually(lambda: ask(gateway, prompt, **fields).texts == ["new"])
    assert how(ask(gateway, prompt, **fields)) == "hit"
    assert len(upstream.requests) == 2


@SAME_CALL
def test_no_store_keeps_nothing(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    assert how(ask(gateway, prompt, headers=control("no-store"), **fields)) == "miss"
    assert not is_kept(gateway, prompt, **fields)


def test_no_store_may_be_answered_from_the_cache(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt)
    assert how(ask(gateway, prompt, headers=control("no-store"))) == "hit"


@pytest.mark.parametrize("directives", ["no-cache, no-store", "No-Store , NO-CACHE"])
def test_both_together_leave_the_cache_alone(
    gateway: Gateway, upstream: Upstream, prompt: str, directives: str
) -> None:
    upstream.on("up", saying("old"))
    warm(gateway, prompt)
    upstream.on("up", saying("new"))
    reply = ask(gateway, prompt, headers=control(directives))
    assert (how(reply), reply.texts) == ("bypass", ["new"])
    warm(gateway, unseen())
    assert ask(gateway, prompt).texts == ["old"]


def test_max_age_takes_nothing_older(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    warm(gateway, prompt)
    assert how(ask(gateway, prompt, headers=control("max-age=60"))) == "hit"
    eventually(lambda: int(ask(gateway, prompt).headers["age"]) >= 1)
    only = control("max-age=1, only-if-cached")
    eventually(lambda: ask(gateway, prompt, headers=only).status == 504)
    assert how(ask(gateway, prompt)) == "hit"
    assert how(ask(gateway, prompt, headers=control("max-age=1"))) == "miss"
    eventually(lambda: ask(gateway, prompt).headers["age"] == "0")
    assert len(upstream.requests) == 2


def test_age_is_that_of_the_oldest_part(gateway: Gateway, upstream: Upstream) -> None:
    prompts = [unseen(), unseen()]
    warm(gateway, prompts[0])
    eventually(lambda: int(ask(gateway, prompts[0]).headers["age"]) >= 1)
    warm(gateway, prompts[1])
    assert int(ask(gateway, prompts).headers["age"]) >= 1


@pytest.mark.parametrize("model", ["cached", "uncached", "disabled", "bypassed"])
@pytest.mark.parametrize("stream", [False, True])
def test_only_if_cached_is_a_hit_or_an_error(
    gateway: Gateway, upstream: Upstream, prompt: str, model: str, stream: bool
) -> None:
    reply = ask(gateway, prompt, headers=ONLY_CACHED, model=model, stream=stream)
    assert reply.status == 504
    assert (reply.error["type"], reply.error["code"]) == ("upstream_error", "not_cached")
    assert upstream.requests == []
    if model == "cached":
        warm(gateway, prompt)
        assert how(ask(gateway, prompt, headers=ONLY_CACHED, stream=stream)) == "hit"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("x-headgate-cache-ttl", value) for value in ("", "soon", "-1", "1.5", "1e3", "9" * 12)),
        *(("cache-control", f"max-age={value}") for value in ("", "soon", "-1", "1.5")),
    ],
)
def test_a_wrong_number_is_refused_by_its_headers_name(
    gateway: Gateway, upstream: Upstream, prompt: str, name: str, value: str
) -> None:
    reply = ask(gateway, prompt, headers={name: value})
    assert reply.status == 400
    assert reply.error["type"] == "invalid_request_error"
    assert reply.error["param"] == name
    assert upstream.requests == []


def test_every_wrong_header_is_named(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    wrong = {"cache-control": "max-age=x", "x-headgate-cache-ttl": "y"}
    reply = ask(gateway, prompt, headers=wrong | {"x-headgate-cache-namespace": "a b"})
    assert [detail["param"] for detail in reply.error["details"]] == [
        "cache-control",
        "x-headgate-cache-ttl",
        "x-headgate-cache-namespace",
    ]


def test_directives_that_say_nothing_to_us_are_ignored(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt)
    assert how(ask(gateway, prompt, headers=control("no-transform, max-stale=5, foo"))) == "hit"


# Time to live.


@SAME_CALL
def test_an_answer_expires(
    gateway: Gateway, upstream: Upstream, prompt: str, fields: dict[str, Any]
) -> None:
    ask(gateway, prompt, model="brief", **fields)
    expired(gateway, prompt, model="brief", **fields)
    assert how(ask(gateway, prompt, model="brief", **fields)) == "miss"


def test_a_request_says_for_how_long_its_answer_is_kept(
    gateway: Gateway, upstream: Upstream
) -> None:
    shorter, longer, usual = unseen(), unseen(), unseen()
    second = {"x-headgate-cache-ttl": "1"}
    warm(gateway, shorter, headers=second)
    warm(gateway, longer, headers=second, model="brief")
    ask(gateway, usual, model="brief")
    expired(gateway, usual, model="brief")
    assert how(ask(gateway, longer, model="brief")) == "hit"
    expired(gateway, shorter)
    expired(gateway, longer, model="brief")


def test_a_time_to_live_of_nothing_keeps_nothing(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    assert how(ask(gateway, prompt, headers={"x-headgate-cache-ttl": "0"})) == "miss"
    assert not is_kept(gateway, prompt)


def test_no_request_keeps_longer_than_the_model_allows(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt, headers={"x-headgate-cache-ttl": "3600"}, model="capped")
    expired(gateway, prompt, model="capped")


def test_a_key_has_a_time_to_live_of_its_own(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    assert how(ask(gateway, prompt, KEYS["team"])) == "miss"
    wait_kept(gateway, prompt)
    expired(gateway, prompt)
    assert how(ask(gateway, prompt, KEYS["hashed"])) == "miss"
    warm(gateway, unseen())
    assert ask(gateway, prompt, headers=ONLY_CACHED).status == 504


def test_a_key_that_keeps_nothing_may_have_what_others_kept(
    gateway: Gateway, upstream: Upstream, prompt: str
) -> None:
    warm(gateway, prompt)
    assert how(ask(gateway, prompt, KEYS["hashed"])) == "hit"


def test_the_callers_wishes_stay_here(gateway: Gateway, upstream: Upstream, prompt: str) -> None:
    directives = {"cache-control": "max-age=5", "x-headgate-cache-ttl": "5"}
    ask(gateway, prompt, headers=directives)
    assert not set(directives) & set(upstream.request.headers)
