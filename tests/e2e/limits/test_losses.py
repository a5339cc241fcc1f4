"""A store that forgets: noticed when it did, and warned of while it may."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.e2e.limits.fleet import SHORT, Plans, fleet
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

PLANS = Plans()
PAYING = PLANS.caller("paying", budget={"usd": 1})
WITHOUT = Plans()
WITHOUT.caller("anyone")

KEEPS = ("--appendonly", "yes")


def told(gateways: list[Gateway], event: str) -> list[dict[str, Any]]:
    """The log lines of an event, of all gateways."""
    lines = [json.loads(line) for gateway in gateways for line in gateway.output]
    return [line for line in lines if line["event"] == event]


def warnings(gateway: Gateway) -> list[str]:
    return gateway.get("/health/ready", None).document.get("warnings", [])


def test_a_store_that_was_emptied_is_logged_and_counted_once() -> None:
    with (
        RedisServer.start(args=KEEPS) as server,
        fleet(PLANS, server.port, 2, workers=2) as gateways,
    ):
        eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 4)
        assert gateways[0].send(SHORT, PAYING.secret).status == 200
        assert told(gateways, "store_empty") == []
        server.cli("FLUSHALL")
        eventually(lambda: len(told(gateways, "store_empty")), 1)
        eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 4)  # all have seen it
        [line] = told(gateways, "store_empty")
        assert line["level"] == "error"
        assert "spent" in line["lost"]

        def counted() -> bool:
            text = gateways[0].get("/metrics/shared", None).body.decode()
            return "headgate_store_empty_total 1\n" in text

        eventually(counted, True)


def test_a_store_that_restarts_without_its_data_is_noticed() -> None:
    with RedisServer.start() as server, fleet(PLANS, server.port, 1) as gateways:
        eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 1)
        server.restart()
        eventually(lambda: len(told(gateways, "store_empty")), 1)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lru"),
         {"store_evicts", "store_forgets"}),
        ((*KEEPS, "--maxmemory", "50mb", "--maxmemory-policy", "volatile-lru"), set()),
    ],
    ids=["warned", "silent"],
)  # fmt: skip
def test_settings_that_forget_money_are_warned_of(
    args: tuple[str, ...], expected: set[str]
) -> None:
    with (
        RedisServer.start(args=args) as server,
        fleet(PLANS, server.port, 1, workers=2) as gateways,
    ):
        eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 2)
        # Both workers say it to whoever asks after them; one of them writes it to the log.
        eventually(lambda: set(warnings(gateways[0])), expected)
        assert gateways[0].send(SHORT, PAYING.secret).status == 200
        eventually(lambda: {line["event"] for line in warned(gateways)}, expected)
        assert len(warned(gateways)) == len(expected)
        for line in warned(gateways):
            assert line["level"] == "warning"
            assert "set " in line["advice"]


def warned(gateways: list[Gateway]) -> list[dict[str, Any]]:
    return [*told(gateways, "store_evicts"), *told(gateways, "store_forgets")]


def test_a_managed_server_that_says_nothing_of_itself_is_not_warned_of() -> None:
    with RedisServer.start() as server:
        server.cli("ACL", "SETUSER", "default", "-config")
        with fleet(PLANS, server.port, 1) as gateways:
            eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 1)
            assert gateways[0].send(SHORT, PAYING.secret).status == 200
            assert warnings(gateways[0]) == []
            assert told(gateways, "store_out") == []


def test_without_budgets_there_is_nothing_to_warn_of() -> None:
    with RedisServer.start() as server, fleet(WITHOUT, server.port, 1) as gateways:
        eventually(lambda: int(server.cli("ZCARD", "hg1:replicas")), 1)
        assert gateways[0].send(SHORT, WITHOUT.secrets[0]).status == 200
        assert warnings(gateways[0]) == []
        assert told(gateways, "store_forgets") == []
