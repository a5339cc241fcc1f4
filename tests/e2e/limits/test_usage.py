"""Usage: one record for every request whatever became of it, and the ways to read them."""

from __future__ import annotations

import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.limits.books import DOLLAR, Books, spent_of
from tests.e2e.limits.crowd import Volley, request, shoot
from tests.e2e.limits.fleet import SHORT, Caller, Plans, fleet, midway
from tests.e2e.limits.scripts import endless_stream, hold
from tests.harness.command import command
from tests.harness.configuration import TOKEN
from tests.harness.gateway import Gateway
from tests.harness.redis_server import RedisServer
from tests.harness.replies import Reply
from tests.harness.upstream import Upstream

PLANS = Plans()
FLEET = {"count": 2, "timeout": "500ms"}


SEEN = PLANS.caller("seen", {"requests_per_minute": 1, "request_burst": 9}, {"usd": 1})
HOUSE = PLANS.tenant("house")
MINE = PLANS.caller("mine", tenant=HOUSE)
YOURS = PLANS.caller("yours", tenant=HOUSE)
ELSE = PLANS.caller("else")
CROWD = PLANS.caller("crowd", {"requests_per_minute": 100})
LATE = PLANS.caller("late")
LAST = PLANS.caller("last", budget={"usd": 10})


def test_every_request_leaves_one_record(
    gateway: Gateway, upstream: Upstream, books: Books
) -> None:
    async def fail(request, wire):
        await wire.answer({"error": {"message": "no"}}, 500)

    def told(name: str, **fields: Any) -> Reply:
        return gateway.send(SHORT | fields, SEEN.secret, {"x-request-id": name})

    assert told("whole").status == 200
    assert told("streamed", stream=True).status == 200
    upstream.on("up", fail)
    assert told("failed", model="up").status >= 500
    assert told("unsent", model="nobody").status == 502
    assert told("unpaid", max_tokens=5000).error["code"] == "budget_exceeded"
    upstream.on("up", endless_stream(upstream))
    with midway(gateway, SEEN):
        pass
    hold(upstream)
    with gateway.raw() as connection:
        body = SHORT | {"model": "up"}
        connection.send(request(SEEN.secret, body))
        upstream.wait_for(3)
    assert told("wrong", n="many").status == 400
    assert gateway.send(b"{", SEEN.secret, {"x-request-id": "broken"}).status == 400
    assert told("limited").error["code"] == "rate_limit_exceeded"
    assert told("unknown", model="nothing").status in (404, 429)
    gateway.send(SHORT, "hg-nobody-0123456789abcdef", {"x-request-id": "stranger"})

    records = books.wait_for_records("seen", 11)
    by_id = {record["request_id"]: record for record in records}
    assert len(by_id) == 11
    assert "stranger" not in by_id
    assert all(record["key"] == "seen" and record["tenant"] == "seen" for record in records)
    facts = {
        name: (record["status"], record["error"], record["prompt_tokens"], record["cost"])
        for name, record in by_id.items()
    }
    assert facts["whole"] == facts["streamed"] == (200, None, 10, 20 * TOKEN)
    assert facts["failed"][0] >= 500
    assert facts["unsent"][:2] == (502, "upstream_unreachable")
    assert facts["unpaid"][:2] == (429, "budget_exceeded")
    assert facts["limited"][:2] == (429, "rate_limit_exceeded")
    assert facts["wrong"][0] == facts["broken"][0] == 400
    assert all(not facts[name][3] for name in ("failed", "unsent", "unpaid", "limited", "wrong"))
    left = [record for record in records if record["status"] == 499]
    assert len(left) == 2
    [broken_off] = [record for record in left if record["first_byte_ms"] is not None]
    assert broken_off["completion_tokens"] >= 5
    assert broken_off["estimated"] is True
    assert broken_off["cost"] == (10 + broken_off["completion_tokens"]) * TOKEN
    # And the key sees just that.
    rows = usage(gateway, SEEN)["models"]
    assert sum(row["requests"] for row in rows) == 11
    assert sum(row["errors"] for row in rows) == 9
    assert sum(nano(row["cost_usd"]) for row in rows) == spent_of(records)


