"""What the types of a configuration cannot say, check by check."""

from __future__ import annotations

from typing import Any

import pytest

from app.config.checks.references import expiry, key_digests
from app.config.loading import ConfigError, load
from app.config.settings import CallerKey
from app.config.values.quantities import Secret
from app.core.keys import digest_of

GOOD_SECRET = "0123456789abcdef"
DIGEST = "0a86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def problems(text: str) -> list[str]:
    try:
        load(text, "f", {})
    except ConfigError as error:
        return error.problems
    return []


def provider(**members: Any) -> str:
    parts = {"kind": "openai", "base_url": "'http://h/v1'"} | members
    inner = ", ".join(f"{name}: {value}" for name, value in parts.items())
    return f"providers: {{p: {{{inner}}}}}"


def key(members: str) -> str:
    return f"tenants: {{t: {{}}}}\nkeys:\n  - {{id: a, tenant: t, {members}}}\n"


BAD = [
    # server and store
    ("server: {workers: 2}", "server.workers", "more than one worker needs a shared store"),
    ("server: {max_body_bytes: 1023}", "server.max_body_bytes", "at least 1KiB"),
    ("store: {encryption_keys: [abc]}", "store.encryption_keys[0]", "32 bytes in hexadecimal"),
    (
        f"store: {{encryption_keys: ['{'a' * 64}', '{'a' * 64}']}}",
        "store.encryption_keys",
        "names a key twice",
    ),
    ("cache_store: {url: memory://}", "cache_store.url", "where no purge reaches it"),
    ("cache_store: {url: ftp://h}", "cache_store.url", "must start with one of"),
    ("cache_store: {url: redis://h, timeout: 0}", "cache_store.timeout", "more than 0"),
    ("cache_store: {timeout: 1s}", "cache_store.url", "is missing"),
    ("cache: {max_bytes: 1000}", "cache.max_bytes", "at least 1MiB"),
    (
        "cache: {max_bytes: 2MiB, max_bytes_per_tenant: 3MiB}",
        "cache.max_bytes_per_tenant",
        "from 1MiB to as much as `max_bytes`",
    ),
    ("server: {worker_timeout: 999ms}", "server.worker_timeout", "at least 1s"),
    (
        "server: {port: 9090, management: {port: 9090}}",
        "server.management.port",
        "must differ from `server.port`",
    ),
    # names
    ("providers: {a b: {kind: simulator}}", "providers.a b", "1 to 64 letters"),
    ("providers: {'-a': {kind: simulator}}", "providers.-a", "1 to 64 letters"),
    ("tenants: {'': {}}", "tenants.", "1 to 64 letters"),
    (f"tenants: {{{'t' * 65}: {{}}}}", "tenants.", "1 to 64 letters"),
    # providers
    (provider(base_url="h"), "providers.p.base_url", "address like https://host:port/v1"),
    (provider(base_url="'ftp://h/v1'"), "providers.p.base_url", "address like"),
    (provider(base_url="'http:///v1'"), "providers.p.base_url", "address like"),
    (provider(base_url="'http://h:x/v1'"), "providers.p.base_url", "not a valid address"),
    (provider(base_url="'http://h:99999/v1'"), "providers.p.base_url", "not a valid address"),
    (provider(base_url="'http://[::1/v1'"), "providers.p.base_url", "not a valid address"),
    (provider(base_url="'http://h/v 1'"), "providers.p.base_url", "plain ASCII"),
    (provider(base_url="'http://hé/v1'"), "providers.p.base_url", "plain ASCII"),
    (provider(base_url="'http://u:p@h/v1'"), "providers.p.base_url", "must not hold credentials"),
    (provider(base_url="'http://h/v1?a=b'"), "providers.p.base_url", "query or a fragment"),
    (provider(base_url="'http://h/v1#a'"), "providers.p.base_url", "query or a fragment"),
    (provider(proxy="'socks5://h:1'"), "providers.p.proxy", "address like"),
    (provider(max_event_bytes="1023"), "providers.p.max_event_bytes", "at least 1KiB"),
    (provider(endpoints="[]"), "providers.p.endpoints", "completions, chat or embeddings"),
    (provider(api_key='"a\\nb"'), "providers.p.api_key", "printable ASCII"),
    (provider(api_key='"é"'), "providers.p.api_key", "printable ASCII"),
    (provider(headers='{x-a: "a\\rb"}'), "providers.p.headers.x-a", "printable ASCII"),
    (provider(headers="{'x a': b}"), "providers.p.headers.x a", "not a header name"),
    (provider(headers="{'x:': b}"), "providers.p.headers.x:", "not a header name"),
    (provider(forward_headers="true"), "providers.p.forward_headers", "no longer true or false"),
    (provider(forward_headers="false"), "providers.p.forward_headers", "[] passes none on"),
    (
        provider(forward_headers="[x-a, X-Api-Key]"),
        "providers.p.forward_headers[1]",
        "named like a credential",
    ),
    (
        provider(forward_headers="x-headgate-cache-ttl"),
        "providers.p.forward_headers",
        "between the caller and the gateway",
    ),
    (
        provider(forward_headers="[x-a]", neutral_headers="[x-a, x-b]"),
        "providers.p.neutral_headers[1]",
        "'x-b' is not in `forward_headers`",
    ),
    (provider(forward_members="[all, min_p]"), "providers.p.forward_members", "stand alone"),
    (provider(forward_members="[known, min_p]"), "providers.p.forward_members", "stand alone"),
    # models
    ("models: {m: {targets: []}}", "models.m.targets", "at least one target"),
    (
        "models: {m: {targets: [{provider: x, model: y}]}}",
        "models.m.targets[0].provider",
        "no such entry in `providers`: 'x'; there is none",
    ),
    (
        provider(endpoints="[completions]")
        + "\nmodels: {m: {completions: chat, targets: [{provider: p, model: y}]}}",
        "models.m.completions",
        "chat needs a provider with the chat endpoint; `p` has none",
    ),
    (
        "providers: {p: {kind: simulator}}\nmodels: {'': {targets: [{provider: p, model: y}]}}",
        "models.",
        "1 to 256 printable",
    ),
    (
        (
            "providers: {p: {kind: simulator}}\n"
            f"models: {{{'m' * 257}: {{targets: [{{provider: p, model: y}}]}}}}"
        ),
        "models.",
        "1 to 256 printable",
    ),
    (
        (
            "providers: {p: {kind: simulator}}\n"
            "models: {m: {targets: [{provider: p, model: y}], cache: {exact: {ttl: 2h, max_ttl: 1h}}}}"
        ),
        "models.m.cache.exact.ttl",
        "at most `max_ttl`",
    ),
    # tenants
    ("tenants: {t: {limits: x}}", "tenants.t.limits", "no such entry in `limits`"),
    ("tenants: {t: {budget: x}}", "tenants.t.budget", "no such entry in `budgets`"),
    ("tenants: {t: {models: {x: {}}}}", "tenants.t.models.x", "no such entry in `models`"),
    (
        (
            "providers: {p: {kind: simulator}}\nmodels: {x: {targets: [{provider: p, model: y}]}}\n"
            "tenants: {t: {models: {x: {limits: l}}}}"
        ),
        "tenants.t.models.x.limits",
        "no such entry in `limits`",
    ),
    # keys
    (key(f"secret: {GOOD_SECRET}, limits: x"), "keys[0].limits", "no such entry in `limits`"),
    (key(f"secret: {GOOD_SECRET}, budget: x"), "keys[0].budget", "no such entry in `budgets`"),
    (
        f"keys: [{{id: a, tenant: x, secret: {GOOD_SECRET}}}]",
        "keys[0].tenant",
        "no such entry in `tenants`: 'x'",
    ),
    (
        f"tenants: {{t: {{}}}}\nkeys: [{{id: a b, tenant: t, secret: {GOOD_SECRET}}}]",
        "keys[0].id",
        "1 to 64 letters",
    ),
    (key("models: ['*']"), "keys[0]", "`headgate keys new` makes one"),
    (key("secret: ''"), "keys[0].secret", "at least 16 characters"),
    (key("secret: 0123456789abcde-"[:-1]), "keys[0].secret", "at least 16 characters"),
    (key("secret_sha256: abc"), "keys[0].secret_sha256", "64 hexadecimal digits"),
    (key(f"secret_sha256: {DIGEST[:-1]}g"), "keys[0].secret_sha256", "64 hexadecimal digits"),
    (
        key(f"secret: [{GOOD_SECRET}, {GOOD_SECRET}2], secret_sha256: {DIGEST}"),
        "keys[0]",
        "has 3 secrets",
    ),
    (key(f"secret: {GOOD_SECRET}, expires: soon"), "keys[0].expires", "2027-01-01"),
    (key(f"secret: {GOOD_SECRET}, expires: 2027-13-01"), "keys[0].expires", "2027-01-01"),
    (
        key(f"secret: {GOOD_SECRET}") + f"  - {{id: b, tenant: t, secret: {GOOD_SECRET}}}\n",
        "keys[1]",
        "has the same secret as keys[0]",
    ),
    (
        key(f"secret: {GOOD_SECRET}")
        + f"  - {{id: b, tenant: t, secret_sha256: {digest_of(GOOD_SECRET).hex().upper()}}}\n",
        "keys[1]",
        "has the same secret as keys[0]",
    ),
    (
        key(f"secret: {GOOD_SECRET}") + f"  - {{id: a, tenant: t, secret: {GOOD_SECRET}2}}\n",
        "keys[1].id",
        "'a' is already the id of keys[0]",
    ),
]


