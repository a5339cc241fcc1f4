"""What becomes of those who follow when the process that leads them is killed."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests.e2e.cache.herd import LATE, Herd, asking
from tests.e2e.cache.play import WORDS, Act, Play, held
from tests.e2e.cache.replicas import LEASE, Shared, all_well, quiet, replicas, workers_of
from tests.e2e.cache.test_leaders import FEW, STREAM
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream
from tests.harness.waiting import eventually


@pytest.fixture
def their() -> Iterator[Shared]:
    with RedisServer.start() as server, Shared(server) as shared:
        yield shared


@pytest.fixture
def mortals(their: Shared, the_upstream: Upstream) -> Iterator[list[Gateway]]:
    """Two replicas for one test: the server ends for good when a worker dies twice in a while."""
    with replicas(their.url, the_upstream) as gateways:
        all_well(gateways, their)
        yield gateways
        all_well(gateways, their)
        eventually(lambda: their.flights, [], within=LEASE)


def test_streams_survive_the_death_of_the_process_that_leads(
    mortals: list[Gateway], upstream: Upstream, herd: Herd, their: Shared
) -> None:
    play = Play(upstream, held(6), held(3, 8))
    clients = herd.over(mortals, [asking(unseen(), **STREAM)] * FEW)
    herd.have(clients, b"word5")  # everybody had half of it
    os.kill(their.leader, signal.SIGKILL)
    killed = time.perf_counter()
    upstream.wait_for(2)
    quiet(mortals)
    for place in (3, 8):
        assert not any(client.has(b"word%d" % (WORDS - 1)) for client in clients)
        play.open(1, place)
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert play.count == 2
    assert set(verdicts) <= {"whole", "cut"}
    # Those of the dead worker are cut; it had about a quarter.
    assert verdicts["whole"] >= FEW / 2
    assert max(client.ended or 0.0 for client in clients) - killed < LATE
    print(f"{verdicts}, taken over {took(play, killed):.2f} s after the kill")


def test_plain_requests_survive_the_death_of_the_process_that_leads(
    mortals: list[Gateway], upstream: Upstream, herd: Herd, their: Shared
) -> None:
    play = Play(upstream, held(0), Act())
    prompt = unseen()
    bodies = [asking(prompt, **extra) for extra in ({}, {}, {}, {}, STREAM, STREAM)]
    clients = herd.over(mortals, bodies * 7)
    upstream.wait_for(1)
    quiet(mortals)
    os.kill(their.leader, signal.SIGKILL)
    killed = time.perf_counter()
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert play.count == 2
    assert set(verdicts) <= {"whole", "cut"}
    assert verdicts["whole"] >= len(clients) / 2
    print(f"{verdicts}, all done {time.perf_counter() - killed:.2f} s after the kill")


def test_another_text_after_the_death_of_the_leader_is_not_called_whole(
    mortals: list[Gateway], upstream: Upstream, herd: Herd, their: Shared
) -> None:
    other = Act(text="quite another story")
    play = Play(upstream, held(6), other)
    clients = herd.over(mortals, [asking(unseen(), **STREAM)] * 16)
    herd.have(clients, b"word5")
    os.kill(their.leader, signal.SIGKILL)
    verdicts = Counter(herd.finish(clients, within=LATE))
    assert set(verdicts) <= {"cut", "upstream_invalid_response"}
    assert not any(client.has(b"quite") for client in clients)
    assert play.count <= 4  # each worker notices by itself


def test_a_whole_replica_may_die(
    mortals: list[Gateway], upstream: Upstream, herd: Herd, their: Shared
) -> None:
    play = Play(upstream, held(6), held(8, step=2))
    body = asking(unseen(), **STREAM)
    leader = herd.ask(mortals[0], body)
    herd.have([leader], b"word5")
    followers = herd.over(mortals[1:], [body] * 10)
    herd.have(followers, b"word5")
    for pid in workers_of(mortals[0]):
        os.kill(pid, signal.SIGKILL)
    upstream.wait_for(2)
    play.open(1, 8)
    assert set(herd.finish(followers, within=LATE)) == {"whole"}
    assert herd.finish([leader]) == ["cut"]
    assert play.count == 2


def test_dead_followers_are_not_waited_for(
    mortals: list[Gateway], upstream: Upstream, herd: Herd, their: Shared
) -> None:
    play = Play(upstream, held(6))
    body = asking(unseen(), **STREAM)
    leader = herd.ask(mortals[0], body)
    herd.have([leader], b"word5")
    herd.have(herd.over(mortals[1:], [body] * 10), b"word5")
    herd.leave([leader])
    for pid in workers_of(mortals[1]):
        os.kill(pid, signal.SIGKILL)
    assert play.left().wait(3)


def took(play: Play, since: float) -> float:
    return play.began[1] - since