def test_a_key_sees_its_own_only(gateways: list[Gateway], books: Books) -> None:
    shoot(gateways, MINE.secret, SHORT, 3)
    shoot(gateways, MINE.secret, SHORT | {"model": "other"}, 2)
    shoot(gateways, YOURS.secret, SHORT, 4)
    books.wait_for_records("house", 9)
    for gateway in gateways:
        mine = usage(gateway, MINE)
        assert (mine["key"], mine["tenant"], mine["budgets"]) == ("mine", "house", [])
        assert [(row["model"], row["requests"]) for row in mine["models"]] == [
            ("other", 2),
            ("sim", 3),
        ]
        assert mine["models"][1] == {
            "model": "sim",
            "requests": 3,
            "errors": 0,
            "prompt_tokens": 30,
            "completion_tokens": 30,
            "cached_tokens": 0,
            "cache_write_tokens": 0,
            "reasoning_tokens": 0,
            "cost_usd": "0.06",
            "saved_usd": "0",
        }
        assert [row["requests"] for row in usage(gateway, YOURS)["models"]] == [4]
        assert usage(gateway, ELSE)["models"] == []
    assert gateways[0].get("/v1/usage", None).status == 401
    assert gateways[0].get("/v1/usage?since=soon", MINE.secret).status == 400


def test_nothing_is_lost_in_a_crowd(gateways: list[Gateway], books: Books) -> None:
    answers = shoot(gateways, CROWD.secret, SHORT, 600)
    records = books.wait_for_records("crowd", 600)
    assert {record["request_id"] for record in records} == {
        answer.headers["x-request-id"] for answer in answers
    }
    served = sum(answer.status == 200 for answer in answers)
    assert spent_of(records) == served * 20 * TOKEN
    [row] = usage(gateways[0], CROWD)["models"]
    assert (row["requests"], row["errors"]) == (600, 600 - served)
    assert nano(row["cost_usd"]) == served * 20 * TOKEN


# At the end.


def test_what_was_not_yet_written_is_written_at_sigterm(
    server: RedisServer, upstream: Upstream, books: Books
) -> None:
    gate = hold(upstream)
    with fleet(PLANS, server.port, 1, upstream) as [gateway]:
        volley = Volley([gateway], LATE.secret, SHORT | {"model": "up"}, 5)
        upstream.wait_for(5)
        shoot([gateway], LATE.secret, SHORT, 5)
        gateway.signal(signal.SIGTERM)
        gate.open()
        volley.finish()
        gateway.wait_for_exit()
        assert len(books.records("late")) == 10
        assert [record["status"] for record in books.records("late")] == [200] * 10


def test_money_of_a_stopped_replica_is_settled(
    server: RedisServer, upstream: Upstream, books: Books
) -> None:
    gate = hold(upstream)
    with fleet(PLANS, server.port, 1, upstream) as [gateway]:
        volley = Volley([gateway], LAST.secret, SHORT | {"model": "up"}, 5)
        upstream.wait_for(5)
        gateway.signal(signal.SIGTERM)
        gate.open()
        volley.finish()
        gateway.wait_for_exit()
        assert books.account("last", "key:last") == (5 * 13 * TOKEN, 0)
        assert spent_of(books.records("last")) == 5 * 13 * TOKEN


# headgate usage.


