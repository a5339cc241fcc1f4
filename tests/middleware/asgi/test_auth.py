"""Who is calling?"""

from __future__ import annotations

import hmac
from typing import Any

import pytest

from app.connections.bad_keys import BadKeys
from app.connections.client_address import TrustedProxies
from app.core.keys import Key, KeyRing, digest_of, presented_secret
from middleware.asgi.auth import MAX_SECRET_BYTES, Auth

SECRET = b"hg-web-secret"


def key(**members: Any) -> Key:
    return Key(
        **{
            "id": "web",
            "tenant": "acme",
            "digests": (digest_of(SECRET.decode()),),
            "capabilities": frozenset({"completions"}),
            "models": frozenset(),
            "expires": None,
        }
        | members
    )


def auth(capability: str | None = "completions", **members: Any) -> Any:
    ring = KeyRing([key(**members)])
    bad_keys = BadKeys(TrustedProxies(()), 1000)
    return lambda app: Auth(app, keys=ring, capability=capability, bad_keys=bad_keys)


def bearer(secret: bytes = SECRET) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + secret)]


@pytest.mark.parametrize(
    "headers",
    [
        bearer(),
        [(b"authorization", b"bearer " + SECRET)],
        [(b"authorization", b"Bearer   " + SECRET + b" ")],
        [(b"x-api-key", SECRET)],
        [(b"api-key", SECRET)],
        [(b"authorization", b"Basic dTpw"), (b"api-key", SECRET)],
    ],
)
def test_a_key_is_found_wherever_clients_put_it(run: Any, headers: Any) -> None:
    done = run(headers).through(auth())
    assert done.inner == 1
    assert done.exchange.key.id == done.scope["state"]["key"].id == "web"


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", SECRET)],
        [(b"x-api-key", b"")],
    ],
)
def test_no_key_is_missing_key(run: Any, headers: Any) -> None:
    done = run(headers).through(auth())
    assert (done.status, done.error["code"], done.inner) == (401, "missing_api_key", 0)
    assert done.headers[b"www-authenticate"] == b"Bearer"


@pytest.mark.parametrize(
    "secret", [b"wrong", SECRET + b"x", SECRET.upper(), b"\xff\xfe", b"x" * (MAX_SECRET_BYTES + 1)]
)
def test_a_wrong_key_is_invalid_and_is_not_shown(run: Any, secret: bytes) -> None:
    done = run(bearer(secret)).through(auth())
    assert (done.status, done.error["code"], done.inner) == (401, "invalid_api_key", 0)
    assert secret.decode("latin-1") not in str(done.sent)


@pytest.mark.parametrize(("expires", "status"), [(1.0, 401), (4e9, 200), (None, 200)])
def test_a_key_lives_until_it_expires(run: Any, expires: Any, status: int) -> None:
    assert run(bearer()).through(auth(expires=expires)).status == status


def test_an_expired_key_is_told_so(run: Any) -> None:
    assert run(bearer()).through(auth(expires=1.0)).error["code"] == "expired_api_key"


def test_a_key_without_the_capability_is_refused(run: Any) -> None:
    done = run(bearer()).through(auth("embeddings"))
    assert (done.status, done.error["code"], done.inner) == (403, "capability_required", 0)
    assert done.exchange.outcome.error_code == "capability_required"


def test_any_key_passes_where_no_capability_is_asked(run: Any) -> None:
    assert run(bearer()).through(auth(None)).inner == 1


def test_a_stranger_makes_nobody_read_a_body(run: Any) -> None:
    done = run([], [{"type": "http.request", "body": b"{}"}]).through(auth())
    assert done.taken == 0


def test_the_comparison_takes_constant_time(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    monkeypatch.setattr(hmac, "compare_digest", lambda *pair: compared.append(pair) or True)
    run(bearer()).through(auth())
    assert compared == [(digest_of(SECRET.decode()),) * 2]


def test_an_authorization_of_another_scheme_is_no_secret() -> None:
    assert presented_secret({b"authorization": b"Basic abc"}) == b""
