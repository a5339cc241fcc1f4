"""What operators read: the same sums wherever one looks, and each tenant's for who sees only that."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.routes.reports.requests import MOST_TAILS
from tests.e2e.admin.operators import CALLER, OPS, code, operator
from tests.e2e.dashboard.visitor import HOSTILE, Visitor, visitor, watched
from tests.harness.command import command
from tests.harness.configuration import PRICE, target
from tests.harness.gateway import Gateway
from tests.harness.metrics import parsed
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

OTHER = "hg-other-0123456789abcdef"  # a key of the other tenant
GLOBEX = "hg-globex-reader-0123456789abcdef"


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    """Two workers, after 33 calls of two tenants over four models, of which three failed."""
    with RedisServer.start() as server:
        made = watched(server.url, workers=2)
        made["store"]["timeout"] = "2s"  # a busy machine is no outage
        nowhere = {"kind": "openai", "base_url": "http://127.0.0.1:1/v1", "api_key": "none"}
        made["providers"]["nowhere"] = nowhere
        made["models"]["broken"] = target("nowhere", "gone", price=PRICE)
        verify = {"tier1": 1, "tier1b": 1, "control": 0, "usd_per_day": 100}
        semantic = {"enabled": True, "verify": verify}
        made["models"]["meant"] = target(
            "sim", "simulator-1", price=PRICE, cache={"semantic": semantic}
        )
        made["keys"].append({"id": "other", "tenant": "globex", "secret": OTHER, "budget": "small"})
        made["admin"]["keys"].append(
            operator("globex-reader", GLOBEX, "usage:read", "config:read", tenants=["globex"])
        )
        with Gateway(made, [OPS, CALLER, OTHER, GLOBEX]) as gateway:
            for number in range(10):
                fields: dict[str, Any] = {"prompt": f"p{number % 4}", "max_tokens": 5}
                fields |= {"temperature": 0}
                assert gateway.complete(CALLER, model="sim", **fields).status == 200
                assert gateway.complete(CALLER, model=HOSTILE, **fields).status == 200
                assert gateway.complete(OTHER, model="other", **fields).status == 200
            assert gateway.complete(CALLER, model="nothing").status == 404
            assert gateway.complete(CALLER, model="broken").status == 502
            assert gateway.complete("hg-wrong", model="sim").status == 401
            yield gateway


@pytest.fixture(scope="module")
def ops(served: Gateway) -> Iterator[Visitor]:
    with visitor(served, key=OPS) as one:
        eventually(lambda: one.get("/usage?since=24h")["totals"]["requests"], 32)
        eventually(lambda: one.get("/errors")["total"], 3)
        yield one


@pytest.fixture(scope="module")
def globex(served: Gateway, ops: Visitor) -> Iterator[Visitor]:
    with visitor(served, key=GLOBEX) as one:
        yield one


def dollars(documents: list[Any], name: str = "cost_usd") -> Decimal:
    return sum((Decimal(one[name]) for one in documents), Decimal(0))


def test_every_sum_is_the_same_wherever_one_looks(served: Gateway, ops: Visitor) -> None:
    usage = ops.get("/usage?since=24h")
    total = Decimal(usage["totals"]["cost_usd"])
    assert total > 0
    assert dollars(usage["rows"]) == total
    assert dollars(usage["series"]) == total
    # What the callers see of themselves.
    own = [json.loads(served.get("/v1/usage", key).body) for key in (CALLER, OTHER)]
    assert sum(dollars(one["models"]) for one in own) == total
    # What the command says, to the last digit.
    said = command("usage", "--config", str(served.file), "--since", "24h").stdout.splitlines()[-1]
    requests, *_, cost, saved = said.split()[1:]
    assert (requests, Decimal(cost)) == ("32", total)
    assert (
        Decimal(saved)
        == Decimal(usage["totals"]["saved_usd"])
        == dollars(usage["rows"], "saved_usd")
    )
    # What is scraped, whose dollars are floats: to the micro-dollar.
    series = parsed(ops.ask("GET", "/metrics").text)
    for name, amount in (("cost", total), ("saved", Decimal(saved))):
        scraped = sum(v for (n, _), v in series.items() if n == f"headgate_{name}_usd_total")
        assert abs(Decimal(scraped) - amount) < Decimal("0.000001")
    # And what was charged: every call of acme is on the tenant's budget.
    budgets = ops.get("/accounts?tenant=acme")["data"]
    house = next(one for one in budgets if one["key"] is None)["budget"]
    assert Decimal(house["spent_usd"]) == dollars(
        [r for r in usage["rows"] if r["tenant"] == "acme"]
    )
    # A longer span has the same calls in it; days and hours agree.
    assert ops.get("/usage?since=6d")["totals"] == usage["totals"]
    assert ops.get("/usage?since=31d")["totals"] == usage["totals"]


def test_a_list_that_is_cut_says_what_the_rest_is(ops: Visitor) -> None:
    cut = ops.get("/usage?since=24h&limit=1")
    assert len(cut["rows"]) == 1
    assert dollars([*cut["rows"], cut["others"]]) == Decimal(cut["totals"]["cost_usd"])


def test_failures_are_counted_by_code_model_and_key_and_lead_to_their_records(ops: Visitor) -> None:
    rows = {(one["code"], one["key"]): one["count"] for one in ops.get("/errors")["data"]}
    assert rows == {
        ("model_not_found", "filed"): 1,
        ("invalid_api_key", None): 1,
        ("upstream_unreachable", "filed"): 1,
    }
    records = ops.get("/requests?status=error&code=model_not_found")["data"]
    assert [(one["status"], one["key"]) for one in records] == [(404, "filed")]


def test_the_latest_requests_come_in_pages(ops: Visitor) -> None:
    seen: list[str] = []
    path = "/requests?limit=5"
    while True:
        page = ops.get(path)
        seen += [one["request_id"] for one in page["data"]]
        if page["next_cursor"] is None:
            break
        path = f"/requests?limit=5&cursor={page['next_cursor']}"
    assert len(seen) == len(set(seen)) == 33
    assert "prompt" not in ops.get("/requests")["data"][0]


def test_requests_are_followed_as_they_come(served: Gateway, ops: Visitor) -> None:
    with ops.tail() as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": following"
        served.complete(
            CALLER, {"x-request-id": "followed"}, model="sim", prompt="p0", max_tokens=5
        )
        found = next(line for line in lines if line.startswith("data: "))
    assert "followed" in [one["request_id"] for one in json.loads(found[6:])]


def test_all_workers_are_there_on_one_configuration(ops: Visitor) -> None:
    replicas = ops.get("/replicas")
    assert (len(replicas["data"]), replicas["drift"]) == (2, False)
    assert {one["store"] for one in replicas["data"]} == {"ok"}
    now = ops.get("/activity")
    assert (now["workers"], now["in_flight"], len(now["seconds"])) == (2, 0, 60)
    assert now["first_byte_ms"]["p50"] > 0


def test_upstreams_and_cache_say_how_they_are(ops: Visitor) -> None:
    targets = {one["target"]: one for one in ops.get("/upstreams")["data"]}
    assert targets.keys() >= {"sim/simulator-1", "sim/simulator-2", "nowhere/gone"}
    assert targets["sim/simulator-1"]["state"] == "closed"
    assert sum(targets["nowhere/gone"]["failures"].values()) >= 1

    def looked_up() -> bool:
        results = ops.get("/cache")["results"]
        usage = ops.get("/usage?since=24h&model=sim")["totals"]
        return bool(results["hit"] + results["miss"] == usage["requests"])

    eventually(looked_up)  # both are written in their own time
    assert "sim" in [one["model"] for one in ops.get("/cache")["models"]]


def test_answers_by_meaning_are_counted_apart_and_their_error_has_bounds(
    served: Gateway, ops: Visitor
) -> None:
    fields: dict[str, Any] = {"model": "meant", "max_tokens": 5, "temperature": 0}
    assert served.complete(OTHER, prompt="How does a cook make soup?", **fields).status == 200

    def measured() -> bool:
        served.complete(OTHER, prompt="Please: how does a cook make soup", **fields)
        return bool(ops.get("/cache")["errors"])

    eventually(measured)
    cache = ops.get("/cache?tenant=globex")
    [one] = cache["errors"]
    assert (one["model"], one["tenant"]) == ("meant", "globex")
    assert one["compared"] >= 1
    assert 0 <= one["low"] <= one["error"] <= one["high"] <= 1
    eventually(lambda: ops.get("/cache?tenant=globex")["results"]["semantic_hits"] >= 1)


def test_the_configuration_is_shown_without_a_secret(served: Gateway, ops: Visitor) -> None:
    values = {one["path"]: one for one in ops.get("/config")["values"]}
    assert values["keys[0].id"] == {
        "path": "keys[0].id",
        "value": "filed",
        "source": "file",
        "line": 1,
    }
    assert values["server.send_timeout"]["source"] == "default"
    assert values["keys[0].secret[0]"]["value"] == "********"


def test_what_is_made_at_run_time_has_an_account_too(served: Gateway, ops: Visitor) -> None:
    for number in range(3):
        made = {"id": f"made-{number}", "tenant": "globex", "limits": "plenty"}
        assert ops.ask("POST", "/admin/v1/keys", made).status_code == 201
    found: list[str] = []
    path = "/accounts?limit=2"
    while path:
        page = ops.get(path)
        found += [one["key"] or one["tenant"] for one in page["data"]]
        following = page["next_cursor"]
        path = f"/accounts?limit=2&cursor={following}" if following else ""
    assert found == ["acme", "filed", "made-0", "made-1", "made-2", "other"]
    [one] = ops.get("/accounts?key=made-1")["data"]
    assert [limit["left"] for limit in one["limits"]] == [6000, 50]
    for number in range(3):
        ops.ask("DELETE", f"/admin/v1/keys/made-{number}")


def test_a_key_of_one_tenant_sees_that_tenant(globex: Visitor) -> None:
    usage = globex.get("/usage?since=24h")
    assert {row["tenant"] for row in usage["rows"]} == {"globex"}
    assert usage["totals"]["requests"] >= 10
    assert {one["tenant"] for one in globex.get("/requests")["data"]} == {"globex"}
    assert globex.get("/errors")["total"] == 0
    assert [one["key"] for one in globex.get("/accounts")["data"]] == ["other"]
    assert {one["model"] for one in globex.get("/cache")["models"]} <= {"meant"}
    assert code(globex.ask("GET", "/admin/v1/usage?tenant=acme")) == (404, "not_found")
    for path in ("/activity", "/replicas", "/upstreams", "/config"):
        assert code(globex.ask("GET", f"/admin/v1{path}")) == (403, "scope_required")


@pytest.mark.parametrize(
    ("path", "param"),
    [
        ("/usage?since=tomorrow", "since"),
        ("/usage?since=401d", "since"),
        ("/usage?until=2026-01-01T00:00Z&since=2026-02-01", "since"),
        ("/usage?limit=0", "limit"),
        ("/requests?cursor=x", "cursor"),
        ("/requests?status=bad", "status"),
        ("/accounts?cursor=x", "cursor"),
    ],
)
def test_a_bad_question_is_told_what_is_right(ops: Visitor, path: str, param: str) -> None:
    answer = ops.ask("GET", f"/admin/v1{path}")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)


def test_whoever_stops_following_leaves_a_place_for_others(ops: Visitor) -> None:
    for _ in range(MOST_TAILS + 4):
        with ops.tail() as stream:
            assert next(stream.iter_lines()) == ": following"
