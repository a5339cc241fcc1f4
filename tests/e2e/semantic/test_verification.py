"""The cache measures its own errors while it runs, and closes where it errs."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.cache.asking import saying
from tests.e2e.limits.books import Account, Books
from tests.e2e.semantic.asking import PARAPHRASE, QUESTION, ask, keep, only, served, teach
from tests.e2e.semantic.configuration import configuration, model
from tests.harness.command import command
from tests.harness.exchange import Request, Wire
from tests.harness.gateway import Gateway, open_gateway
from tests.harness.metrics import metric, parsed
from tests.harness.prompts import PRIVATE
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually

ALL = {"tier1": 1, "tier1b": 1, "tier2": 1, "control": 1, "usd_per_day": 100}
TIER1 = ALL | {"control": 0}
TIER_OF = {"changing": "1", "changing-2": "2"}

FOODS = "rice barley pasta soup bread porridge stew lentils beans potatoes".split()
PLACES = "a cabin,a tent,a castle,a kitchen,a garden,a lighthouse,a tunnel,a harbor,a barn,a cellar"
TOPICS = [(food, place) for food in FOODS for place in PLACES.split(",")]


def question(number: int) -> str:
    food, place = TOPICS[number]
    return f"How does a {PRIVATE} cook {food} in {place}?"


def paraphrase(number: int) -> str:
    return "Please: " + question(number).lower().rstrip("?")


def stressed(number: int) -> str:
    return question(number).replace("does a", "does actually a")


def verified(name: str, **verify: Any) -> dict[str, Any]:
    return model(name, verify=verify)


@pytest.fixture(scope="module", params=["memory", "redis7", "redis8"])
def books(request: pytest.FixtureRequest) -> Iterator[Books | None]:
    """What stands in the store; None where nobody can look into it."""
    if request.param == "memory":
        yield None
        return
    server: RedisServer = request.getfixturevalue(request.param)
    with Books(server.port) as books:
        books.redis.flushdb()
        yield books


@pytest.fixture(scope="module")
def the_verifier(books: Books | None, the_upstream: Upstream) -> Iterator[Gateway]:
    port = books.redis.connection_pool.connection_kwargs["port"] if books else None
    url = f"redis://127.0.0.1:{port}" if port else "memory://"
    settings = configuration(url, the_upstream)
    settings["models"] = {
        "changing": verified("changing", **ALL),
        "changing-2": model("changing", verify=ALL, encoder="local", threshold=0.7),
        "noisy": verified("noisy", **ALL),
        "steady": verified("steady", **ALL),
        "wrong": verified("wrong", **TIER1),
        "slow": verified("slow", **TIER1),
        "broken": verified("broken", **TIER1),
        "poor": verified("up", **(ALL | {"usd_per_day": 0})),
        "dry": model("dry", verify=ALL, dry_run=True),
        "controlled": verified("up", control=1),
    }
    settings["budgets"] = {"small": {"usd": 5, "per": "month"}}
    for key in settings["keys"]:
        key["budget"] = "small"
    settings["tenants"]["acme"] = {"budget": "small"}
    settings["budgets"]["small"]["usd"] = 100
    with open_gateway(settings, the_upstream) as gateway:
        yield gateway


@pytest.fixture
def verifier(the_verifier: Gateway, upstream: Upstream) -> Iterator[Gateway]:
    yield the_verifier
    the_verifier.check_output()


def events(gateway: Gateway, event: str, alias: str) -> list[dict[str, Any]]:
    lines = [json.loads(text) for text in gateway.output if event in text]
    return [line for line in lines if line.get("event") == event and line["alias"] == alias]


def shadows(gateway: Gateway, alias: str) -> list[dict[str, Any]]:
    lines = [json.loads(text) for text in gateway.output if '"shadow"' in text]
    return [line for line in lines if line["cache"] == "shadow" and line["alias"] == alias]


def verdicts(gateway: Gateway, alias: str, tier: str) -> float:
    """Whether /metrics has a bound of this tier's error."""
    series = parsed(gateway.get("/metrics/shared", None).body.decode())
    wanted = {("bound", "low"), ("model", alias), ("tier", tier), ("tenant", "acme")}
    name = "headgate_semantic_shadow_error"
    return max((v for (n, has), v in series.items() if n == name and wanted <= has), default=-1)


async def by_its_words(request: Request, wire: Wire) -> None:
    """Another answer to every wording, the same to the same."""
    said = hashlib.sha256(str(request.document["prompt"]).encode()).hexdigest()
    await saying(f"it says {said}")(request, wire)


# The upstream changes its mind.


