"""deploy/compose.yaml as processes: what a reload, the death of a replica and an upgrade cost."""

from __future__ import annotations

from collections.abc import Iterator
from signal import SIGHUP, SIGTERM

import httpx
import pytest

from tests.e2e.deploy.topology import REPLICAS, Replica, Topology, fresh_address
from tests.harness.callers import Callers, Streams, post
from tests.harness.waiting import eventually

DONE = "data: [DONE]"
TOKENS_PER_SECOND = 50  # of the model demo


@pytest.fixture(scope="module")
def topology() -> Iterator[Topology]:
    with Topology() as running:
        eventually(lambda: ask(running).status_code, 200)
        yield running


def ask(topology: Topology) -> httpx.Response:
    with httpx.Client(trust_env=False) as client:
        return post(client, topology.haproxy.url, model="demo")


def streams(topology: Topology, count: int, seconds: float) -> Streams:
    tokens = int(seconds * TOKENS_PER_SECOND)
    return Streams([topology.haproxy.url] * count, tokens, model="demo")


def wait_until_used(topology: Topology, replica: Replica) -> None:
    """Until HAProxy sends requests to it."""
    before = replica.served

    def used() -> bool:
        assert ask(topology).status_code == 200
        return replica.served > before

    eventually(used, within=20)


def test_a_stream_survives_a_reload_of_replicas_and_balancer(topology: Topology) -> None:
    before = ask(topology).headers["x-headgate-config"]
    running = streams(topology, 6, 2.5)
    topology.file.write_text(topology.file.read_text() + "\n# another generation\n")
    for replica in topology.replicas.values():
        replica.signal(SIGHUP)
    topology.haproxy.reload()
    eventually(lambda: before not in {ask(topology).headers["x-headgate-config"] for _ in range(6)})
    assert running.finish() == [DONE] * 6


def test_a_killed_replica_costs_what_ran_on_it_and_nothing_else(topology: Topology) -> None:
    running = streams(topology, 9, 4)
    eventually(lambda: sum(replica.running for replica in topology.replicas.values()), 9)
    victim = topology.replicas["headgate-2"]
    lost = victim.running
    assert lost > 0
    victim.kill()
    assert {ask(topology).status_code for _ in range(40)} == {200}
    ends = running.finish()
    assert ends.count(DONE) == 9 - lost, ends


def test_a_replica_made_anew_is_found_at_its_new_address(topology: Topology) -> None:
    again = topology.replicas["headgate-2"]
    again.stop()
    again.start(fresh_address())
    topology.names.table["headgate-2"] = again.address
    again.wait_until_ready()
    wait_until_used(topology, again)


def test_an_upgrade_of_one_replica_after_the_other_loses_nothing(topology: Topology) -> None:
    callers = Callers(topology.haproxy.url, at_least=200, per_second=40, model="demo")
    callers.start()
    running = streams(topology, 6, 3)
    # The third is like the others, and would take its seconds too.
    one, two, _ = (topology.replicas[name] for name in REPLICAS)
    for last, replica in ((None, one), (one, two)):
        if last is not None:
            wait_until_used(topology, last)
        replica.signal(SIGTERM)
        assert replica.wait() == 0, replica.said()
        replica.start()
        replica.wait_until_ready()
    ends = callers.finish()
    assert set(ends) == {"200"}, ends
    assert running.finish() == [DONE] * 6
