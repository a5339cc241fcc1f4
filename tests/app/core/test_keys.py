"""A caller's key is found by its digest, and made so that it cannot be guessed."""

from __future__ import annotations

import hashlib
import hmac
from typing import Any

import pytest

from app.core import keys
from app.core.keys import Key, KeyRing, allowed_models, digest_of, new_secret


def key(id: str, *secrets: str) -> Key:
    digests = tuple(digest_of(secret) for secret in secrets)
    return Key(id, "acme", digests, frozenset(), frozenset(), None)


def test_a_secret_opens_its_own_key() -> None:
    ring = KeyRing([key("a", "one"), key("b", "two")])
    found = ring.find(b"two")
    assert found is not None
    assert found.id == "b"


def test_both_secrets_of_a_rotated_key_open_it() -> None:
    ring = KeyRing([key("a", "old", "new")])
    assert ring.find(b"old") == ring.find(b"new") is not None


@pytest.mark.parametrize("secret", [b"", b"ONE", b"one ", b"on", b"\xff\x00", digest_of("one")])
def test_anything_else_opens_nothing(secret: bytes) -> None:
    assert KeyRing([key("a", "one")]).find(secret) is None


def test_digests_are_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    compared: list[Any] = []

    def compare(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return False

    monkeypatch.setattr(hmac, "compare_digest", compare)
    assert KeyRing([key("a", "one")]).find(b"one") is None
    assert compared == [(digest_of("one"), digest_of("one"))]


def test_a_key_ring_holds_no_secret() -> None:
    assert "hunter2" not in repr(vars(keys)) + repr(KeyRing([key("a", "hunter2")])._by_digest)


def test_the_digest_is_sha256() -> None:
    assert digest_of("é") == hashlib.sha256("é".encode()).digest()


def test_a_new_secret_names_its_id_and_is_long_and_new() -> None:
    made = {new_secret("web") for _ in range(50)}
    assert len(made) == 50
    assert all(secret.startswith("hg-web-") and len(secret) == 7 + 64 for secret in made)


@pytest.mark.parametrize(
    ("patterns", "allowed"),
    [
        (["*"], {"demo", "demo-2", "org/big", "Demo"}),
        (["demo"], {"demo"}),
        (["demo*"], {"demo", "demo-2"}),
        (["demo-?"], {"demo-2"}),
        (["[dD]emo"], {"demo", "Demo"}),
        (["org/*", "demo"], {"org/big", "demo"}),
        (["DEMO"], set()),
        ([""], set()),
        ([], set()),
    ],
)
def test_globs_say_which_models_a_key_may_use(patterns: list[str], allowed: set[str]) -> None:
    assert allowed_models(patterns, ["demo", "demo-2", "org/big", "Demo"]) == allowed
