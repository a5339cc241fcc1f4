"""What is said of a wrong section `admin`."""

from __future__ import annotations

import pytest

from app.config.loading import ConfigError, load
from app.core.keys import digest_of

HASH = "ab" * 32
KEY = f'{{id: ops, secret_sha256: "{HASH}", scopes: ["*"]}}'
BASE = "server: {management: {port: 9090}}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        load(text, "f")
    return [problem.partition(": ")[2] for problem in failure.value.problems]


def test_a_good_section_is_taken() -> None:
    admin = load(f"{BASE}admin: {{keys: [{KEY}]}}").settings.admin
    assert admin is not None
    assert admin.keys[0].scopes == ("*",)


def test_it_needs_the_listener_that_it_is_served_on() -> None:
    [problem] = problems(f"admin: {{keys: [{KEY}]}}")
    assert "needs `server.management`" in problem


@pytest.mark.parametrize(
    ("key", "place"),
    [
        (f'{{id: "a b", secret_sha256: "{HASH}", scopes: ["*"]}}', "id"),
        ('{id: ops, secret_sha256: "abc", scopes: ["*"]}', "secret_sha256"),
        ('{id: ops, secret_sha256: [], scopes: ["*"]}', "secret_sha256"),
        (f'{{id: ops, secret_sha256: "{HASH}", scopes: []}}', "scopes"),
        (f'{{id: ops, secret_sha256: "{HASH}", scopes: ["keys:all"]}}', "scopes[0]"),
        (f'{{id: ops, secret_sha256: "{HASH}", scopes: ["*"], tenants: ["~x"]}}', "tenants[0]"),
        (f'{{id: ops, secret_sha256: "{digest_of("admin").hex()}", scopes: "*"}}', "secret_sha256"),
        (f"{{id: ops, secret: {HASH}, secret_sha256: [], scopes: []}}", "secret"),
    ],
)
def test_what_is_wrong_is_named_by_its_place(key: str, place: str) -> None:
    assert any(
        f"admin.keys[0].{place}:" in one for one in problems(f"{BASE}admin: {{keys: [{key}]}}")
    )


def test_one_secret_opens_one_thing() -> None:
    text = f"{BASE}tenants: {{t: {{}}}}\nkeys: [{{id: web, tenant: t, secret_sha256: {HASH}}}]\n"
    assert "is also that of a key of callers" in problems(f"{text}admin: {{keys: [{KEY}]}}")[0]
    two = KEY.replace("ops", "other")
    assert "is also that of admin.keys[0]" in problems(f"{BASE}admin: {{keys: [{KEY}, {two}]}}")[0]