@pytest.mark.parametrize(("text", "path", "words"), BAD, ids=lambda value: value[-40:])
def test_what_cannot_work_is_told(text: str, path: str, words: str) -> None:
    [only] = problems(text)
    assert f": {path}" in only
    assert words in only


@pytest.mark.parametrize(
    "text",
    [
        "server: {workers: 2}\nstore: {url: 'redis://127.0.0.1:1'}",
        "server: {workers: 1}\nstore: {url: 'memory://'}",
        "server: {max_body_bytes: 1KiB}",
        provider(base_url="'http://[::1]:8000/v1/'"),
        provider(base_url="'https://h'"),
        provider(proxy="'http://u:p@h:3128'"),
        provider(headers="{X-Team: a, authorization: Basic x}"),
        provider(endpoints="[chat]"),
        key(f"secret: [{GOOD_SECRET}, {GOOD_SECRET}2]"),
        key(f"secret: {GOOD_SECRET}, secret_sha256: {DIGEST.upper()}"),
        key(f"secret: {GOOD_SECRET}, expires: 2027-01-01"),
        key(f"secret: {GOOD_SECRET}, expires: '2027-01-01T10:00:00+02:00'"),
        key(f"secret: {GOOD_SECRET}, expires: 2027-01-01T10:00:00Z"),
    ],
    ids=lambda text: text[-40:],
)
def test_what_can_work_is_taken(text: str) -> None:
    assert problems(text) == []


