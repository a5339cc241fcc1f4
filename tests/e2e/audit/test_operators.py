"""What operators do over the admin API stands in the audit log, or is not done."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from tests.e2e.admin.operators import CALLER, OPS, READER, TENANT_OPS, Operator, configuration
from tests.e2e.admin.operators import operators as asking
from tests.e2e.audit.logs import Log
from tests.e2e.dashboard.visitor import visitor
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Log:
    return Log(tmp_path_factory.mktemp("audit"))


@pytest.fixture(scope="module")
def gateway(log: Log) -> Iterator[Gateway]:
    settings = configuration("memory://") | {"audit": log.settings()}
    with Gateway(settings, [OPS, READER, TENANT_OPS, CALLER]) as gateway:
        yield gateway


@pytest.fixture
def ops(gateway: Gateway) -> Iterator[Operator]:
    with asking(gateway, OPS) as [ops]:
        yield ops


def test_a_change_is_written_down_with_what_differs(ops: Operator, log: Log) -> None:
    made = ops.ask("POST", "/keys", {"id": "made", "tenant": "acme"})
    assert made.status_code == 201
    assert ops.ask("PATCH", "/keys/made", {"models": ["sim"]}).status_code == 200
    [create] = log.records(act="key.create", target="made")
    assert create["actor"] == {"admin_key": "ops", "address": "127.0.0.1"}
    assert create["tenant"] == "acme"
    [update] = [one for one in log.records(target="made") if one["act"] != "key.create"]
    assert update["changes"]["models"] == [["*"], ["sim"]] or "models" in update["changes"]
    assert made.json()["secret"] not in str(log.records())
    assert log.verify().findings == []


def test_a_blocked_key_that_is_used_is_an_act(ops: Operator, gateway: Gateway, log: Log) -> None:
    secret = ops.ask("POST", "/keys", {"id": "shut", "tenant": "acme"}).json()["secret"]
    assert ops.ask("POST", "/keys/shut/block").status_code == 200
    eventually(lambda: gateway.complete(key=secret, model="sim").status, 401)
    eventually(lambda: len(log.records(act="key.used_while_blocked", target="shut")), 1)


def test_who_signs_in_to_the_dashboard_is_an_act(gateway: Gateway, log: Log) -> None:
    with visitor(gateway) as somebody:
        assert somebody.sign_in(key=READER).status_code == 200
    [act] = log.records(act="dashboard.sign_in")
    assert act["actor"]["admin_key"] == "reader"


def test_who_reads_the_records_stands_in_them(ops: Operator, log: Log) -> None:
    before = len(log.records(act="audit.show"))
    assert ops.get("/audit")["data"]
    assert len(log.records(act="audit.show")) == before + 1


def test_what_cannot_be_written_down_is_not_done(ops: Operator, log: Log) -> None:
    away = log.folder / "away"
    shutil.move(log.log, away)
    log.log.write_text("in the way")
    try:
        refused = ops.ask("POST", "/keys", {"id": "unseen", "tenant": "acme"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "audit_unavailable")
    finally:
        log.log.unlink()
        shutil.move(away, log.log)
    assert ops.ask("GET", "/keys/unseen").status_code == 404
