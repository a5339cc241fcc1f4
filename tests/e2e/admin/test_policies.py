"""Tenants, limits and budgets made at run time; what was spent, granted and forgotten."""

from __future__ import annotations

from typing import Any

from tests.e2e.admin.operators import Operator, code
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually

# A token costs a thousandth of a dollar; such a call is held at 20 and settled at less.
CALL: dict[str, Any] = {"model": "sim", "prompt": "one two three", "max_tokens": 10}


def put(ops: Operator, path: str, **spec: Any) -> Any:
    answer = ops.ask("PUT", path, spec)
    assert answer.status_code in (200, 201), answer.text
    return answer.json()


def status(gateway: Gateway, secret: str) -> int:
    return gateway.complete(secret, **CALL).status


def test_limits_hold_for_those_that_name_them_from_the_next_second_on(
    operated: Gateway, ops: Operator, name: str
) -> None:
    put(ops, f"/limits/{name}", requests_per_minute=100_000)
    secret = put(ops, f"/keys/{name}", tenant="acme", limits=name)["secret"]
    assert status(operated, secret) == 200
    put(ops, f"/limits/{name}", requests_per_minute=1)
    eventually(lambda: {status(operated, secret) for _ in range(6)}, {429}, within=3)
    put(ops, f"/limits/{name}", requests_per_minute=100_000)
    eventually(lambda: {status(operated, secret) for _ in range(6)}, {200}, within=3)


def test_a_tenant_made_at_run_time_bears_on_its_keys(
    operated: Gateway, ops: Operator, name: str
) -> None:
    put(ops, f"/budgets/{name}", usd=0.001, per="day")
    put(ops, f"/tenants/{name}", budget=name)
    secret = put(ops, f"/keys/{name}", tenant=name)["secret"]
    refused = operated.complete(secret, **CALL)
    assert (refused.status, refused.error["code"]) == (429, "budget_exceeded")
    put(ops, f"/tenants/{name}")
    eventually(lambda: {status(operated, secret) for _ in range(6)}, {200}, within=1.5)


def test_what_is_named_is_not_deleted(ops: Operator, name: str) -> None:
    put(ops, f"/limits/{name}", concurrent=5)
    put(ops, f"/budgets/{name}", usd=5, per="day")
    put(ops, f"/tenants/{name}", limits=name, models={"sim": {"budget": name}})
    put(ops, f"/keys/{name}", tenant=name)
    for path in ("limits", "budgets", "tenants"):
        answer = ops.ask("DELETE", f"/{path}/{name}")
        assert code(answer) == (409, "in_use")
        assert name in answer.json()["error"]["message"]
    for path in ("keys", "tenants", "limits", "budgets"):
        assert ops.ask("DELETE", f"/{path}/{name}").status_code == 200


def test_their_problems_are_named(ops: Operator, name: str) -> None:
    for path, spec, params in [
        ("/limits", {"concurrent": 0, "speed": 1}, {"concurrent", "speed"}),
        ("/budgets", {"usd": -1, "per": "year"}, {"usd", "per"}),
        ("/budgets", {}, {"usd", "per"}),
        ("/tenants", {"limits": "none", "models": {"nobody": {}}}, {"limits", "models.nobody"}),
    ]:
        answer = ops.ask("POST", path, {"id": name} | spec)
        assert code(answer) == (400, "invalid_request"), answer.text
        assert {one["param"] for one in answer.json()["error"]["details"]} == params


def account(ops: Operator, scope: str) -> dict[str, str]:
    return ops.get(f"/budgets/{scope}/account")


def spending(gateway: Gateway, ops: Operator, name: str, usd: float) -> str:
    """The secret of a key with a budget of its own that has made one call."""
    put(ops, f"/budgets/{name}", usd=usd, per="month")
    secret: str = put(ops, f"/keys/{name}", tenant="acme", budget=name)["secret"]
    assert status(gateway, secret) == 200
    return secret