@pytest.mark.parametrize("alias", ["changing", "changing-2"])
def test_a_tier_that_errs_closes_itself_within_a_few_hits(
    verifier: Gateway,
    upstream: Upstream,
    space: dict[str, str],
    books: Books | None,
    alias: str,
    request: pytest.FixtureRequest,
) -> None:
    if alias == "changing-2" and "redis7" in request.node.name:
        pytest.skip("Redis 7 has no vector sets")
    upstream.on("changing", by_its_words)
    tier = TIER_OF[alias]
    again = paraphrase if tier == "1" else stressed
    hits = 0
    for number in range(20):
        keep(verifier, question(number), space, model=alias)
        seen = len(shadows(verifier, alias))
        found = served(ask(verifier, again(number), space, model=alias))
        if events(verifier, "semantic_tier_closed", alias):
            break
        assert found == f"tier {tier}"
        hits += 1
        eventually(lambda seen=seen: len(shadows(verifier, alias)) > seen)
    [closed] = events(verifier, "semantic_tier_closed", alias)
    assert 3 <= hits <= 8
    assert (closed["tier"], closed["compared"], closed["differed"]) == (tier, hits, hits)
    eventually(lambda: metric(verifier, "closures_total", model=alias, tier=tier) == 1)
    assert verdicts(verifier, alias, tier) > 0.01

    would_be = metric(verifier, "would_be_hits_total", model=alias, tier=tier)
    total = metric(verifier, "hits_total", model=alias)
    for number in range(20, 25):
        keep(verifier, question(number), space, model=alias)
        assert served(ask(verifier, again(number), space, model=alias)) is None
    eventually(
        lambda: metric(verifier, "would_be_hits_total", model=alias, tier=tier) >= would_be + 5
    )
    assert metric(verifier, "hits_total", model=alias) == total
    assert len(events(verifier, "semantic_tier_closed", alias)) == 1
    # Another partition has done nothing wrong.
    teach(verifier, space, model=alias, max_tokens=99)


