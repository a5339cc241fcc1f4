"""What is valid and dangerous, or valid and probably not meant; and secrets in files of their own."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from app.config.loading import ConfigError, Loaded, load
from app.core.keys import digest_of

BASE = """\
providers: {p: {kind: simulator}}
models: {m: {targets: [{provider: p, model: x}]}}
tenants: {t: {}}
"""
SECRET = "hg-web-0123456789abcdef"


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as failure:
        load(text, "f", {})
    return failure.value.problems


def warnings(text: str) -> tuple[str, ...]:
    return load(text, "f", {}).warnings


def of_key(members: str) -> str:
    return f"{BASE}keys: [{{id: k, tenant: t, {members}}}]\n"


@pytest.mark.parametrize("word", ["test", "changeme", "password", "sk-1234", ""])
def test_a_hash_of_a_word_that_everybody_knows_is_refused(word: str) -> None:
    digest = sha256(word.encode()).hexdigest().upper()
    assert problems(of_key(f'secret_sha256: "{digest}"')) == [
        "f:4: keys[0].secret_sha256: is one that everybody knows; `headgate keys new` makes one"
    ]


@pytest.mark.parametrize(
    "secret", ["hg-web-change-me-0123456789", "your-api-key-goes-here", "<put your key here>"]
)
def test_a_placeholder_is_refused(secret: str) -> None:
    [problem] = problems(of_key(f'secret: "{secret}"'))
    assert "is one that everybody knows" in problem
    assert secret not in problem


def test_an_expired_key_is_told() -> None:
    over = (datetime.now(UTC) - timedelta(days=1)).date().isoformat()
    later = (datetime.now(UTC) + timedelta(days=2)).date().isoformat()
    assert warnings(of_key(f"secret: {SECRET}, expires: {over}")) == (
        f"f:4: keys[0].expires: is over: 'k' is refused since {over}",
    )
    assert warnings(of_key(f"secret: {SECRET}, expires: {later}")) == ()


def test_several_workers_without_a_listener_for_their_metrics_are_told() -> None:
    server = "server: {workers: 2%s}\nstore: {url: 'redis://127.0.0.1:1'}\n"
    [told] = warnings(BASE + server % "")
    assert "f:4: server.workers: without `server.management`" in told
    assert warnings(BASE + server % ", management: {port: 9090}") == ()


def test_policies_that_nobody_names_are_told() -> None:
    text = of_key(f"secret: {SECRET}, limits: used") + (
        "limits: {used: {requests_per_minute: 1}, spare: {requests_per_minute: 1}}\n"
        "budgets: {spare: {usd: 1, per: day}}\n"
    )
    assert [line.split(": ")[1] for line in warnings(text)] == ["limits.spare", "budgets.spare"]


def test_an_empty_file_is_told() -> None:
    [line] = warnings("# nothing yet\n")
    assert "every call is refused; `headgate init` writes a file" in line


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("host: 0.0.0.0", True),
        ('host: "::"', True),
        ("host: gateway.example", True),
        ("host: 0.0.0.0, trusted_proxies: [10.0.0.0/8]", False),
        ("host: localhost", False),
        ('host: "::1"', False),
    ],
)
def test_a_listener_for_others_without_tls_in_front_is_told(server: str, told: bool) -> None:
    found = warnings(of_key(f"secret: {SECRET}") + f"server: {{{server}}}\n")
    assert [("put TLS in front" in line) for line in found] == [True] * told


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: {b: ${FOO}}", 'f:1: (top level): in braces a variable must be quoted: write "${FOO}"'),
        ("server:\n\tport: 1", "f:2: (top level): is indented with a tab; YAML wants spaces"),
        ("server:\n  port: 1\n   host: h", "f:3: (top level): does not line up with the lines"),
        (
            "budgets: {b: {usd: $1.50, per: day}}",
            "f:1: budgets.b.usd: expected a number: write 1.50, without the dollar sign",
        ),
        ("store: {url: localhost:6379}", "did you mean redis://localhost:6379?"),
        ("limits: {l: {concurrent: many}}", "expected a whole number, not a text"),
        ("models: {m: {targets: {provider: p, model: x}}}", "put it in brackets: [{…}]"),
    ],
)
def test_the_usual_slips_are_told_with_what_to_write(text: str, said: str) -> None:
    assert any(said in problem for problem in problems(text)), problems(text)


def test_a_store_url_that_holds_a_password_is_not_repeated() -> None:
    [problem] = problems("store: {url: 'me:hunter2@cache:6379'}")
    assert "hunter2" not in problem


# Secrets in files


def test_a_secret_is_read_from_its_file_without_the_line_end(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(SECRET + "\n")
    loaded = load(of_key(f'secret_file: "{file}"'), "f", {})
    assert [digest_of(s.reveal()) for s in loaded.settings.keys[0].secret] == [digest_of(SECRET)]
    assert SECRET not in repr(loaded)


def generation(file: Path, secret: str) -> Loaded:
    file.write_text(secret)
    return load(of_key(f'secret_file: ["{file}"]'), "f", {})


def test_another_secret_in_the_file_is_another_configuration(tmp_path: Path) -> None:
    file = tmp_path / "key"
    first, again = generation(file, SECRET), generation(file, SECRET)
    other = generation(file, SECRET + "0")
    assert first.generation == again.generation != other.generation


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read: No such file or directory"),
        ("é" * 20, "holds other characters than a key can have"),
        ("a" * 5000, "is larger than 4096 bytes"),
        ("short", "must have at least 16 characters"),
    ],
)
def test_a_secret_file_that_cannot_be_used_is_told(
    tmp_path: Path, content: str | None, said: str
) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_text(content)
    [problem] = problems(of_key(f'secret_file: "{file}"'))
    assert said in problem
    assert content is None or content not in problem
