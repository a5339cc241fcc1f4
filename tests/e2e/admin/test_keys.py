"""Callers' keys made at run time: made, used, changed, rotated, blocked, deleted."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from app.core.keys import digest_of
from tests.e2e.admin.operators import CALLER, Operator, code
from tests.harness.gateway import Gateway
from tests.harness.waiting import eventually


def made(ops: Operator, name: str, **spec: Any) -> dict[str, Any]:
    """A new key of ``acme``, with its secret."""
    answer = ops.ask("POST", "/keys", {"id": name, "tenant": "acme", **spec})
    assert answer.status_code == 201, answer.text
    return answer.json()


def calls(gateway: Gateway, secret: str, **fields: Any) -> int:
    return gateway.complete(secret, **({"model": "sim"} | fields)).status


def codes(gateway: Gateway, secret: str) -> set[str | None]:
    """What several calls, over both workers, are refused with."""
    found = (gateway.complete(secret, model="sim") for _ in range(6))
    return {None if reply.status == 200 else reply.error["code"] for reply in found}


def test_a_new_key_calls_at_once_on_any_worker(operated: Gateway, ops: Operator, name: str) -> None:
    key = made(ops, name)
    assert len(key["secret"]) == len(f"hg-{name}-") + 64  # 256 bits
    assert codes(operated, key["secret"]) == {None}
    shown = ops.ask("GET", f"/keys/{name}")
    assert "secret" not in shown.json()
    assert key["secret"] not in shown.text
    assert key["secret"].startswith(shown.json()["prefix"])
    assert shown.json()["source"] == "api"


def test_its_own_settings_hold(operated: Gateway, ops: Operator, name: str) -> None:
    key = made(ops, name, models=["sim"], capabilities=["completions"], limits="slow")
    assert calls(operated, key["secret"]) == 200
    assert calls(operated, key["secret"], model="other") == 404
    body = b'{"model": "sim", "messages": [{"role": "user", "content": "p"}]}'
    headers = {"content-type": "application/json"}
    chat = operated.ask("POST", "/v1/chat/completions", key["secret"], headers, body)
    assert chat.status == 403
    assert calls(operated, key["secret"]) == 429


def test_when_it_was_used_is_told(operated: Gateway, ops: Operator, name: str) -> None:
    key = made(ops, name)
    assert ops.get(f"/keys/{name}")["last_used"] is None
    assert calls(operated, key["secret"]) == 200
    eventually(lambda: ops.get(f"/keys/{name}")["last_used"] is not None)


def test_every_problem_is_named_at_once(ops: Operator, name: str) -> None:
    spec = {"id": name, "tenant": "nobody", "limits": "none", "capabilities": ["x"], "colour": 1}
    answer = ops.ask("POST", "/keys", spec)
    error = answer.json()["error"]
    assert code(answer) == (400, "invalid_request")
    assert {one["param"] for one in error["details"]} == {"capabilities[0]", "colour"}
    del spec["colour"], spec["capabilities"]
    error = ops.ask("POST", "/keys", spec).json()["error"]
    assert {one["param"] for one in error["details"]} == {"tenant", "limits"}
    assert ops.ask("GET", f"/keys/{name}").status_code == 404


@pytest.mark.parametrize(
    ("spec", "param"),
    [
        ({"secret": "a-secret-of-my-own-choice"}, "secret"),
        ({"secret_file": "/etc/passwd"}, "secret_file"),
        ({"secret_sha256": "abc"}, "secret_sha256"),
        ({"secret_sha256": digest_of("test").hex()}, "secret_sha256"),
        ({"secret_sha256": digest_of(CALLER).hex()}, "secret_sha256"),
        ({"budget": "none"}, "budget"),
        ({"expires": "soon"}, "expires"),
    ],
)
def test_what_is_wrong_is_named(ops: Operator, name: str, spec: Any, param: str) -> None:
    answer = ops.ask("POST", "/keys", {"id": name, "tenant": "acme"} | spec)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, param), answer.text


def test_a_body_that_is_none_is_told_so(ops: Operator, name: str) -> None:
    url = "/admin/v1/keys"
    for body in (b"{", b"[]", b'"x"', b"\xff"):
        assert code(ops._client.post(url, content=body)) == (400, "invalid_json")
    assert code(ops.ask("POST", "/keys", {"tenant": "acme"})) == (400, "invalid_request")
    assert code(ops.ask("PUT", f"/keys/{name}", {"id": "x", "tenant": "acme"}))[0] == 400
    assert code(ops.ask("POST", "/keys", {"id": "a b", "tenant": "acme"}))[0] == 400


def test_a_hash_may_be_given_instead_of_a_secret(
    operated: Gateway, ops: Operator, name: str
) -> None:
    secret = f"hg-{name}-brought-along"
    key = made(ops, name, secret_sha256=digest_of(secret).hex())
    assert "secret" not in key
    assert codes(operated, secret) == {None}
    again = ops.ask(
        "POST",
        "/keys",
        {"id": f"{name}-2", "tenant": "acme", "secret_sha256": digest_of(secret).hex()},
    )
    assert code(again) == (409, "secret_taken")


def test_a_change_keeps_the_secret_and_what_it_does_not_name(
    operated: Gateway, ops: Operator, name: str
) -> None:
    key = made(ops, name, models=["sim"], max_output_tokens=5)
    patched = ops.ask("PATCH", f"/keys/{name}", {"models": None, "limits": "slow"}).json()
    assert (patched["models"], patched["limits"], patched["max_output_tokens"]) == (
        ["*"],
        "slow",
        5,
    )
    replaced = ops.ask("PUT", f"/keys/{name}", {"tenant": "acme", "models": ["other"]}).json()
    assert (replaced["models"], replaced["limits"]) == (["other"], None)
    assert "secret" not in replaced
    eventually(lambda: {calls(operated, key["secret"], model="other") for _ in range(6)}, {200})
    assert calls(operated, key["secret"]) == 404


def test_put_makes_one_under_its_id(operated: Gateway, ops: Operator, name: str) -> None:
    answer = ops.ask("PUT", f"/keys/{name}", {"tenant": "acme"})
    assert answer.status_code == 201
    assert codes(operated, answer.json()["secret"]) == {None}
    assert code(ops.ask("POST", "/keys", {"id": name, "tenant": "acme"})) == (409, "already_exists")


def test_a_blocked_key_is_refused_until_it_is_unblocked(
    operated: Gateway, ops: Operator, name: str
) -> None:
    secret = made(ops, name)["secret"]
    assert ops.ask("POST", f"/keys/{name}/block").json()["blocked"] is True
    eventually(lambda: codes(operated, secret), {"blocked_api_key"}, within=1.5)
    assert ops.ask("POST", f"/keys/{name}/unblock").json()["blocked"] is False
    eventually(lambda: codes(operated, secret), {None}, within=1.5)


def test_a_deleted_key_is_gone(operated: Gateway, ops: Operator, name: str) -> None:
    secret = made(ops, name)["secret"]
    assert ops.ask("DELETE", f"/keys/{name}").json()["deleted"] is True
    eventually(lambda: codes(operated, secret), {"invalid_api_key"}, within=1.5)
    assert code(ops.ask("DELETE", f"/keys/{name}")) == (404, "not_found")


def test_after_a_rotation_both_secrets_open_for_a_while(
    operated: Gateway, ops: Operator, name: str
) -> None:
    old = made(ops, name)["secret"]
    answer = ops.ask("POST", f"/keys/{name}/rotate", {"grace": "1h"})
    new = answer.json()["secret"]
    assert answer.status_code == 201
    assert [one["until"] is None for one in answer.json()["secrets"]] == [False, True]
    eventually(lambda: codes(operated, old) | codes(operated, new), {None})
    # A third one leaves the last two.
    third = ops.ask("POST", f"/keys/{name}/rotate").json()["secret"]
    eventually(lambda: codes(operated, old), {"invalid_api_key"}, within=1.5)
    assert codes(operated, new) | codes(operated, third) == {None}


def test_after_a_leak_the_old_secret_is_over_at_once(
    operated: Gateway, ops: Operator, name: str
) -> None:
    old = made(ops, name)["secret"]
    new = ops.ask("POST", f"/keys/{name}/rotate", {"grace": 0}).json()["secret"]
    eventually(lambda: codes(operated, old), {"invalid_api_key"}, within=1.5)
    assert codes(operated, new) == {None}
    for grace in ("8d", -1, "soon"):
        answer = ops.ask("POST", f"/keys/{name}/rotate", {"grace": grace})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "grace")


def test_lists_come_in_pages_the_files_keys_among_them(ops: Operator, name: str) -> None:
    for letter in "cab":
        made(ops, f"{name}-{letter}")
    seen: list[str] = []
    cursor = ""
    while cursor is not None:
        page = ops.get(f"/keys?limit=2&cursor={cursor}")
        assert len(page["data"]) <= 2
        seen += [key["id"] for key in page["data"]]
        cursor = page["next_cursor"]
    assert [one for one in seen if one.startswith(name)] == [f"{name}-{x}" for x in "abc"]
    assert "filed" in seen
    assert seen == sorted(set(seen))
    for limit in ("0", "201", "x"):
        assert code(ops.ask("GET", f"/keys?limit={limit}")) == (400, "invalid_request")


def test_an_expiry_is_warned_of(operated: Gateway, ops: Operator, name: str) -> None:
    key = made(ops, name, expires="2001-01-01")
    assert key["warnings"] == ["`expires` is over: the key is refused."]
    assert codes(operated, key["secret"]) == {"expired_api_key"}


def test_a_key_is_blocked_with_what_runs(ops: Operator, operated: Gateway, name: str) -> None:
    secrets = {one: made(ops, f"{name}-{one}")["secret"] for one in ("leaked", "good")}
    body = {"model": "slow", "prompt": "p", "stream": True, "max_tokens": 40}

    def streamed(secret: str) -> Any:
        headers = {"authorization": f"Bearer {secret}"}
        url = operated.url + "/v1/completions"
        return operated.client.stream("POST", url, json=body, headers=headers)

    with streamed(secrets["leaked"]) as leaked, streamed(secrets["good"]) as good:
        assert (leaked.status_code, good.status_code) == (200, 200)
        pieces = leaked.iter_raw()
        next(pieces)
        answer = ops.ask("POST", f"/keys/{name}-leaked/block?running=cancel")
        assert answer.json()["blocked"] is True
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
        assert b"[DONE]" in good.read()  # somebody else's goes on to its end
    wrong = ops.ask("POST", f"/keys/{name}-good/block?running=stop")
    assert code(wrong) == (400, "invalid_request")
