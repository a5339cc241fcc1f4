"""What is configured for an outage of the store happens, and the log says why it is out."""

from __future__ import annotations

from tests.e2e.limits.books import Books, spent_of
from tests.e2e.limits.crowd import shoot, tally
from tests.e2e.limits.fleet import SHORT, Plans, fleet
from tests.e2e.limits.test_outages import LIMITED, NO_STORE, all_ready, outages
from tests.harness.configuration import TOKEN
from tests.harness.redis_server import RedisServer
from tests.harness.waiting import eventually

PLANS = Plans()
OPEN = PLANS.caller("open", {"requests_per_minute": 1, "request_burst": 2})
OPEN_PAYING = PLANS.caller("open-paying", budget={"usd": 1000})
UNLIMITED = PLANS.caller("unlimited")


def test_allow_lets_everything_pass_and_charges_it_afterwards() -> None:
    with (
        RedisServer.start() as own,
        fleet(PLANS, own.port, 1, on_outage={"limits": "allow", "budgets": "allow"}) as [gateway],
    ):
        assert tally(shoot([gateway], OPEN_PAYING.secret, SHORT, 2)) == {"200": 2}
        own.pause()
        assert tally(shoot([gateway], OPEN.secret, SHORT, 20)) == {"200": 20}
        assert tally(shoot([gateway], OPEN_PAYING.secret, SHORT, 20)) == {"200": 20}
        own.resume()
        all_ready([gateway])
        with Books(own.port) as books:
            records = books.wait_for_records("open-paying", 22)
            assert spent_of(records) == 22 * 20 * TOKEN
            eventually(
                lambda: books.account("open-paying", "key:open-paying").spent, 22 * 20 * TOKEN
            )
        assert tally(shoot([gateway], OPEN.secret, SHORT, 10)) == {"200": 2, LIMITED: 8}


def test_refuse_refuses_whoever_has_limits() -> None:
    with (
        RedisServer.start() as own,
        fleet(PLANS, own.port, 1, on_outage={"limits": "refuse", "budgets": "refuse"}) as [gateway],
    ):
        own.kill()
        answers = shoot([gateway], OPEN.secret, SHORT, 10)
        assert tally(answers) == {NO_STORE: 10}
        assert all(int(a.headers["retry-after-ms"]) > 0 for a in answers)
        assert tally(shoot([gateway], UNLIMITED.secret, SHORT, 10)) == {"200": 10}
        own.restart()
        all_ready([gateway])
        assert tally(shoot([gateway], OPEN.secret, SHORT, 10)) == {"200": 2, LIMITED: 8}


def test_an_optional_store_may_be_gone_from_the_start() -> None:
    with RedisServer.start() as own:
        own.kill()
        with fleet(PLANS, own.port, 1, optional=True) as [gateway]:
            assert tally(shoot([gateway], UNLIMITED.secret, SHORT, 5)) == {"200": 5}
            assert tally(shoot([gateway], OPEN.secret, SHORT, 5)) == {"200": 2, LIMITED: 3}
            health = gateway.get("/health/ready", None)
            assert health.status == 200
            assert health.document["store"] == "refused"
            own.restart()
            eventually(lambda: gateway.get("/health/ready", None).document["store"], "ok")
            assert tally(shoot([gateway], OPEN.secret, SHORT, 5)) == {"200": 2, LIMITED: 3}
            assert gateway.send(SHORT, OPEN_PAYING.secret).status == 200


def test_the_log_says_why_the_store_is_out_and_where_it_is() -> None:
    # Somebody sets a password, and then ends everybody's connections.
    with RedisServer.start() as own, fleet(PLANS, own.port, 1) as [gateway]:
        with Books(own.port) as books:
            books.redis.config_set("requirepass", "sesame")
            books.redis.client_kill_filter(_type="normal", skipme=True)
            eventually(lambda: [line["reason"] for line in outages(gateway)][-1:], ["auth"])
            books.redis.config_set("requirepass", "")
        all_ready([gateway])
        first, second = outages(gateway)
        eventually(lambda: any('"store_back"' in line for line in gateway.output), True)
    where = f"127.0.0.1:{own.port}"
    assert (first["event"], first["reason"]) == ("store_out", "unreachable")
    assert first["detail"] == f"{where}: the connection was closed"
    assert first["loop_lag_ms"] >= 0
    assert (second["event"], second["reason"]) == ("store_still_out", "auth")
    assert second["detail"].startswith(f"{where}: the server does not accept")
