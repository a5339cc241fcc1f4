"""The wide key over real sockets: what it answers, who may switch it off, and how it closes."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest

from tests.e2e.cache.asking import saying
from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    REWORDED,
    ask,
    barrier,
    keep,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import ANY_STORE, configuration, model
from tests.e2e.semantic.test_verification import (
    ALL,
    events,
    paraphrase,
    question,
    shadows,
    verdicts,
)
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.metrics import metric
from tests.harness.prompts import PRIVATE
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually


@pytest.mark.parametrize("alias", ["wide", "wide-same"])
def test_a_rewording_is_answered_by_the_wide_key(
    gateway: Gateway, space: dict[str, str], alias: str
) -> None:
    first = teach(gateway, space, model=alias, paraphrase=REWORDED)
    before = metric(gateway, "hits_total", model=alias, tier="1b")
    reply = only(gateway, REWORDED, space, model=alias)
    assert (served(reply), reply.texts) == ("tier 1b", first.texts)
    assert reply.headers["x-headgate-cache-similarity"] == "1.0000"
    assert "x-headgate-cache-id" in reply.headers
    assert served(only(gateway, PARAPHRASE, space, model=alias)) == "tier 1"
    eventually(lambda: metric(gateway, "hits_total", model=alias, tier="1b") > before)


@ANY_STORE
def test_without_its_switch_the_wide_key_answers_nothing(
    gateway: Gateway, space: dict[str, str]
) -> None:
    teach(gateway, space)
    assert served(only(gateway, REWORDED, space)) is None
    assert served(only(gateway, PARAPHRASE, space)) == "tier 1"


@ANY_STORE
def test_what_ages_is_answered_by_the_wide_key_as_long_as_exactly(
    gateway: Gateway, space: dict[str, str]
) -> None:
    asked = f"What is the price of a {PRIVATE} today?"
    again = f"hello, what is the price of {PRIVATE}s today"
    keep(gateway, asked, space, model="wide")
    keep(gateway, asked, space)
    barrier(gateway)
    eventually(lambda: served(only(gateway, again, space, model="wide")) == "tier 1b")
    assert served(only(gateway, again, space)) is None


@ANY_STORE
def test_the_wide_key_keeps_tenants_and_other_parameters_apart(
    gateway: Gateway, space: dict[str, str]
) -> None:
    teach(gateway, space, model="wide", paraphrase=REWORDED)
    assert served(only(gateway, REWORDED, space, model="wide", max_tokens=7)) is None
    other = {"x-headgate-cache-namespace": "elsewhere"}
    assert served(only(gateway, REWORDED, other, model="wide")) is None


@ANY_STORE
def test_a_dry_run_says_what_it_would_have_saved_and_by_which_rules(
    gateway: Gateway, space: dict[str, str]
) -> None:
    def saved() -> float:
        return metric(gateway, "would_be_saved_nanodollars_total", model="dry-wide", tier="1b")

    keep(gateway, QUESTION, space, model="dry-wide")
    before = saved()
    assert served(ask(gateway, REWORDED, space, model="dry-wide")) is None
    eventually(lambda: saved() > before)
    eventually(lambda: bool(events(gateway, "semantic_would_be_hit", "dry-wide")))
    told = events(gateway, "semantic_would_be_hit", "dry-wide")[-1]
    assert (told["tier"], told["rules"]) == ("1b", ["way"])
    assert float(told["saved_usd"]) > 0
    assert told["asked"] != told["served"]


@ANY_STORE
def test_a_volatile_id_is_no_other_question_and_goes_upstream_as_it_was_sent(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    keep(gateway, f"{QUESTION} request id 1", space, model="ignoring")
    assert upstream.requests[-1].document["prompt"] == f"{QUESTION} request id 1"
    for number in (2, 3):
        same = only(gateway, f"{QUESTION} request id {number}", space, model="ignoring")
        assert served(same) == "exact"
    barrier(gateway)
    again = only(gateway, f"{PARAPHRASE} request id 4", space, model="ignoring")
    assert served(again) == "tier 1"
    assert served(only(gateway, f"{QUESTION} request 5", space, model="ignoring")) is None
    assert served(only(gateway, f"{QUESTION} request id 6", space)) is None


@ANY_STORE
def test_another_language_is_answered_where_it_is_switched_on(
    gateway: Gateway, space: dict[str, str]
) -> None:
    asked = f"Wie koche ich einen {PRIVATE} ohne Salz?"
    again = f"hallo, wie koche ich einen {PRIVATE} ohne salz, bitte"
    for alias in ("german", "wide"):
        keep(gateway, asked, space, model=alias)
    barrier(gateway)
    eventually(lambda: served(only(gateway, again, space, model="german")) == "tier 1")
    assert served(only(gateway, again, space, model="wide")) is None


@pytest.fixture(scope="module")
def the_styled(store_url: str, the_upstream: Upstream) -> Iterator[Gateway]:
    settings = configuration(store_url, the_upstream)
    settings["models"] = {"styled": model("styled", verify=ALL, tier1b=True)}
    with open_gateway(settings, the_upstream) as gateway:
        yield gateway


@pytest.fixture
def verifier(the_styled: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    yield the_styled
    the_styled.check_output()


def test_a_wide_rule_that_is_wrong_here_closes_the_wide_tier_and_not_the_strict_one(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    async def styled(request: Request, wire: Wire) -> None:
        """Where people who write "really" want another answer: the rule of emphasis is wrong."""
        prompt = str(request.document["prompt"]).lower().rstrip("?").removeprefix("please: ")
        said = hashlib.sha256(prompt.encode()).hexdigest()
        await saying(f"it says {said}")(request, wire)

    upstream.on("styled", styled)
    hits = 0
    for number in range(20):
        keep(verifier, question(number), space, model="styled")
        seen = len(shadows(verifier, "styled"))
        emphatic = question(number).replace("does a", "does really a")
        found = None
        while found is None and not events(verifier, "semantic_tier_closed", "styled"):
            found = served(only(verifier, emphatic, space, model="styled"))
        if found is None:
            break
        assert found == "tier 1b"
        hits += 1
        eventually(lambda seen=seen: len(shadows(verifier, "styled")) > seen)
    [closed] = events(verifier, "semantic_tier_closed", "styled")
    assert (closed["tier"], closed["compared"], closed["differed"]) == ("1b", hits, hits)
    assert 3 <= hits <= 8
    eventually(lambda: metric(verifier, "closures_total", model="styled", tier="1b") == 1)
    assert verdicts(verifier, "styled", "1b") > 0.01
    for number in range(20, 25):
        keep(verifier, question(number), space, model="styled")
        emphatic = question(number).replace("does a", "does really a")
        again = paraphrase(number)
        eventually(
            lambda again=again: served(only(verifier, again, space, model="styled")) == "tier 1"
        )
        assert served(only(verifier, emphatic, space, model="styled")) is None
    eventually(lambda: metric(verifier, "would_be_hits_total", model="styled", tier="1b") >= 5)
    assert metric(verifier, "closures_total", model="styled", tier="1") == 0