def test_a_grant_is_for_this_window_and_once(operated: Gateway, ops: Operator, name: str) -> None:
    secret = spending(operated, ops, name, 0.04)
    eventually(lambda: status(operated, secret), 429)
    before = account(ops, f"key:{name}")
    granted = [
        ops.ask("POST", f"/budgets/key:{name}/grant", {"usd": 1}, idempotency_key=f"grant-{name}")
        for _ in range(3)
    ]
    assert {answer.status_code for answer in granted} == {200}
    after = account(ops, f"key:{name}")
    assert (before["granted_usd"], after["granted_usd"], after["limit_usd"]) == ("0", "1", "0.04")
    assert float(after["left_usd"]) > 0.9
    assert status(operated, secret) == 200
    assert operated.get("/v1/usage", secret).document["budgets"][0]["granted_usd"] == "1"
    other = ops.ask(
        "POST", f"/budgets/key:{name}/grant", {"usd": 2}, idempotency_key=f"grant-{name}"
    )
    assert code(other) == (422, "idempotency_key_reused")


def test_a_reset_begins_anew_and_the_usage_stays(
    operated: Gateway, ops: Operator, name: str
) -> None:
    secret = spending(operated, ops, name, 0.04)
    eventually(lambda: status(operated, secret), 429)
    used = operated.get("/v1/usage", secret).document["models"][0]["cost_usd"]
    assert account(ops, f"key:{name}")["spent_usd"] == used
    reset = ops.ask("POST", f"/budgets/key:{name}/reset").json()
    assert reset["spent_usd"] == "0"
    assert operated.get("/v1/usage", secret).document["models"][0]["cost_usd"] == used
    assert status(operated, secret) == 200
    actions = [
        one for one in ops.get("/audit?limit=20")["data"] if one["object_id"] == f"key:{name}"
    ]
    assert [(one["action"], one["spent_usd"]) for one in actions] == [("budget.reset", used)]


def test_a_budget_below_what_is_spent_is_allowed_with_a_warning(
    operated: Gateway, ops: Operator, name: str
) -> None:
    secret = spending(operated, ops, name, 1)
    eventually(lambda: float(account(ops, f"key:{name}")["spent_usd"]) > 0)
    [warning] = put(ops, f"/budgets/{name}", usd=0.001, per="month")["warnings"]
    assert warning.startswith(f"key:{name} of 'acme' has spent $0.0")
    eventually(lambda: {status(operated, secret) for _ in range(4)}, {429}, within=1.5)
    [warning] = ops.ask("PATCH", f"/keys/{name}", {"models": ["sim"]}).json()["warnings"]
    assert "refused until" in warning


def test_scopes_that_are_none_are_told(ops: Operator, tenant_ops: Operator, name: str) -> None:
    put(ops, f"/keys/{name}", tenant="acme")
    for scope in (f"key:{name}", "key:nobody", "tenant:acme", "tenant:x", "model:acme:sim", "x"):
        assert code(ops.ask("GET", f"/budgets/{scope}/account")) == (404, "not_found")
    put(ops, f"/budgets/{name}", usd=5, per="day")
    put(ops, f"/keys/{name}", tenant="acme", budget=name)
    for usd in (0, -1, "1", None, True, 1e9):
        answer = ops.ask("POST", f"/budgets/key:{name}/grant", {"usd": usd})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "usd")
    path = f"/budgets/key:{name}/grant"
    assert code(tenant_ops.ask("POST", path, {"usd": 1})) == (404, "not_found")


def test_a_purge_takes_effect_and_is_recorded(operated: Gateway, ops: Operator, name: str) -> None:
    answer = ops.ask("POST", "/cache/purge", {"tenant": "acme", "namespace": name})
    assert answer.json() == {"object": "purge", "tenant": "acme", "model": None, "namespace": name}
    [record] = [one for one in ops.get("/audit")["data"] if one.get("namespace") == name]
    assert (record["action"], record["tenant"]) == ("cache.purge", "acme")
    wrong = ops.ask("POST", "/cache/purge", {"tenant": "x", "model": "y", "key": 1})
    assert {one["param"] for one in wrong.json()["error"]["details"]} == {"tenant", "model", "key"}
