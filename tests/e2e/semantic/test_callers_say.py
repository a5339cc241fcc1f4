"""What a caller may say about answers by meaning, and how they end."""

from __future__ import annotations

import pytest

from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    barrier,
    embedding,
    keep,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import ANY_STORE, BOTH_TIERS
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

THRESHOLD = "x-headgate-cache-threshold"


# What a caller may say.


def angles(text: str) -> list[float]:
    """`actually` is 0.95 from the question."""
    return [0.95, (1 - 0.95**2) ** 0.5] if "actually" in text else [1.0, 0.0]


@BOTH_TIERS
@pytest.mark.parametrize(
    ("threshold", "hit"),
    [(None, True), ("0.94", True), ("0.96", False), ("1", False), (".5", True), ("0", True)],
)
def test_a_caller_may_tighten_the_threshold(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], threshold: str | None, hit: bool
) -> None:
    upstream.on("embed-angles", embedding(angles))
    teach(gateway, space, model="angles", paraphrase=STRESSED)
    headers = space | ({THRESHOLD: threshold} if threshold else {})
    reply = only(gateway, STRESSED, headers, model="angles")
    assert served(reply) == ("tier 2" if hit else None)
    if hit:
        assert reply.headers["x-headgate-cache-similarity"] == "0.9500"


@BOTH_TIERS
@pytest.mark.parametrize("threshold", [None, "0.5", "0"])
def test_a_caller_cannot_loosen_the_threshold(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], threshold: str | None
) -> None:
    upstream.on(
        "embed-angles", embedding(lambda text: [0.89, 0.456] if "actually" in text else [1.0, 0.0])
    )
    keep(gateway, QUESTION, space, model="angles")
    barrier(gateway)
    headers = space | ({THRESHOLD: threshold} if threshold else {})
    assert served(only(gateway, STRESSED, headers, model="angles")) is None


def test_a_strict_threshold_still_lets_tier_1_answer(
    gateway: Gateway, space: dict[str, str]
) -> None:
    teach(gateway, space)
    assert served(only(gateway, PARAPHRASE, space | {THRESHOLD: "1"})) == "tier 1"


@ANY_STORE
@pytest.mark.parametrize("alias", ["tier1", "off"])
@pytest.mark.parametrize(
    "threshold",
    ["", "1.1", "-0.5", "x", "0,9", "1e-1", "nan", "inf", "2", "0.9 0.8", "0x1", "\u0661"],
)
def test_a_wrong_threshold_is_refused_by_name(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], threshold: str, alias: str
) -> None:
    reply = ask(gateway, QUESTION, space | {THRESHOLD: threshold.encode()}, model=alias)
    assert reply.status == 400
    assert (reply.error["type"], reply.error["param"]) == ("invalid_request_error", THRESHOLD)
    assert upstream.requests == []


def test_no_cache_asks_anew(gateway: Gateway, upstream: Upstream, space: dict[str, str]) -> None:
    teach(gateway, space)
    reply = ask(gateway, PARAPHRASE, space | {"cache-control": "no-cache"})
    assert (served(reply), reply.texts) == (None, [text_of(PARAPHRASE)])
    assert len(upstream.requests) == 2


@pytest.mark.parametrize("alias", ["tier1", "same"])
def test_no_store_may_be_answered_and_teaches_nothing(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str
) -> None:
    no_store = space | {"cache-control": "no-store"}
    ask(gateway, QUESTION, no_store, model=alias)
    barrier(gateway)
    assert served(only(gateway, PARAPHRASE, space, model=alias)) is None
    teach(gateway, space, model=alias)
    assert served(ask(gateway, PARAPHRASE, no_store, model=alias)) == "tier 1"


@pytest.mark.parametrize("alias", ["tier1", "alone"])
def test_max_age_holds_for_meanings(gateway: Gateway, space: dict[str, str], alias: str) -> None:
    teach(gateway, space, model=alias)
    hour = space | {"cache-control": "max-age=3600"}
    assert served(ask(gateway, PARAPHRASE, hour, model=alias)) == "tier 1"
    now = space | {"cache-control": "max-age=0, only-if-cached"}
    eventually(lambda: served(ask(gateway, PARAPHRASE, now, model=alias)) is None)
    now = space | {"cache-control": "max-age=0"}
    assert served(ask(gateway, PARAPHRASE, now, model=alias)) is None


def test_a_ttl_of_nothing_teaches_nothing(gateway: Gateway, space: dict[str, str]) -> None:
    ask(gateway, QUESTION, space | {"x-headgate-cache-ttl": "0"})
    barrier(gateway)
    assert served(only(gateway, PARAPHRASE, space)) is None


def test_what_has_expired_answers_nothing(gateway: Gateway, space: dict[str, str]) -> None:
    teach(gateway, space, model="brief")
    eventually(lambda: served(only(gateway, PARAPHRASE, space, model="brief")) is None)
    assert served(ask(gateway, PARAPHRASE, space, model="brief")) is None


@ANY_STORE
def test_what_was_renewed_goes_on_answering(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space, model="renewed")
    eventually(lambda: served(only(gateway, QUESTION, space, model="renewed")) is None)
    ask(gateway, QUESTION, space, model="renewed")
    upstream.wait_for(2)
    eventually(
        lambda: served(only(gateway, PARAPHRASE, space, model="renewed")) == "tier 1", within=0.8
    )


@ANY_STORE
def test_what_was_asked_anew_on_purpose_answers_by_meaning_too(
    gateway: Gateway, space: dict[str, str]
) -> None:
    ask(gateway, QUESTION, space | {"cache-control": "no-cache"})
    eventually(lambda: served(only(gateway, QUESTION, space)) == "exact")
    eventually(lambda: served(only(gateway, PARAPHRASE, space)) == "tier 1", within=1)
