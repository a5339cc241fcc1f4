"""A real Redis Cluster of three nodes, and a real failover by a real Sentinel."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.core.budgets import Budget
from app.core.limits import Bucket, Slots
from app.core.usage import Usage
from cache.answers.entry import CacheEntry
from cache.answers.quota import Quota
from cache.answers.shared_tier import Place, Responses
from cache.quotas.counters import Counters
from cache.quotas.heartbeat import Heartbeat
from cache.quotas.housekeeping import Housekeeping
from cache.quotas.ledger import BudgetPlan, Ledger, Reservation
from cache.quotas.limiter import Limiter, LimitPlan
from cache.quotas.risks import Risks, risks_of
from cache.quotas.usage import UsageLog, read_usage, settlement
from cache.registry.registry import Registry
from cache.semantic.feedback_ids import FeedbackIds, Served
from cache.semantic.index import SemanticIndex
from cache.store import key_names as names
from cache.store.base import Store
from cache.store.clock import time_of
from cache.store.redis_urls import finder_for
from cache.store.subscriber import Mailbox
from tests.cache.registry.making import key_change, made, policy_change
from tests.cache.stores import ADD, PATIENCE, fails, on, script_of, server_of, settled, until
from tests.harness.redis_server import RedisServer, ReplyError, wait_for

SLOTS = 16384
TENANTS = [f"tenant{number}" for number in range(12)]  # enough to fall on every node


@pytest.fixture(autouse=True)
def nothing_left_open() -> Iterator[None]:
    """What a store forgot to close is seen here, and not in whatever test comes next."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def cluster() -> Iterator[list[RedisServer]]:
    """Three primaries with a third of the slots each."""
    args = ("--cluster-enabled", "yes", "--cluster-node-timeout", "1000")
    nodes: list[RedisServer] = []
    try:
        nodes += [server_of("7", args) for _ in range(3)]
        bounds = [SLOTS * place // 3 for place in range(4)]
        for place, node in enumerate(nodes):
            node.cli("CLUSTER", "ADDSLOTSRANGE", bounds[place], bounds[place + 1] - 1)
            node.cli("CONFIG", "SET", "cluster-require-full-coverage", "no")
            node.cli("CLUSTER", "SET-CONFIG-EPOCH", place + 1)
        for node in nodes[1:]:
            nodes[0].cli("CLUSTER", "MEET", "127.0.0.1", node.port)
        for node in nodes:
            wait_for(
                lambda node=node: (
                    "cluster_state:ok" in node.cli("CLUSTER", "INFO")
                    and "cluster_known_nodes:3" in node.cli("CLUSTER", "INFO")
                    and f"cluster_slots_ok:{SLOTS}" in node.cli("CLUSTER", "INFO")
                )
            )
        yield nodes
    finally:
        for node in nodes:
            node.stop()


def cluster_url(nodes: list[RedisServer]) -> str:
    return f"redis+cluster://127.0.0.1:{nodes[0].port}"


def plan_of(tenant: str) -> LimitPlan:
    buckets = [Bucket("key:a", "requests", 6, 10), Bucket("tenant", "tokens", 6, 100)]
    return LimitPlan.of(tenant, buckets, [Slots("key:a", 8)])


def test_limits_hold_on_a_cluster(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> list[int]:
        limiter = Limiter(store, "refuse")
        counts = []
        for tenant in TENANTS:
            plan = plan_of(tenant)
            asked = await asyncio.gather(*(limiter.admit(plan, 1) for _ in range(20)))
            counts.append(sum(admission.decision.allowed for admission in asked))
            for admission in asked:
                if admission.decision.allowed:
                    limiter.settle(plan, admission, 1)
        await settled(store)
        return counts

    assert on(cluster_url(cluster), body) == [8] * len(TENANTS)
    assert all(int(node.cli("DBSIZE")) > 0 for node in cluster)


def test_what_operators_make_is_kept_and_told_of_on_a_cluster(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> None:
        registry = Registry(store)
        told = asyncio.Event()
        box = Mailbox(
            finder_for(cluster_url(cluster)), names.OPERATORS_CHANNEL, lambda _: told.set()
        )
        listening = asyncio.create_task(box.keep_listening())
        await until(lambda: box.open)
        for number in range(20):
            await made(registry.objects, key_change(f"web-{number:02d}"))
        await registry.catch_up()
        assert len(registry.snapshot) == 20
        await made(registry.objects, policy_change("limits", "slow"))
        await registry.catch_up()
        assert registry.snapshot.get("limits", "slow") is not None
        assert [name for name, _ in await registry.objects.page("keys", "web-17", 9)] == [
            "web-18",
            "web-19",
        ]
        await asyncio.wait_for(told.wait(), PATIENCE)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)

    on(cluster_url(cluster), body)


def test_budgets_usage_and_beats_work_on_a_cluster(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> list[tuple[int, int, int]]:
        ledger, log = Ledger(store), UsageLog(store)
        told: list[int] = []
        await Heartbeat(store, told.append).beat()
        assert told == [1]
        found = []
        for tenant in TENANTS:
            budgets = (Budget("key:a", 100, "day"), Budget("tenant", 50, "month"))
            plan = BudgetPlan(tenant, budgets)
            asked = await asyncio.gather(*(ledger.reserve(plan, 7) for _ in range(20)))
            for hold in asked:
                if isinstance(hold, Reservation):
                    ledger.settle(hold, 6)
            log.add(
                {
                    "tenant": tenant, "key": "a", "alias": "m", "status": 200,
                    "prompt_tokens": 1, "completion_tokens": 1, "cost": 1,
                },
                0.0,
            )  # fmt: skip
            await settled(store)
            _, account = await ledger.accounts(plan)
            held = sum(isinstance(hold, Reservation) for hold in asked)
            found.append((held, account.spent, account.held))
        await log.flush()
        assert not log._waiting
        return found

    assert on(cluster_url(cluster), body) == [(7, 42, 0)] * len(TENANTS)


def test_the_cache_keeps_its_quota_on_a_cluster(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> tuple[int, int, bool]:
        quota = Quota(store, Counters(store), 1 << 20, 100 << 10)
        responses, semantic_index = (
            Responses(store, 0, quota=quota),
            SemanticIndex(store, None, quota),
        )
        await quota.count()
        now = (await responses.look_up(Place.of("", "m", ""), [])).now
        till = now + 3_600_000
        entry = CacheEntry(b"x" * 4000, "up", "m", Usage(1, 2), 7, now, now, till, till, till)
        for tenant in ("", *TENANTS):
            place = Place.of(tenant, "m", "")
            for number in range(30):
                responses.keep(place, [(b"%032d" % number, entry)])
            semantic_index.keep(tenant, [b"k" * 32], b"%032d" % 29, 60_000)
            await semantic_index.ban(tenant, b"a" * 32, b"s" * 32, quarantine=True)
        await settled(store)
        for _ in range(4):  # some tenants at a time
            await quota.count()
        found = [
            (await responses.look_up(Place.of(tenant, "m", ""), [b"%032d" % 29])).entries != [None]
            for tenant in ("", *TENANTS)
        ]
        ids, others = FeedbackIds(store), FeedbackIds(store)
        await asyncio.gather(ids.agree(), others.agree())
        signed = ids.sign(Served("acme", b"a" * 32, b"s" * 32))
        assert signed is not None
        known = others.read(signed.decode(), ["acme"]) is not None
        return quota.used, sum(found), known

    used, found, known = on(cluster_url(cluster), body)
    assert found == len(TENANTS) + 1
    assert len(TENANTS) * 4000 < used <= 1 << 20
    assert known


def test_counting_sweeping_and_warning_work_on_a_cluster(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> list[object]:
        ledger, keeper = Ledger(store), Housekeeping(store)
        keeper.tenants = [f"swept-{tenant}" for tenant in TENANTS]
        now = ledger.clock.now()
        when = datetime.fromtimestamp(now, UTC)
        costs = []
        for tenant in keeper.tenants:
            plan = BudgetPlan(tenant, (Budget("key:a", 100, "day"),))
            ledger.settle(ledger.unreserved(plan), 6, settlement(now, "a", "m", 6, Usage(1, 1)))
            await settled(store)
            costs += [row.counts["cost"] for row in await read_usage(store, tenant, when, when)]
        await keeper.sweep_due()
        left = [await keeper.sweep(tenant) for tenant in keeper.tenants]
        # Its client does not ask for the setting `save`: unknown is no risk.
        return [costs, left, await risks_of(store), abs(await time_of(store) - now) < 5]

    one_each = [1] * len(TENANTS)
    answer = on(cluster_url(cluster), body)
    # The budget, and the counters of the hour and the day, by key and of all keys.
    assert answer == [[6 * one for one in one_each], [5 * one for one in one_each],
                      Risks(), True]  # fmt: skip


def test_a_full_cluster_goes_on_counting(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> list[object]:
        ledger = Ledger(store)
        for node in cluster:
            node.cli("CONFIG", "SET", "maxmemory", 1)
        try:
            plan = BudgetPlan("full", (Budget("key:a", 100, "day"),))
            hold = await ledger.reserve(plan, 7)
            refused = await fails(store.run(script_of(ADD), ["{full}k"], [1]))
            return [isinstance(hold, Reservation), refused, store.breaker.open]
        finally:
            for node in cluster:
                node.cli("CONFIG", "SET", "maxmemory", 0)

    assert on(cluster_url(cluster), body) == [True, True, False]


def test_messages_keep_their_order_on_a_cluster(cluster: list[RedisServer]) -> None:
    # Whatever else is under way, and though no node knows any script.
    async def body(store: Store) -> list[bytes]:
        came: list[bytes] = []
        find = finder_for(f"redis://127.0.0.1:{cluster[2].port}")
        mailbox = Mailbox(find, "hg1:mail:w", came.append)
        listening = asyncio.create_task(mailbox.keep_listening())
        await until(lambda: mailbox.open)
        for node in cluster:
            node.cli("SCRIPT", "FLUSH")
        for number in range(100):
            store.publish("hg1:mail:w", b"%d" % number)
            store.tell(script_of(ADD), [f"{{{TENANTS[number % 12]}}}n"], [1])
            if number % 10 == 0:
                await asyncio.sleep(0)
        await until(lambda: len(came) == 100)
        listening.cancel()
        await asyncio.gather(listening, return_exceptions=True)
        return came

    assert on(cluster_url(cluster), body) == [b"%d" % number for number in range(100)]


def test_what_was_told_is_sent_before_a_cluster_is_closed(cluster: list[RedisServer]) -> None:
    names = [f"{{{tenant}}}told" for tenant in TENANTS]
    for node in cluster:
        node.cli("SCRIPT", "FLUSH")

    async def tell(store: Store) -> None:
        await store.command("GET", names[0])
        cluster[1].pause()
        for number in range(240):
            store.tell(script_of(ADD), [names[number % 12]], [1])
        asyncio.get_running_loop().call_later(0.4, cluster[1].resume)

    async def told(store: Store) -> list[bytes]:
        return [await store.command("GET", name) for name in names]

    try:
        on(cluster_url(cluster), tell, 0.05)
    finally:
        cluster[1].resume()
    assert on(cluster_url(cluster), told) == [b"20"] * 12


def test_a_cluster_that_is_not_there_is_an_outage() -> None:
    async def body(store: Store) -> tuple[bool, str | None, str]:
        failed = await fails(store.command("GET", "k"))
        return failed, store.breaker.reason, store.breaker.detail

    expected = (True, "refused", "127.0.0.1:1: connection refused")
    assert on("redis+cluster://127.0.0.1:1", body, 0.2) == expected


def test_a_cluster_that_does_not_let_us_in_says_so() -> None:
    async def body(store: Store) -> tuple[str | None, str]:
        await until(lambda: store.breaker.open)
        return store.breaker.reason, store.breaker.detail

    with server_of("7", ("--cluster-enabled", "yes")) as node:
        node.cli("CLUSTER", "ADDSLOTSRANGE", 0, SLOTS - 1)
        node.cli("CONFIG", "SET", "requirepass", "sesame")
        reason, detail = on(f"redis+cluster://:wrong@127.0.0.1:{node.port}", body, 0.5)
    assert reason == "auth"
    assert detail.startswith(f"127.0.0.1:{node.port}: the server does not accept")


def test_a_dead_node_of_a_cluster_is_an_outage(cluster: list[RedisServer]) -> None:
    async def body(store: Store) -> None:
        add = script_of(ADD)
        keys = [f"{{{tenant}}}k" for tenant in TENANTS]
        for key in keys:
            await store.run(add, [key], [1])
        cluster[1].kill()
        async with asyncio.timeout(PATIENCE):
            asked = await asyncio.gather(
                *(store.run(add, [key], [1]) for key in keys for _ in range(3)),
                return_exceptions=True,
            )
        kinds = {type(answer).__name__ for answer in asked if isinstance(answer, Exception)}
        assert kinds == {"StoreUnavailable"}

    on(cluster_url(cluster), body, 0.3)


@pytest.fixture
def failover() -> Iterator[tuple[RedisServer, RedisServer, RedisServer]]:
    """A Sentinel, the primary that it knows, and that one's replica."""
    with (
        server_of("7") as primary,
        RedisServer.start(primary.binary, ("--replicaof", f"127.0.0.1 {primary.port}")) as replica,
    ):
        config = Path(primary.folder) / "sentinel.conf"
        config.write_text(
            f"sentinel monitor main 127.0.0.1 {primary.port} 1\n"
            "sentinel down-after-milliseconds main 300\n"
            "sentinel failover-timeout main 2000\n"
        )
        wait_for(lambda: replica.info("replication")["master_link_status"] == "up")
        with RedisServer.start(primary.binary, (str(config), "--sentinel")) as sentinel:
            wait_for(lambda: sentinel.info("sentinel")["sentinel_masters"] == "1")
            wait_for(lambda: "slaves=1," in sentinel.info("sentinel")["master0"])
            yield sentinel, primary, replica


def test_a_failover_is_followed(failover: tuple[RedisServer, RedisServer, RedisServer]) -> None:
    sentinel, primary, replica = failover

    async def body(store: Store) -> int:
        add = script_of(ADD)
        await store.run(add, ["k"], [1])
        assert primary.cli("GET", "k") == "1"
        await until(lambda: replica.cli("GET", "k") == "1")
        primary.kill()
        assert await fails(store.run(add, ["k"], [1]))
        await until(lambda: _takes(store), patience=15)
        return await store.run(add, ["k"], [1])

    assert on(f"redis+sentinel://127.0.0.1:{sentinel.port}/main", body, 0.2) >= 2
    assert replica.info("replication")["role"] == "master"


async def _takes(store: Store) -> bool:
    if store.breaker.open:
        return False
    try:
        return not await fails(store.run(script_of(ADD), ["probe"], [1]))
    except ReplyError:
        return False
