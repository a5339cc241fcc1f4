"""What an answer by meaning looks like, and what a caller may say about it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.e2e.cache.asking import saying
from tests.e2e.semantic.asking import (
    PARAPHRASE,
    QUESTION,
    STRESSED,
    ask,
    barrier,
    embedded,
    keep,
    message,
    only,
    served,
    teach,
)
from tests.e2e.semantic.configuration import BOTH_TIERS
from tests.harness.command import command
from tests.harness.gateway import Gateway
from tests.harness.good_server import text_of
from tests.harness.metrics import metric
from tests.harness.prompts import PRIVATE
from tests.harness.redis_server import RedisServer
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually


def fields_of(reply: Reply) -> dict[str, str]:
    names = ("x-headgate-cache", "x-headgate-cache-layer", "x-headgate-cache-tier")
    return {name: reply.headers[name] for name in names}


SEMANTIC = {"x-headgate-cache": "hit", "x-headgate-cache-layer": "semantic"}


# Tier 1.


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (QUESTION, f"how do i feed a {PRIVATE} in winter"),
        (QUESTION, f"HOW DO I FEED A {PRIVATE.upper()} IN WINTER??"),
        (QUESTION, f"Please, how do I feed a {PRIVATE} in winter?"),
        (QUESTION, f"Could you tell me how to feed a {PRIVATE} in winter? Thanks!"),
        (QUESTION, f"How do I feed {PRIVATE}s in winter?"),
        (f"What is a {PRIVATE}'s favourite food?", f"What's a {PRIVATE}'s favorite food?"),
        (f"Name two foods of a {PRIVATE}", f"Name 2 foods of a {PRIVATE}"),
    ],
)
@pytest.mark.parametrize("alias", ["tier1", "alone"])
def test_a_paraphrase_is_a_hit_that_says_how(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str, first: str, second: str
) -> None:
    original = keep(gateway, first, space, model=alias)
    barrier(gateway)
    before = len(upstream.requests)
    reply = ask(gateway, second, space, model=alias)
    assert fields_of(reply) == SEMANTIC | {"x-headgate-cache-tier": "1"}
    assert reply.document["choices"] == original.document["choices"]
    assert reply.document["usage"] == original.document["usage"]
    assert reply.headers["x-headgate-cache-similarity"] == "1.0000"
    assert 0 <= int(reply.headers["age"]) <= 5
    assert len(reply.headers["x-headgate-cache-id"]) == 107
    assert reply.headers["x-headgate-cost-usd"] == "0"
    assert reply.headers["x-headgate-attempts"] == "0"
    assert (reply.headers["x-provider"], reply.headers["x-model"]) == ("main", "up")
    assert len(upstream.requests) == before
    line = gateway.line(reply.headers["x-request-id"])
    assert (line["cache"], line["attempts"], float(line["cost_usd"])) == ("hit", 0, 0)
    assert float(line["saved_usd"]) == original.document["usage"]["total_tokens"] / 1000


@pytest.mark.parametrize("streamed_first", [False, True])
@pytest.mark.parametrize("streamed_then", [False, True])
@pytest.mark.parametrize("alias", ["tier1", "alone"])
def test_streamed_and_plain_requests_share_meanings(
    gateway: Gateway,
    upstream: Upstream,
    space: dict[str, str],
    alias: str,
    streamed_first: bool,
    streamed_then: bool,
) -> None:
    teach(gateway, space, model=alias, stream=streamed_first)
    for include in (False, True):
        options = {"stream_options": {"include_usage": include}} if streamed_then else {}
        reply = ask(gateway, PARAPHRASE, space, model=alias, stream=streamed_then, **options)
        assert served(reply) == "tier 1"
        if streamed_then:
            assert reply.headers["content-type"].startswith("text/event-stream")
            assert reply.streamed_texts() == {0: text_of(QUESTION)}
            assert bool(reply.chunks[-1].get("usage")) is include
        else:
            assert reply.texts == [text_of(QUESTION)]
    assert len(upstream.requests) == 1


def test_the_question_itself_stays_an_exact_hit(gateway: Gateway, space: dict[str, str]) -> None:
    teach(gateway, space)
    reply = ask(gateway, QUESTION, space)
    assert served(reply) == "exact"
    assert not {"x-headgate-cache-tier", "x-headgate-cache-id"} & set(reply.headers)


def test_chats_are_compared_by_their_last_message(gateway: Gateway, space: dict[str, str]) -> None:
    before = [message("Be brief.", "system"), message("Hi"), message("Hello.", "assistant")]
    fields: dict[str, Any] = {"model": "chat", "prompt": None, "headers": space}
    first = ask(gateway, messages=[*before, message(QUESTION)], **fields)
    barrier(gateway)
    parts = [{"type": "text", "text": PARAPHRASE}]
    for content in (PARAPHRASE, parts):
        reply = only(gateway, messages=[*before, message(content)], **fields)
        assert (served(reply), reply.texts) == ("tier 1", first.texts)


def test_a_hit_by_meaning_is_metered_as_saved(gateway: Gateway, space: dict[str, str]) -> None:
    count = metric(gateway, "hits_total", model="sampled", tier="1")
    teach(gateway, space, model="sampled")
    ask(gateway, PARAPHRASE, space, model="sampled")
    eventually(lambda: metric(gateway, "hits_total", model="sampled", tier="1") >= count + 2)


# Tier 2.


@BOTH_TIERS
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("first", "second"),
    [
        (QUESTION, STRESSED),
        (f"Which vegetable does a {PRIVATE} eat?", f"Which vegtable does a {PRIVATE} eat?"),
    ],
)
def test_the_local_encoder_finds_what_the_key_does_not(
    gateway: Gateway,
    upstream: Upstream,
    space: dict[str, str],
    stream: bool,
    first: str,
    second: str,
) -> None:
    teach(gateway, space, model="local", question=first, paraphrase=second)
    reply = ask(gateway, second, space, model="local", stream=stream)
    assert fields_of(reply) == SEMANTIC | {"x-headgate-cache-tier": "2"}
    assert 0.7 <= float(reply.headers["x-headgate-cache-similarity"]) < 1
    assert reply.headers["x-headgate-cost-usd"] == "0"
    texts = reply.streamed_texts()[0] if stream else reply.texts[0]
    assert texts == text_of(first)
    assert len(upstream.requests) == 1


@BOTH_TIERS
def test_a_remote_encoder_is_asked_through_its_provider(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space, model="same", paraphrase=STRESSED)
    asked = next(r for r in upstream.requests if r.target.endswith("/embeddings"))
    assert (asked.method, asked.target) == ("POST", "/v1/embeddings")
    assert asked.headers["authorization"].startswith("Bearer sk-upstream")
    assert asked.document["model"] == "embed-same"
    reply = ask(gateway, STRESSED, space, model="same")
    assert fields_of(reply) == SEMANTIC | {"x-headgate-cache-tier": "2"}
    assert reply.headers["x-headgate-cache-similarity"] == "1.0000"


@BOTH_TIERS
def test_nothing_is_embedded_where_less_will_do(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space, model="same")
    first = len(embedded(upstream))
    assert served(ask(gateway, QUESTION, space, model="same")) == "exact"
    assert served(ask(gateway, PARAPHRASE, space, model="same")) == "tier 1"
    ask(gateway, f"What is the price of a {PRIVATE}?", space, model="same")
    ask(gateway, " ".join(["Why does it dig a long burrow?"] * 10), space, model="same")
    assert len(embedded(upstream)) == first


@BOTH_TIERS
def test_the_guard_refuses_and_counts_what_it_refused(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    def refused() -> float:
        return metric(gateway, "refusals_total", model="same", veto="number")

    def compared() -> float:
        return metric(gateway, "refusals_compared_total", model="same", veto="number")

    keep(gateway, f"How does a {PRIVATE} eat 7 carrots?", space, model="same")
    before = refused(), compared()
    reply = ask(gateway, f"How does a {PRIVATE} eat 8 carrots?", space, model="same")
    assert served(reply) is None
    eventually(lambda: (refused(), compared()) == (before[0] + 1, before[1] + 1))


@pytest.mark.parametrize(("alias", "tier"), [("dry", "1"), ("dry-same", "1")])
def test_a_dry_run_serves_nothing_and_counts(
    gateway: Gateway, upstream: Upstream, space: dict[str, str], alias: str, tier: str
) -> None:
    keep(gateway, QUESTION, space, model=alias)
    barrier(gateway)
    before = metric(gateway, "would_be_hits_total", model=alias, tier=tier)
    hits = metric(gateway, "hits_total", model=alias)
    reply = ask(gateway, PARAPHRASE, space, model=alias)
    assert (served(reply), reply.texts) == (None, [text_of(PARAPHRASE)])
    assert served(ask(gateway, QUESTION, space, model=alias)) == "exact"
    eventually(lambda: metric(gateway, "would_be_hits_total", model=alias, tier=tier) == before + 1)
    assert metric(gateway, "hits_total", model=alias) == hits


@BOTH_TIERS
def test_a_dry_run_counts_tier_2(gateway: Gateway, space: dict[str, str]) -> None:
    keep(gateway, QUESTION, space, model="dry-same")
    barrier(gateway)
    before = metric(gateway, "would_be_hits_total", model="dry-same", tier="2")
    assert served(ask(gateway, STRESSED, space, model="dry-same")) is None
    eventually(
        lambda: metric(gateway, "would_be_hits_total", model="dry-same", tier="2") == before + 1
    )


# Purges.


@pytest.mark.parametrize("store_url", ["redis7", "redis8"], indirect=True, scope="session")
def test_a_purge_ends_answers_by_meaning(
    gateway: Gateway, redis7: RedisServer, store_url: str, space: dict[str, str]
) -> None:
    def hit() -> bool:
        return served(only(gateway, PARAPHRASE, space)) == "tier 1"

    name = space["x-headgate-cache-namespace"]
    ways: list[list[str]] = [["--namespace", name], ["--model", "tier1"], ["--tenant", "acme"], []]
    for way in ways if store_url == redis7.url else [[]]:
        teach(gateway, space)
        other = "other" if "--tenant" in way else "acme"
        if other == "other":
            done = command("cache", "purge", "--config", str(gateway.file), "--tenant", other)
            assert done.returncode == 0
            assert hit()
        done = command("cache", "purge", "--yes", "--config", str(gateway.file), *way)
        assert done.returncode == 0, done.stderr
        eventually(lambda: not hit(), within=1)


@BOTH_TIERS
def test_a_newer_answer_is_the_one_served(
    gateway: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(gateway, space)
    upstream.on("up", saying("newer"))
    ask(gateway, QUESTION, space | {"cache-control": "no-cache"})
    eventually(lambda: only(gateway, PARAPHRASE, space).texts == ["newer"])