def test_a_glob_that_matches_nothing_is_a_warning_and_no_problem() -> None:
    loaded = load(key(f"secret: {GOOD_SECRET}, models: [demo, 'x*']"), "f", {})
    assert len(loaded.warnings) == 2
    assert loaded.warnings[0].startswith("f:3: keys[0].models: 'demo' matches no model")


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1970-01-02", 86400),
        ("1970-01-01T00:00:10", 10),
        ("1970-01-01T00:00:10Z", 10),
        ("1970-01-01T01:00:00+01:00", 0),
    ],
)
def test_an_expiry_is_in_utc_where_it_names_no_zone(text: str, seconds: float) -> None:
    assert expiry(text) == seconds


def test_the_digests_of_a_key_are_those_of_both_its_forms() -> None:
    caller = CallerKey(id="a", tenant="t", secret=(Secret("x"),), secret_sha256=(DIGEST,))
    assert key_digests(caller) == (digest_of("x"), bytes.fromhex(DIGEST))


def warnings_for(cache: str) -> tuple[str, ...]:
    model = f"{{targets: [{{provider: p, model: y}}], cache: {cache}}}"
    return tuple(
        load(f"providers: {{p: {{kind: simulator}}}}\nmodels: {{m: {model}}}", "f", {}).warnings
    )


@pytest.mark.parametrize(
    ("ignore", "place", "said"),
    [
        ("['(']", "ignore[0]", "missing )"),
        ("[ok, '.*']", "ignore[1]", "matches nothing"),
        ("[a, b, c, d, e, f, g, h, i]", "ignore", "at most 8"),
    ],
)
def test_a_pattern_that_cannot_be_used_is_a_fault(ignore: str, place: str, said: str) -> None:
    model = f"{{targets: [{{provider: p, model: y}}], cache: {{ignore: {ignore}}}}}"
    [problem] = problems(f"providers: {{p: {{kind: simulator}}}}\nmodels: {{m: {model}}}")
    assert f"models.m.cache.{place}" in problem
    assert said in problem


def test_a_scope_that_everybody_shares_is_warned_about() -> None:
    [only] = warnings_for("{scope: global}")
    assert "models.m.cache.scope" in only
    assert "every other tenant" in only


@pytest.mark.parametrize("cache", ["{}", "{scope: key}", "{exact: {enabled: false}}"])
def test_a_safe_cache_is_not_warned_about(cache: str) -> None:
    assert warnings_for(cache) == ()


def test_encryption_without_its_extra_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"store: {{encryption_keys: '{'ab' * 32}'}}"
    assert problems(text) == []
    monkeypatch.setattr("app.config.checks.references.find_spec", lambda name: None)
    [problem] = problems(text)
    assert "pip install 'headgate[encryption]'" in problem