def test_a_tier_of_a_merely_noisy_model_stays_open(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    asked: Counter[str] = Counter()

    async def noisy(request: Request, wire: Wire) -> None:
        """Differs from itself on the same prompt one time in six."""
        prompt = str(request.document["prompt"])
        asked[prompt] += 1
        dice = hashlib.sha256(f"{prompt} {asked[prompt]}".encode()).digest()[0]
        await saying("a whim" if dice < 43 else "the usual")(request, wire)

    upstream.on("noisy", noisy)
    hits = compared = 0
    for number in range(100):
        keep(verifier, question(number), space, model="noisy")
        compared += 1
        for prompt in (question(number), paraphrase(number)):
            reply = ask(verifier, prompt, space, model="noisy")
            hits += served(reply) == "tier 1"
            compared += served(reply) is not None
    eventually(lambda: len(shadows(verifier, "noisy")) >= compared - 5)
    assert hits >= 95
    assert events(verifier, "semantic_tier_closed", "noisy") == []
    assert 0 <= verdicts(verifier, "noisy", "1") <= 0.01


# One confirmed mismatch.


def test_a_confirmed_mismatch_is_never_served_again(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("wrong", saying("first"))
    keep(verifier, QUESTION, space, model="wrong")
    upstream.on("wrong", saying("second"))
    eventually(lambda: served(ask(verifier, PARAPHRASE, space, model="wrong")) is not None)
    eventually(lambda: served(only(verifier, PARAPHRASE, space, model="wrong")) is None)
    reply = ask(verifier, PARAPHRASE, space, model="wrong")
    assert (served(reply), reply.texts) == (None, ["second"])
    reply = ask(verifier, QUESTION, space, model="wrong")
    assert (served(reply), reply.texts) == ("exact", ["first"])
    assert events(verifier, "semantic_tier_closed", "wrong") == []


def test_an_answer_that_agrees_goes_on_being_served(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("steady", saying("Yes, it is so."))
    teach(verifier, space, model="steady")
    for count in range(1, 6):
        reply = ask(verifier, PARAPHRASE, space, model="steady")
        assert served(reply) == "tier 1"
        eventually(lambda count=count: len(shadows(verifier, "steady")) >= count)
    assert verdicts(verifier, "steady", "1") == 0


# Whose calls they are.


def test_shadow_calls_are_the_gateways_own(
    verifier: Gateway, upstream: Upstream, space: dict[str, str], books: Books | None
) -> None:
    upstream.on("steady", saying("Yes, it is so."))
    teach(verifier, space, model="steady")
    eventually(lambda: len(shadows(verifier, "steady")) > 0)
    before = books and books.account("acme", "tenant")
    for stream in (False, True):
        reply = ask(verifier, PARAPHRASE, space, model="steady", stream=stream)
        assert served(reply) == "tier 1"
        request_id = reply.headers["x-request-id"]
        lines = {line["cache"]: line for line in verifier.lines(request_id, 2)}
        shadow, hit = lines["shadow"], lines["hit"]
        assert (shadow["key"], shadow["tenant"]) == ("~headgate", "~headgate")
        assert (shadow["alias"], shadow["status"]) == ("steady", 200)
        assert float(shadow["cost_usd"]) == 0.006
        assert (hit["key"], hit["tenant"], float(hit["cost_usd"])) == ("all", "acme", 0)
    if books is None:
        return
    assert books.account("acme", "tenant") == before
    month = books.redis.keys("hg1:{~headgate}:account:shadow:steady:*")
    assert len(month) == 1
    eventually(lambda: len(books.records("~headgate")) >= 2)
    assert {record["key"] for record in books.records("~headgate")} == {"~headgate"}
    assert not [r for r in books.records("acme") if r.get("cache") == "shadow"]


def test_an_operator_sees_what_verification_costs(
    verifier: Gateway, upstream: Upstream, space: dict[str, str], books: Books | None
) -> None:
    if books is None:
        return  # a store in the process is not seen from outside
    upstream.on("steady", saying("Yes, it is so."))
    teach(verifier, space, model="steady")
    eventually(lambda: len(books.records("~headgate")) > 0)
    done = command("usage", "--config", str(verifier.file))
    assert done.returncode == 0
    assert "~headgate" in done.stdout


def test_a_caller_pays_for_its_misses_only(
    verifier: Gateway, upstream: Upstream, space: dict[str, str], books: Books | None
) -> None:
    if books is None:
        return
    upstream.on("steady", saying("Yes, it is so."))
    spent = books.account("acme", "tenant").spent
    teach(verifier, space, model="steady")
    seen = len(shadows(verifier, "steady"))
    ask(verifier, PARAPHRASE, space, model="steady")
    eventually(lambda: len(shadows(verifier, "steady")) > seen)
    cost = 6 * 1_000_000
    eventually(lambda: books.account("acme", "tenant") == Account(spent + cost, 0))


def test_no_money_means_no_shadow_calls(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    teach(verifier, space, model="poor")
    for _ in range(5):
        assert served(ask(verifier, PARAPHRASE, space, model="poor")) == "tier 1"
        assert served(ask(verifier, QUESTION, space, model="poor")) == "exact"
    upstream.on("steady", saying("Yes, it is so."))
    seen = len(shadows(verifier, "steady"))
    teach(verifier, space, model="steady")  # its shadow call comes after all of theirs
    eventually(lambda: len(shadows(verifier, "steady")) > seen)
    assert shadows(verifier, "poor") == []
    assert [r.model for r in upstream.requests].count("up") == 1


def test_exact_hits_are_the_control_arm(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    keep(verifier, QUESTION, space, model="controlled")
    keep(verifier, "x", space, model="controlled")  # not eligible: says nothing about what is
    eventually(lambda: len(shadows(verifier, "controlled")) >= 1)
    eventually(lambda: served(ask(verifier, QUESTION, space, model="controlled")) == "exact")
    prompts = [request.document["prompt"] for request in upstream.wait_for(3)]
    assert prompts.count("x") == 1
    assert prompts.count(QUESTION) > 1


# Nobody waits.


def test_nobodys_answer_waits_for_verification(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("slow", saying("Yes."))
    keep(verifier, QUESTION, space, model="slow")
    gate = upstream.gate()

    async def held(request: Request, wire: Wire) -> None:
        await gate.wait()
        await saying("Yes.")(request, wire)

    upstream.on("slow", held)
    eventually(lambda: served(only(verifier, PARAPHRASE, space, model="slow")) == "tier 1")
    for number in range(100):  # more than may be verified at a time
        fields = {"model": "slow", "stream": number % 2 == 0}
        reply = ask(verifier, PARAPHRASE, space, **fields)
        assert served(reply) == "tier 1"
    assert shadows(verifier, "slow") == []
    gate.open()
    eventually(lambda: len(shadows(verifier, "slow")) >= 60)
    assert len([r for r in upstream.requests if r.model == "slow"]) <= 70


@pytest.mark.parametrize("kind", ["error", "reset", "rubbish"])
def test_a_shadow_call_that_fails_says_nothing(
    verifier: Gateway, upstream: Upstream, space: dict[str, str], kind: str
) -> None:
    upstream.on("broken", saying("Yes."))
    keep(verifier, QUESTION, space, model="broken")

    async def broken(request: Request, wire: Wire) -> None:
        if kind == "error":
            await wire.answer({"error": {"message": "no"}}, 500)
        elif kind == "reset":
            wire.reset()
        else:
            await wire.answer(b'{"choices": []}')

    upstream.on("broken", broken)
    seen = len(shadows(verifier, "broken"))
    for count in range(1, 6):
        for stream in (False, True):
            eventually(
                lambda s=stream: (
                    served(ask(verifier, PARAPHRASE, space, model="broken", stream=s)) == "tier 1"
                )
            )
        eventually(lambda count=count: len(shadows(verifier, "broken")) >= seen + 2 * count)
    assert verdicts(verifier, "broken", "1") == -1
    assert not [line for line in verifier.output if "background_failed" in line]


def test_a_dry_run_is_verified_for_nothing(
    verifier: Gateway, upstream: Upstream, space: dict[str, str]
) -> None:
    upstream.on("dry", by_its_words)
    for number in range(8):
        keep(verifier, question(number), space, model="dry")
        assert served(ask(verifier, paraphrase(number), space, model="dry")) is None
    eventually(lambda: verdicts(verifier, "dry", "1") > 0)
    # The only calls besides are those of the control arm.
    said = {line["status"] for line in shadows(verifier, "dry")}
    assert said <= {200}
    assert [r.document["prompt"] for r in upstream.requests].count(paraphrase(7)) == 1
