"""Who gets in with a browser, how long, and what another site's page can make it do: nothing."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.admin.operators import CALLER, OPS, TENANT_OPS, code
from tests.e2e.dashboard.visitor import Visitor, visitor, watched
from tests.harness.gateway import Gateway

CALL = {"model": "sim", "prompt": "hello", "max_tokens": 3}


@pytest.fixture(scope="module")
def served() -> Iterator[Gateway]:
    with Gateway(watched(), [OPS, TENANT_OPS, CALLER]) as gateway:
        yield gateway


@pytest.fixture
def signed_in(served: Gateway) -> Iterator[Visitor]:
    with visitor(served, key=OPS) as one:
        yield one


def test_a_key_opens_a_session_in_a_cookie_that_scripts_and_other_sites_do_not_get(
    served: Gateway,
) -> None:
    with visitor(served) as one:
        answer = one.sign_in(key=OPS)
    name, *attributes = answer.headers["set-cookie"].split("; ")
    assert name.startswith("__Host-headgate=")
    assert set(attributes) == {"Path=/", "Secure", "HttpOnly", "SameSite=Strict", "Max-Age=28800"}
    assert OPS not in answer.text


def test_a_session_reads_what_its_key_may(served: Gateway, signed_in: Visitor) -> None:
    assert signed_in.get("/whoami")["id"] == "ops"
    with visitor(served, key=TENANT_OPS) as one:
        assert code(one.ask("GET", "/admin/v1/usage")) == (403, "scope_required")


def test_without_a_session_nothing_is_told(served: Gateway) -> None:
    with visitor(served) as one:
        assert code(one.sign_in(key="hg-guess")) == (401, "invalid_api_key")
        assert code(one.sign_in(key=CALLER)) == (401, "invalid_api_key")
        assert one.ask("GET", "/dashboard/session").json() == {"object": "session", "id": None}
        one.cookie = "__Host-headgate=made-up"
        assert code(one.ask("GET", "/admin/v1/usage")) == (401, "not_signed_in")
        assert code(one.ask("POST", "/dashboard/v1/completions", CALL)) == (401, "not_signed_in")


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({"x-headgate-token": "wrong"}, "token_required"),
        ({"x-headgate-token": ""}, "token_required"),
        ({"origin": "https://elsewhere.example"}, "other_origin"),
        ({"origin": ""}, "other_origin"),
        ({"sec-fetch-site": "cross-site"}, "other_origin"),
    ],
)
def test_what_changes_something_needs_our_page(
    signed_in: Visitor, headers: dict[str, str], refused: str
) -> None:
    for method, path in (
        ("DELETE", "/dashboard/session"),
        ("POST", "/dashboard/v1/completions"),
        ("POST", "/admin/v1/keys"),
    ):
        assert code(signed_in.ask(method, path, CALL, headers)) == (403, refused)
    assert signed_in.get("/whoami")["id"] == "ops"  # still signed in


def test_signing_out_ends_the_session(signed_in: Visitor) -> None:
    assert "Max-Age=0" in signed_in.ask("DELETE", "/dashboard/session").headers["set-cookie"]
    assert code(signed_in.ask("GET", "/admin/v1/whoami")) == (401, "not_signed_in")


def test_who_guesses_is_slowed(served: Gateway) -> None:
    with visitor(served) as one:
        times = [one.sign_in(key=f"hg-{n}").elapsed.total_seconds() for n in range(8)]
    assert times[-1] >= 0.15  # the sixth waits 50 ms, each further one 50 ms more


def test_a_call_of_the_playground_is_a_callers_call(served: Gateway, signed_in: Visitor) -> None:
    key = {"authorization": f"Bearer {CALLER}", "x-request-id": "play-1"}
    answer = signed_in.ask("POST", "/dashboard/v1/completions", CALL, key)
    assert answer.status_code == 200
    assert answer.headers["x-provider"] == "sim"
    line = served.line("play-1")
    assert (line["key"], line["operation"]) == ("filed", "completions")
    models = signed_in.ask("GET", "/dashboard/v1/models", headers=key).json()
    assert "sim" in [one["id"] for one in models["data"]]
    # The session is no key, and an admin key is none here either.
    wrong = {"authorization": f"Bearer {OPS}"}
    assert code(signed_in.ask("POST", "/dashboard/v1/completions", CALL, wrong))[0] == 401
    assert signed_in.ask("POST", "/dashboard/v1/embeddings", CALL, key).status_code == 404


def test_the_page_may_load_and_ask_nothing_from_elsewhere(served: Gateway) -> None:
    with visitor(served) as one:
        page = one.ask("GET", "/dashboard/")
        again = one.ask("GET", "/dashboard/", headers={"if-none-match": page.headers["etag"]})
        assert one.ask("GET", "/dashboard/%2e%2e/door.py").status_code == 404
        assert one.ask("GET", "/dashboard").text == page.text
    assert page.headers["content-security-policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    assert (again.status_code, again.content) == (304, b"")
    assert served.get("/dashboard/").status == 404  # callers have no such page
