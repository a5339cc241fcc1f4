"""What becomes of those who follow when whoever leads them fails, leaves, stalls or dies."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.e2e.cache.herd import LATE, Herd, asking
from tests.e2e.cache.play import WORDS, Act, Play, held
from tests.e2e.cache.replicas import POOR, RICH, RICHER, quiet, replicas
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.upstream import Upstream

STREAM = {"stream": True}
FEW = 40
FEW_CALLS = 20  # of 80 or 40 callers: who is between two flights begins a third
BROKEN = {"upstream_invalid_response", "upstream_unreachable", "cut"}


@pytest.fixture
def gateways(well_replicas: list[Gateway]) -> list[Gateway]:
    return well_replicas


# The leader's caller leaves.


@pytest.mark.parametrize("where", ["everywhere", "in the other replica"])
@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_the_call_goes_on_while_anybody_follows(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict, where: str
) -> None:
    play = Play(upstream, held(2, 6, 9))
    body = asking(unseen(), **extra)
    leader = herd.ask(gateways[0], body)
    upstream.wait_for(1)
    others = gateways if where == "everywhere" else gateways[1:]
    followers = herd.over(others, [body] * 8)
    quiet(gateways)
    herd.leave([leader])
    play.open(place=2)
    if extra:
        herd.have(followers, b"word5")
    assert not play.left().wait(0.5)  # longer than the promise to cancel takes
    play.open(place=6)
    herd.leave(followers[:-1])
    if extra:
        herd.have(followers[-1:], b"word8")
    assert not play.left().wait(0.3)
    play.open(place=9)
    assert herd.finish(followers[-1:]) == ["whole"]
    assert play.count == 1


@pytest.mark.parametrize("where", ["everywhere", "in the other replica"])
@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_when_the_last_follower_has_left_the_call_is_cancelled(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict, where: str
) -> None:
    play = Play(upstream, held(2))
    body = asking(unseen(), **extra)
    leader = herd.ask(gateways[0], body)
    upstream.wait_for(1)
    others = gateways if where == "everywhere" else gateways[1:]
    followers = herd.over(others, [body] * 8)
    quiet(gateways)
    herd.leave([leader])
    quiet(gateways)
    assert not play.left().is_set()
    herd.leave(followers)
    left = time.perf_counter()
    assert play.left().wait(1)
    print(f"cancelled {(time.perf_counter() - left) * 1000:.0f} ms after the last one left")
    assert play.count == 1


@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_a_leader_without_followers_takes_its_call_along(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict
) -> None:
    play = Play(upstream, held(2))
    body = asking(unseen(), **extra)
    leader = herd.ask(gateways[0], body)
    upstream.wait_for(1)
    if extra:
        herd.have([leader], b"word1")
    herd.leave([leader])
    assert play.left().wait(0.3)
    # Who asks next does not wait for the lease of the one who left.
    play = Play(upstream)
    begun = time.perf_counter()
    assert herd.finish([herd.ask(gateways[1], body)]) == ["whole"]
    assert time.perf_counter() - begun < 0.5


def test_followers_that_leave_do_not_disturb_the_leader(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    play = Play(upstream, held(3))
    body = asking(unseen(), **STREAM)
    leader = herd.ask(gateways[0], body)
    herd.have([leader], b"word2")
    followers = herd.over(gateways, [body] * 8)
    herd.have(followers, b"word2")
    herd.leave(followers)
    quiet(gateways)
    assert not play.left().is_set()
    play.open(place=3)
    assert herd.finish([leader]) == ["whole"]
    assert play.count == 1


# The upstream fails.


@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_when_the_first_call_fails_a_follower_asks_again_for_all(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict
) -> None:
    play = Play(upstream, held(0, status=503), Act())  # which is not asked again
    clients = herd.over(gateways, [asking(unseen(), **extra)] * FEW)
    upstream.wait_for(1)
    quiet(gateways)
    play.open()
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert play.count == 2
    assert verdicts["whole"] == FEW - 1
    [failed] = [client for client in clients if client.status != 200]
    assert failed.status == 503


@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_when_every_call_fails_everybody_is_told_after_a_few(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict
) -> None:
    play = Play(upstream, held(0, status=500), Act(status=500))
    clients = herd.over(gateways, [asking(unseen(), **extra)] * FEW * 2)
    upstream.wait_for(1)
    quiet(gateways)
    play.open()
    verdicts = herd.finish(clients, within=LATE)
    assert {client.status for client in clients} == {502}
    assert len(set(verdicts)) == 1
    assert play.count <= FEW_CALLS


@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_a_refusal_of_the_request_itself_is_everybodys(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, extra: dict
) -> None:
    play = Play(upstream, held(0, status=400), Act(status=400))
    clients = herd.over(gateways, [asking(unseen(), **extra)] * FEW)
    upstream.wait_for(1)
    quiet(gateways)
    play.open()
    herd.finish(clients, within=LATE)
    assert {client.status for client in clients} == {400}
    assert play.count <= FEW_CALLS


def test_a_stream_that_breaks_goes_on_for_those_who_followed(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    play = Play(upstream, held(6, cut=6), held(8))
    prompts = [unseen() for _ in range(3)]
    clients = herd.over(gateways, [asking(prompts, **STREAM)] * FEW)
    herd.have(clients, b"word5")
    play.open(place=6)
    followers = [client for client in clients if client.cache == "coalesced"]
    assert len(followers) == FEW - 1
    herd.have(followers, b"word7")
    assert not any(client.ended for client in followers)
    play.open(1, 8)
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert play.count == 2
    assert verdicts.pop("whole") == FEW - 1
    assert set(verdicts) <= BROKEN - {"cut"}  # it is told


@pytest.mark.parametrize("step", [2, 5, WORDS])
def test_the_second_call_may_speak_in_other_pieces(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, step: int
) -> None:
    play = Play(upstream, held(7, cut=7), Act(step=step))
    prompts = [unseen() for _ in range(2)]
    clients = herd.over(gateways, [asking(prompts, **STREAM)] * 12)
    herd.have(clients, b"word6")
    play.open(place=7)
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert verdicts["whole"] == 11
    assert play.count == 2


def test_a_plain_follower_may_take_over_from_a_stream_and_back(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    play = Play(upstream, held(6, cut=6), Act())
    body = asking(unseen())
    leader = herd.ask(gateways[0], body | STREAM)
    herd.have([leader], b"word5")
    clients = herd.over(gateways, [body] * 10)
    quiet(gateways)
    clients += herd.over(gateways, [body | STREAM] * 6)
    herd.have(clients[10:], b"word5")
    play.open(place=6)
    assert set(herd.finish(clients, within=LATE)) == {"whole"}
    assert play.count == 2


def test_a_stream_that_breaks_twice_ends_with_an_error(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    play = Play(upstream, held(6, cut=6), Act(cut=9))
    clients = herd.over(gateways, [asking(unseen(), **STREAM)] * FEW)
    herd.have(clients, b"word5")
    play.open(place=6)
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert set(verdicts) <= BROKEN - {"cut"}
    assert play.count <= FEW_CALLS


@pytest.mark.parametrize("seed", range(3))
def test_nobody_hangs_or_is_misled_whatever_happens(
    gateways: list[Gateway], upstream: Upstream, herd: Herd, seed: int
) -> None:
    """Calls that break, callers that leave, callers that come late, in many orders."""
    random = Random(seed)
    for _ in range(8):
        acts = [
            held(3, cut=random.choice([3, 5, 9, None]), step=random.choice([1, 2, 3])),
            Act(cut=random.choice([0, 2, 8, None]), step=random.choice([1, 4])),
        ]
        play = Play(upstream, *acts, Act())
        prompt = unseen()
        bodies = [asking(prompt, **random.choice([{}, STREAM])) for _ in range(24)]
        clients = herd.over(gateways, bodies)
        upstream.wait_for(1)
        gone = random.sample(clients, 8)
        herd.leave(gone[:4])
        play.open(place=3)
        clients += herd.over(gateways, bodies[:8])
        herd.leave(gone[4:])
        stayed = [client for client in clients if client not in gone]
        verdicts = Counter(herd.finish(stayed, within=LATE))
        assert set(verdicts) <= {"whole", *BROKEN}, (acts, verdicts)
        assert play.count <= 6, (acts, verdicts)
        upstream.reset()


# The leader's own affairs.


def test_a_leader_without_money_does_not_spoil_the_others(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    refused = 0
    for number in range(12):
        play = Play(upstream)
        body = asking(unseen(), **(STREAM if number % 2 else {}))
        first, second = gateways if number % 4 < 2 else reversed(gateways)
        asks = [(first, body, POOR)]
        asks += [(gateway, body, key) for gateway in (first, second) for key in (RICH, RICHER) * 2]
        begun = time.perf_counter()
        poor, *others = herd.volley(asks)
        assert set(herd.finish(others, within=LATE)) == {"whole"}
        assert time.perf_counter() - begun < 1
        assert play.count == 1
        # A follower needs no money.
        [verdict] = herd.finish([poor])
        assert verdict in {"whole", "budget_exceeded"}
        refused += verdict == "budget_exceeded"
    print(f"{refused} of 12 led and were refused")
    assert refused > 0


# Those who do not read.


@pytest.mark.alone
@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
@pytest.mark.parametrize("where", ["same worker", "everywhere"])
def test_a_leader_that_does_not_read_holds_up_nobody(
    gateways: list[Gateway],
    solo: Gateway,
    upstream: Upstream,
    herd: Herd,
    where: str,
    extra: dict,
) -> None:
    act = held(1, size=36 << 10, words=200)  # seven megabytes: more than the kernel takes
    play = Play(upstream, act)
    body = asking(unseen())
    places = [solo] if where == "same worker" else gateways
    leader = herd.ask(places[0], body | STREAM, small=True)
    herd.have([leader], b"<")
    herd.stall(leader)
    followers = herd.over(places, [body | extra] * 6)
    quiet(places)
    for client in (leader, *followers):
        client.act = act
    play.open(place=1)
    assert set(herd.finish(followers, within=LATE)) == {"whole"}
    assert leader.ended is None
    herd.resume(leader)
    assert herd.finish([leader]) == ["whole"]
    assert play.count == 1


@pytest.mark.alone
def test_a_leader_that_does_not_read_does_not_hide_a_broken_call(
    gateways: list[Gateway], upstream: Upstream, herd: Herd
) -> None:
    """Its caller cannot be told yet; those who follow must not wait for that."""
    act = Act(frozenset({1, 190}), cut=190, size=36 << 10, words=200)
    play = Play(upstream, act, act._replace(holds=frozenset(), cut=None))
    body = asking(unseen(), **STREAM)
    leader = herd.ask(gateways[0], body, small=True)
    herd.have([leader], b"<")
    herd.stall(leader)
    followers = herd.over(gateways, [body] * 6)
    herd.have(followers, b"<")
    for client in (leader, *followers):
        client.act = act
    play.open(place=1)
    herd.have(followers, b"word189")
    play.open(place=190)
    assert set(herd.finish(followers, within=LATE)) == {"whole"}
    assert 2 <= play.count <= 4  # too large to be kept for those who come back late
    herd.resume(leader)
    [verdict] = herd.finish([leader])
    assert verdict in BROKEN


@pytest.fixture(scope="module")
def solo(the_upstream: Upstream) -> Iterator[Gateway]:
    """One worker with a store in its process: everybody meets there."""
    with replicas("memory://", the_upstream, count=1, workers=1) as [gateway]:
        yield gateway
