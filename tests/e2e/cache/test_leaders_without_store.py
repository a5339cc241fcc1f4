"""What becomes of leaders and followers when the store goes."""

from __future__ import annotations

import threading
import time
from collections import Counter

import pytest

from tests.e2e.cache.herd import LATE, Client, Herd, asking, tally
from tests.e2e.cache.play import Act, Play, held
from tests.e2e.cache.replicas import quiet
from tests.e2e.cache.test_leaders import BROKEN, FEW, STREAM
from tests.harness.gateway import Gateway
from tests.harness.prompts import unseen
from tests.harness.redis_server import RedisServer
from tests.harness.upstream import Upstream


@pytest.fixture
def gateways(well_replicas: list[Gateway]) -> list[Gateway]:
    return well_replicas


@pytest.mark.parametrize("how", ["killed", "paused"])
@pytest.mark.parametrize("extra", [STREAM, {}], ids=["streamed", "plain"])
def test_nobody_hangs_when_the_store_goes(
    gateways: list[Gateway],
    server: RedisServer,
    upstream: Upstream,
    herd: Herd,
    how: str,
    extra: dict,
) -> None:
    place = 4 if extra else 0
    play = Play(upstream, held(place), Act())
    body = asking(unseen(), **extra)
    leader = herd.ask(gateways[0], body)
    upstream.wait_for(1)
    followers = herd.over(gateways, [body] * FEW)
    if extra:
        herd.have(followers, b"word3")
    quiet(gateways)
    server.kill() if how == "killed" else server.pause()
    gone = time.perf_counter()
    back = threading.Timer(3, server.restart if how == "killed" else server.resume)
    back.start()
    try:
        # The call itself goes on when the other workers have noticed that they are alone.
        others = [client for client in followers if client.gateway is gateways[1]]
        herd.ended(others, within=LATE)
        noticed = time.perf_counter() - gone
        play.open(place=place)
        verdicts = Counter(herd.finish([leader, *followers], within=LATE))
    finally:
        back.join()
    print(f"{verdicts}, {play.count} calls; other replica done {noticed:.2f} s after it went")
    assert set(verdicts) <= {"whole", *BROKEN}
    assert herd.finish([leader]) == ["whole"]
    if not extra:
        assert set(verdicts) == {"whole"}
    assert answered(gateways, herd)


def test_a_store_that_comes_back_in_the_middle_of_a_stream_spoils_nothing(
    gateways: list[Gateway], server: RedisServer, upstream: Upstream, herd: Herd
) -> None:
    """Words go on coming while it is paused: those who miss some must notice."""
    play = Play(upstream, held(4, 7, 10), Act())
    body = asking(unseen(), **STREAM)
    leader = herd.ask(gateways[0], body)
    upstream.wait_for(1)
    followers = herd.over(gateways, [body] * FEW)
    herd.have(followers, b"word3")
    server.pause()
    try:
        play.open(place=4)
        herd.have([leader], b"word6")
        quiet(gateways)
    finally:
        server.resume()
    play.open(place=7)
    herd.have([leader], b"word9")
    play.open(place=10)
    verdicts = Counter(herd.finish([leader, *followers], within=LATE))
    print(f"{verdicts}, {play.count} calls")
    assert set(verdicts) <= {"whole", *BROKEN}
    assert herd.finish([leader]) == ["whole"]
    assert play.count < FEW


def answered(gateways: list[Gateway], herd: Herd) -> bool:
    clients: list[Client] = herd.over(gateways, [asking(unseen())] * 8)
    assert set(herd.finish(clients)) == {"whole"}
    return set(tally(clients)) <= {"miss", "coalesced", "hit", "bypass"}
