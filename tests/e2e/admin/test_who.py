"""Who gets in: only over the management listener, only with an admin key, only for its scopes."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.admin.operators import CALLER, OPS, READER, Operator, code, configuration, operators
from tests.harness.gateway import Gateway


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with Gateway(configuration("memory://"), [OPS, READER, CALLER]) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def ops(served: Gateway) -> Iterator[Operator]:
    with operators(served, OPS) as [ops]:
        yield ops


def test_an_admin_key_is_told_what_it_may_do(served: Gateway, ops: Operator) -> None:
    assert ops.get("/whoami") == {"id": "ops", "scopes": ["*"], "tenants": None}
    assert ops.ask("GET", "/whoami").headers["cache-control"] == "no-store"


def test_without_an_admin_key_nothing_is_told(served: Gateway) -> None:
    with operators(served, None, CALLER, "hg-guess") as strangers:
        told = [code(one.ask("GET", "/whoami")) for one in strangers]
        hidden = [code(one.ask("GET", "/nothing")) for one in strangers]
    assert told == [
        (401, "missing_api_key"),
        (401, "invalid_api_key"),
        (401, "invalid_api_key"),
    ]
    assert hidden == told  # also whether a path is there


def test_the_callers_port_knows_nothing_of_it(served: Gateway) -> None:
    assert served.get("/admin/v1/whoami", OPS).status == 404
    forged = {"x-headgate-relay": "0" * 64 + " 127.0.0.1"}
    assert served.get("/admin/v1/whoami", OPS, forged).status == 404


def test_an_admin_key_calls_no_model(served: Gateway) -> None:
    assert served.complete(OPS, model="sim").status == 401


def test_another_spelling_of_a_path_is_none(ops: Operator) -> None:
    for path in ("/whoami/", "//whoami", "/whoam%69"):
        assert code(ops.ask("GET", path)) == (404, "not_found")
    assert code(ops.ask("GET", "/whoami?x=1")) == (400, "invalid_request")
    assert code(ops.ask("DELETE", "/whoami")) == (405, "method_not_allowed")


def test_who_guesses_is_slowed(served: Gateway) -> None:
    with operators(served, "hg-guess-again") as [guesser]:
        times = [guesser.ask("GET", "/whoami").elapsed.total_seconds() for _ in range(7)]
    assert times[-1] > times[0] + 0.1  # each one after the fifth waits 50 ms more
