"""Whose an object is, who may change it, and what becomes of two who change it at once."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from tests.e2e.admin.operators import CALLER, OPS, Operator, code, configuration, operators
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually


def make(ops: Operator, name: str, **spec: Any) -> Any:
    answer = ops.ask("POST", "/keys", {"id": name, "tenant": "acme", **spec})
    assert answer.status_code == 201, answer.text
    return answer


# The file wins.


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "/keys/filed", {"tenant": "acme"}),
        ("PATCH", "/keys/filed", {"limits": None}),
        ("DELETE", "/keys/filed", None),
        ("POST", "/keys", {"id": "filed", "tenant": "acme"}),
        ("POST", "/keys/filed/block", None),
        ("POST", "/keys/filed/rotate", None),
        ("PUT", "/tenants/acme", {}),
        ("PATCH", "/limits/slow", {"concurrent": 1}),
        ("DELETE", "/budgets/small", None),
    ],
)
def test_what_the_file_declares_is_changed_there(
    operated: Gateway, ops: Operator, method: str, path: str, body: Any
) -> None:
    answer = ops.ask(method, path, body)
    assert code(answer) == (409, "managed_by_file")
    assert f"{operated.file}:1" in answer.json()["error"]["message"]  # the tests' file has one line


def test_what_the_file_declares_is_shown_with_its_line(operated: Gateway, ops: Operator) -> None:
    shown = ops.get("/keys/filed")
    assert (shown["source"], shown["line"]) == ("file", f"{operated.file}:1")
    assert shown["shadowed"] is False
    assert "secret" not in shown
    assert ops.get("/limits/slow")["requests_per_minute"] == 2


def test_a_file_that_names_a_stored_key_hides_it(ops: Operator, name: str) -> None:
    """Nothing is deleted: without the file's entry it is there again."""
    settings = configuration("memory://")
    with Gateway(settings, [OPS, CALLER]) as gateway, operators(gateway, OPS) as [own]:
        secret = make(own, name).json()["secret"]
        assert gateway.complete(secret, model="sim").status == 200
        filed = "hg-filed-too-0123456789abcdef"
        entry = {"id": name, "tenant": "globex", "secret": filed}
        gateway.write(settings | {"keys": [*settings["keys"], entry]})
        gateway.signal(1)
        gateway.wait_for_error("reload: configuration")
        eventually(lambda: gateway.complete(filed, model="sim").status, 200)
        assert gateway.complete(secret, model="sim").status == 401
        both = [key for key in own.get("/keys")["data"] if key["id"] == name]
        assert [(one["source"], one["shadowed"]) for one in both] == [
            ("file", False),
            ("api", True),
        ]
        assert own.get(f"/keys/{name}?source=api")["shadowed"] is True
        gateway.write(settings)
        gateway.signal(1)
        eventually(lambda: gateway.complete(secret, model="sim").status, 200)


# Two operators.


def test_of_two_operators_the_second_is_told(ops: Operator, reader: Operator, name: str) -> None:
    tag = make(ops, name).headers["etag"]
    assert ops.ask("GET", f"/keys/{name}").headers["etag"] == tag
    first = ops.ask("PATCH", f"/keys/{name}", {"models": ["sim"]}, if_match=tag)
    second = ops.ask("PATCH", f"/keys/{name}", {"models": ["other"]}, if_match=tag)
    assert first.status_code == 200
    assert code(second) == (412, "precondition_failed")
    assert second.headers["etag"] == first.headers["etag"] != tag
    assert ops.get(f"/keys/{name}")["models"] == ["sim"]
    assert code(ops.ask("DELETE", f"/keys/{name}", if_match=tag)) == (412, "precondition_failed")