@pytest.fixture(scope="module")
def counted(server: RedisServer, books: Books) -> Iterator[Path]:
    """A configuration whose store holds a known use: now, three hours ago and three days ago."""
    plans = Plans()
    firm = plans.tenant("firm-a")
    a = plans.caller("a", tenant=firm)
    b = plans.caller("b", tenant=firm)
    c = plans.caller("c", tenant=plans.tenant("firm-b"))
    with fleet(plans, server.port, 1) as [gateway]:
        shoot([gateway], a.secret, SHORT, 3)
        shoot([gateway], a.secret, SHORT | {"model": "other"}, 2)
        shoot([gateway], b.secret, SHORT, 4)
        shoot([gateway], c.secret, SHORT, 5)
        books.wait_for_records("firm-a", 9)
        books.wait_for_records("firm-b", 5)
        for hours, requests in ((3, 100), (72, 1000)):
            then = time.gmtime(time.time() - hours * 3600)
            for period in ("%Y-%m-%dT%H", "%Y-%m-%d"):
                counters = f"hg1:{{firm-a}}:usage:{time.strftime(period, then)}"
                books.redis.hincrby(counters, "b|sim|requests", requests)
        yield gateway.file


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--since", "1h"], {("firm-a", "a", "sim"): 3, ("firm-a", "a", "other"): 2,
                             ("firm-a", "b", "sim"): 4, ("firm-b", "c", "sim"): 5}),
        (["--since", "1h", "--tenant", "firm-b"], {("firm-b", "c", "sim"): 5}),
        (["--since", "1h", "--key", "a"], {("firm-a", "a", "sim"): 3, ("firm-a", "a", "other"): 2}),
        (["--since", "1h", "--model", "other"], {("firm-a", "a", "other"): 2}),
        (["--since", "1h", "--key", "a", "--model", "sim"], {("firm-a", "a", "sim"): 3}),
        (["--key", "b"], {("firm-a", "b", "sim"): 104}),
        (["--key", "b", "--since", "6d"], {("firm-a", "b", "sim"): 1104}),
        (["--key", "b", "--since", "30d"], {("firm-a", "b", "sim"): 1104}),
    ],
    ids=lambda value: "-".join(value).replace("--", "") if isinstance(value, list) else "",
)  # fmt: skip
def test_the_table(
    counted: Path, args: list[str], expected: dict[tuple[str, str, str], int]
) -> None:
    done = command("usage", "--config", str(counted), *args)
    assert done.returncode == 0, done.stderr
    head, *lines, total = [re.split(r"\s{2,}", line) for line in done.stdout.splitlines()]
    assert head[:5] == ["tenant", "key", "model", "requests", "errors"]
    rows = {(row[0], row[1], row[2]): int(row[3].replace(",", "")) for row in lines}
    assert rows == expected
    assert total[0] == "total"
    assert int(total[1].replace(",", "")) == sum(expected.values())


def test_the_table_says_what_it_cost(counted: Path) -> None:
    done = command("usage", "--config", str(counted), "--since", "1h", "--tenant", "firm-b")
    row = re.split(r"\s{2,}", done.stdout.splitlines()[1])
    assert row == ["firm-b", "c", "sim", "5", "0", "50", "50", "0.1", "0"]


@pytest.mark.parametrize("args", [["--tenant", "nobody"], ["--key", "nobody"], ["--since", "soon"]])
def test_a_wrong_option_is_said(counted: Path, args: list[str]) -> None:
    done = command("usage", "--config", str(counted), *args)
    assert done.returncode == 1
    assert args[0] in done.stderr
    assert "Traceback" not in done.stderr


def test_a_store_that_is_gone_is_said(tmp_path: Path) -> None:
    plans = Plans()
    plans.caller("anyone")
    with RedisServer.start() as own, fleet(plans, own.port, 1) as [gateway]:
        own.kill()
        done = command("usage", "--config", str(gateway.file))
        assert done.returncode == 1
        assert "store" in done.stderr
        assert "Traceback" not in done.stderr


# Helpers of this file.


def usage(gateway: Gateway, caller: Caller) -> Any:
    reply = gateway.get("/v1/usage", caller.secret)
    assert reply.status == 200
    return reply.document


def nano(dollars: str) -> int:
    whole, _, rest = dollars.partition(".")
    return int(whole) * DOLLAR + int(rest.ljust(9, "0"))
