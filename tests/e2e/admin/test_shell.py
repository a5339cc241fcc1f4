"""``headgate admin`` and ``headgate keys new --remote`` against a running gateway."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from tests.e2e.admin.operators import OPS, READER, Operator
from tests.harness.gateway import Gateway, free_port
from tests.harness.waiting import eventually

Run = Any


@pytest.fixture
def run(ops: Operator) -> Run:
    """Runs a command as an operator; its standard output where it must go well."""
    url = str(ops._client.base_url)

    def run(*arguments: str, key: str | None = OPS, stdin: str | None = None) -> Result:
        environment = {"HEADGATE_ADMIN_KEY": key, "HEADGATE_ADMIN_URL": url}
        return CliRunner().invoke(main, arguments, env=environment, input=stdin)

    return run


def good(result: Result) -> str:
    assert result.exit_code == 0, result.output
    return result.stdout


def facts(result: Result) -> dict[str, str]:
    """The members of an object as they were printed."""
    return dict(line.split("  ", 1) for line in good(result).splitlines() if "  " in line)


def secret_in(result: Result) -> str:
    return {name.strip(): text.strip() for name, text in facts(result).items()}["secret"]


def test_a_key_is_made_used_changed_and_blocked(run: Run, operated: Gateway, name: str) -> None:
    secret = secret_in(run("admin", "keys", "create", name, "tenant=acme", 'models=["sim"]'))
    assert operated.complete(secret, model="sim").status == 200
    assert name in good(run("admin", "keys", "list", "--tenant", "acme"))
    good(run("admin", "keys", "update", name, "limits=slow", "models=null"))
    document = json.loads(good(run("admin", "keys", "get", name, "--json")))
    assert (document["limits"], document["models"]) == ("slow", ["*"])
    stale = run("admin", "keys", "update", name, "limits=null", "--if-match", "1")
    assert (stale.exit_code, "another revision" in stale.stderr) == (1, True)
    assert secret_in(run("admin", "keys", "rotate", name, "--grace", "0")) != secret
    good(run("admin", "keys", "block", name))
    assert json.loads(good(run("admin", "keys", "get", name, "--json")))["blocked"] is True
    good(run("admin", "keys", "unblock", name))
    good(run("admin", "keys", "delete", name))
    assert f"There is no key '{name}'." in run("admin", "keys", "get", name).stderr
    assert name in good(run("admin", "audit"))


def test_keys_new_makes_one_in_the_running_gateway(run: Run, operated: Gateway, name: str) -> None:
    secret = secret_in(run("keys", "new", name, "limits=slow", "--remote", "--tenant", "acme"))
    assert operated.complete(secret, model="sim").status == 200


def test_budgets_and_what_they_spent(run: Run, name: str) -> None:
    good(run("admin", "budgets", "create", name, "usd=5", "per=day"))
    good(run("admin", "keys", "create", name, "tenant=acme", f"budget={name}"))
    good(run("admin", "budgets", "grant", f"key:{name}", "2.5"))
    account = json.loads(good(run("admin", "budgets", "account", f"key:{name}", "--json")))
    assert (account["limit_usd"], account["left_usd"]) == ("5", "7.5")
    good(run("admin", "budgets", "reset", f"key:{name}"))
    assert good(run("admin", "purge", "--tenant", "acme"))


def test_what_was_made_goes_out_and_in_by_hash(run: Run, operated: Gateway, name: str) -> None:
    good(run("admin", "limits", "create", name, "concurrent=3"))
    good(run("admin", "tenants", "create", name, f"limits={name}"))
    secret = secret_in(run("admin", "keys", "create", name, f"tenant={name}"))
    good(run("admin", "keys", "block", name))
    exported = [
        line for line in good(run("admin", "export")).splitlines() if json.loads(line)["id"] == name
    ]
    assert [json.loads(line)["kind"] for line in exported] == ["limits", "tenants", "keys"]
    assert secret not in "".join(exported)
    for kind in ("keys", "tenants", "limits"):
        good(run("admin", kind, "delete", name))
    assert operated.complete(secret, model="sim").status == 401
    # In any order, because what is referred to is made first.
    good(run("admin", "import", "-", stdin="\n".join(reversed(exported))))
    assert json.loads(good(run("admin", "keys", "get", name, "--json")))["blocked"] is True
    good(run("admin", "keys", "unblock", name))
    assert operated.complete(secret, model="sim").status == 200


@pytest.mark.parametrize(
    ("line", "told"),
    [("{", "line 1 is not JSON"), ("[]", "line 1 must be"), ('{"id": "x"}', '"kind" must be')],
)
def test_an_import_that_is_none_is_told_so(run: Run, line: str, told: str) -> None:
    result = run("admin", "import", "-", stdin=line)
    assert (result.exit_code, told in result.stderr) == (1, True)


def test_every_problem_is_printed(run: Run, name: str) -> None:
    result = run("admin", "keys", "create", name, "tenant=nobody", "limits=none")
    assert result.exit_code == 1
    assert {line.partition(":")[0] for line in result.stderr.splitlines()} == {
        "`tenant`",
        "`limits`",
    }
    assert "write NAME=VALUE" in run("admin", "keys", "create", name, "tenant").stderr
    refused = run("admin", "keys", "create", name, "tenant=acme", key=READER)
    assert "lacks the scope 'keys:write'" in refused.stderr


def test_what_is_missing_is_told(run: Run, name: str) -> None:
    assert "HEADGATE_ADMIN_KEY: set it" in run("admin", "whoami", key="").stderr
    nobody = f"http://127.0.0.1:{free_port()}"
    assert "is `server.management` there" in run("admin", "whoami", "--url", nobody).stderr
    assert "must begin with http" in run("admin", "whoami", "--url", "here").stderr
    assert "go with --remote" in run("keys", "new", name, "--tenant", "acme").stderr


def test_usage_and_purges_know_tenants_made_at_run_time(
    run: Run, operated: Gateway, name: str
) -> None:
    good(run("admin", "tenants", "create", name))
    secret = secret_in(run("admin", "keys", "create", name, f"tenant={name}"))
    assert operated.complete(secret, model="sim").status == 200
    file = str(operated.file)

    def used() -> list[str]:
        rows = json.loads(good(run("usage", "--config", file, "--tenant", name, "--json")))["rows"]
        return [row["key"] for row in rows]

    eventually(used, [name])
    every = json.loads(good(run("usage", "--config", file, "--json")))["rows"]
    assert name in {row["tenant"] for row in every}
    assert f"tenant {name}" in good(run("cache", "purge", "--config", file, "--tenant", name))
    assert run("usage", "--config", file, "--tenant", "nobody").exit_code == 1