def test_of_many_at_once_one_wins(operated: Gateway, ops: Operator, name: str) -> None:
    tag = make(ops, name).headers["etag"]
    statuses: list[int] = []

    def change(number: int) -> None:
        with operators(operated, OPS) as [own]:
            body = {"max_output_tokens": number}
            statuses.append(own.ask("PATCH", f"/keys/{name}", body, if_match=tag).status_code)

    threads = [threading.Thread(target=change, args=(number,)) for number in range(1, 9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [200, *[412] * 7]


def test_without_a_revision_no_change_is_lost(operated: Gateway, ops: Operator, name: str) -> None:
    make(ops, name)
    members: list[dict[str, Any]] = [
        {"models": ["sim"]},
        {"limits": "slow"},
        {"max_output_tokens": 9},
        {"portkey": True},
    ]

    def change(body: dict[str, Any]) -> None:
        with operators(operated, OPS) as [own]:
            assert own.ask("PATCH", f"/keys/{name}", body).status_code == 200

    threads = [threading.Thread(target=change, args=(body,)) for body in members]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    shown = ops.get(f"/keys/{name}")
    assert all(shown[member] == value for body in members for member, value in body.items())


def test_only_a_new_one_where_that_is_asked(ops: Operator, name: str) -> None:
    created = ops.ask("PUT", f"/keys/{name}", {"tenant": "acme"}, if_none_match="*")
    again = ops.ask("PUT", f"/keys/{name}", {"tenant": "acme"}, if_none_match="*")
    assert created.status_code == 201
    assert code(again) == (412, "precondition_failed")
    gone = ops.ask("PUT", f"/keys/{name}-2", {"tenant": "acme"}, if_match="*")
    assert code(gone) == (412, "precondition_failed")


# Repetitions.


def test_a_repetition_makes_nothing_new_and_shows_no_secret(ops: Operator, name: str) -> None:
    body = {"id": name, "tenant": "acme"}
    first = ops.ask("POST", "/keys", body, idempotency_key=f"make-{name}")
    again = ops.ask("POST", "/keys", body, idempotency_key=f"make-{name}")
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.headers["idempotency-replayed"] == "true"
    assert again.headers["etag"] == first.headers["etag"]
    assert again.json()["secret"] is None
    assert f"/keys/{name}/rotate" in again.json()["message"]
    expected = {name: value for name, value in first.json().items() if name != "secret"}
    assert expected.items() <= again.json().items()


def test_a_repetition_of_a_rotation_rotates_once(ops: Operator, name: str) -> None:
    make(ops, name)
    tags = [
        ops.ask("POST", f"/keys/{name}/rotate", idempotency_key=f"rotate-{name}").headers["etag"]
        for _ in range(3)
    ]
    assert len(set(tags)) == 1


def test_an_idempotency_key_stands_for_one_request(ops: Operator, name: str) -> None:
    ops.ask("POST", "/keys", {"id": name, "tenant": "acme"}, idempotency_key=name)
    other = ops.ask("POST", "/keys", {"id": f"{name}-2", "tenant": "acme"}, idempotency_key=name)
    assert code(other) == (422, "idempotency_key_reused")
    assert ops.ask("GET", f"/keys/{name}-2").status_code == 404
    assert code(ops.ask("POST", "/keys", {"id": "x"}, idempotency_key="k" * 300))[0] == 400


# Scopes.


def test_a_reader_changes_nothing(reader: Operator, ops: Operator, name: str) -> None:
    make(ops, name)
    assert reader.get(f"/keys/{name}")["id"] == name
    for method, path in [
        ("POST", "/keys"),
        ("PUT", f"/keys/{name}"),
        ("PATCH", f"/keys/{name}"),
        ("DELETE", f"/keys/{name}"),
        ("POST", f"/keys/{name}/rotate"),
        ("POST", f"/keys/{name}/block"),
        ("GET", "/tenants"),
        ("GET", "/budgets"),
        ("POST", "/cache/purge"),
    ]:
        assert code(reader.ask(method, path, {})) == (403, "scope_required"), path


def test_one_tenants_operator_sees_and_changes_that_tenants_keys_only(
    ops: Operator, tenant_ops: Operator, name: str
) -> None:
    make(ops, name)
    own = tenant_ops.ask("POST", "/keys", {"id": f"{name}-own", "tenant": "globex"})
    assert own.status_code == 201
    assert {key["tenant"] for key in tenant_ops.get("/keys?limit=200")["data"]} == {"globex"}
    for method, path in [
        ("GET", f"/keys/{name}"),
        ("PATCH", f"/keys/{name}"),
        ("DELETE", f"/keys/{name}"),
        ("POST", f"/keys/{name}/rotate"),
        ("POST", f"/keys/{name}/block"),
        ("GET", "/keys/filed"),
        ("GET", "/keys?tenant=acme"),
        ("GET", "/tenants/acme"),
    ]:
        body = {} if method == "PATCH" else None
        assert code(tenant_ops.ask(method, path, body)) == (404, "not_found"), path


def test_an_id_of_another_tenant_is_taken(ops: Operator, tenant_ops: Operator, name: str) -> None:
    make(ops, name)
    answer = tenant_ops.ask("POST", "/keys", {"id": name, "tenant": "globex"})
    assert code(answer) == (409, "already_exists")


def test_nobody_grants_beyond_itself(tenant_ops: Operator, name: str) -> None:
    tenant_ops.ask("POST", "/keys", {"id": name, "tenant": "globex"})
    for method, path, body in [
        ("POST", "/keys", {"id": f"{name}-2", "tenant": "acme"}),
        ("PATCH", f"/keys/{name}", {"tenant": "acme"}),
        ("PUT", f"/keys/{name}", {"tenant": "acme"}),
        ("POST", "/tenants", {"id": f"{name}-tenant"}),
        ("POST", "/budgets", {"id": f"{name}-budget", "usd": 1000, "per": "day"}),
    ]:
        assert code(tenant_ops.ask(method, path, body)) == (403, "tenant_required"), path


# The record.


def test_every_change_says_who_did_what(ops: Operator, reader: Operator, name: str) -> None:
    made = make(ops, name, models=["sim"])
    changed = ops.ask("PATCH", f"/keys/{name}", {"models": ["other"]})
    ops.ask("POST", f"/keys/{name}/rotate", {"grace": 0})
    ops.ask("DELETE", f"/keys/{name}")
    records = [one for one in reader.get("/audit?limit=200")["data"] if one["object_id"] == name]
    assert [one["action"] for one in records] == [
        "key.delete",
        "key.rotate",
        "key.update",
        "key.create",
    ]
    assert {one["actor"] for one in records} == {"ops"}
    assert {one["address"] for one in records} == {"127.0.0.1"}
    assert records[2]["changes"] == {"models": [["sim"], ["other"]]}
    assert records[2]["request_id"] == changed.headers["x-request-id"]
    assert [one["generation"] for one in records[2:]] == [
        int(answer.headers["etag"].strip('"')) for answer in (changed, made)
    ]
    assert made.json()["secret"] not in str(records)


def test_the_record_comes_in_pages(ops: Operator, name: str) -> None:
    for number in range(5):
        make(ops, f"{name}-{number}")
    seen: list[str] = []
    cursor = ""
    while cursor is not None and len(seen) < 6:
        page = ops.get(f"/audit?limit=2&cursor={cursor}")
        seen += [one["object_id"] for one in page["data"] if one["object_id"].startswith(name)]
        cursor = page["next_cursor"]
    assert seen == [f"{name}-{number}" for number in (4, 3, 2, 1, 0)]
    assert code(ops.ask("GET", "/audit?cursor=x")) == (400, "invalid_request")
