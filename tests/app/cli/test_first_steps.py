"""From nothing to an answer: `init`, `serve` without a file, `test` and `doctor`."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.starter import NoUpstream, api_base, ask_upstream, configuration
from app.config.loading import load
from app.core.keys import digest_of
from tests.app.cli.conftest import Gateway

SECRET = "hg-first-0123456789abcdef"


def run(*arguments: str, **environment: str) -> Result:
    return CliRunner().invoke(main, list(arguments), env=environment)


def closed_port() -> int:
    """A port that nobody listens on."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[tuple[Gateway, str]]:
    """`headgate serve` with the file that `headgate init` wrote; and the key."""
    file, port = str(tmp_path / "gateway.yaml"), closed_port()
    key = run("init", "-o", file).stdout.strip()
    served = Gateway(port, ["--config", file, "--port", str(port)], {})
    try:
        yield served.ready(), key
    finally:
        served.process.terminate()
        served.process.wait(20)


def test_init_writes_a_file_that_is_right_and_shows_its_key_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("init")
    secret = result.stdout.strip()
    text = Path("gateway.yaml").read_text()
    loaded = load(text, environment={})
    assert (result.exit_code, loaded.warnings) == (0, ())
    assert loaded.settings.keys[0].secret_sha256 == (digest_of(secret).hex(),)
    assert secret not in text
    assert run("check").exit_code == 0  # finds it by itself


def test_init_replaces_nothing_unasked(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("# mine")
    refused = run("init", "-o", str(file))
    assert (refused.exit_code, file.read_text()) == (1, "# mine")
    assert "--force" in refused.stderr
    assert run("init", "-o", str(file), "--force").exit_code == 0


def test_without_any_file_a_command_says_where_it_looked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("check", HEADGATE_CONFIG="")
    assert result.exit_code == 1
    assert all(word in result.stderr for word in ("HEADGATE_CONFIG", "gateway.yaml", "init"))


def test_a_running_gateway_is_tried_out(gateway: tuple[Gateway, str]) -> None:
    served, key = gateway
    result = run("test", "--url", served.base, HEADGATE_KEY=key)
    seen = re.findall(r"^(\S+) +(\w+) +(.*)$", result.stdout, re.MULTILINE)
    assert result.exit_code == 0
    assert [(mark, name) for mark, name, _ in seen] == [
        ("ok", name) for name in ("models", "plain", "repeated", "streamed", "refused")
    ]
    assert seen[2][2].startswith("cache hit")


def test_a_wrong_key_is_told_as_the_gateway_tells_it(gateway: tuple[Gateway, str]) -> None:
    served, _ = gateway
    result = run("test", "--url", f"{served.base}/v1", HEADGATE_KEY=SECRET)
    assert result.exit_code == 1
    assert re.search(r"BAD +models +401 invalid_api_key: ", result.stdout)


@pytest.mark.parametrize(
    ("key", "words"), [("", "HEADGATE_KEY"), ("hg-…", "other characters than a key")]
)
def test_what_cannot_be_a_key_is_told(key: str, words: str) -> None:
    result = run("test", HEADGATE_KEY=key)
    assert result.exit_code == 1
    assert words in result.stderr


def test_no_gateway_is_told(gateway: Any) -> None:
    port = closed_port()
    result = run("test", "--url", f"http://127.0.0.1:{port}", HEADGATE_KEY=SECRET)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"http://127.0.0.1:{port}: Connection refused; is the gateway")


# In front of a server, without a file


def test_an_upstream_is_served_with_all_its_models(gateway: tuple[Gateway, str]) -> None:
    behind, key = gateway
    port = closed_port()
    front = Gateway(
        port, ["--upstream", behind.base, "--port", str(port)], {"UPSTREAM_API_KEY": key}
    )
    try:
        front.ready()
        secret = re.search(r"key: (\S+)", front.err.text())
        assert secret is not None
        assert key not in front.err.text()
        tried = run("test", "--url", front.base, HEADGATE_KEY=secret[1])
        assert tried.exit_code == 0, tried.output
        assert "models    demo" in tried.stdout
        assert "cache hit" in tried.stdout
    finally:
        front.process.terminate()
        front.process.wait(20)


def test_an_upstream_that_wants_a_key_is_told(gateway: tuple[Gateway, str]) -> None:
    behind, _ = gateway
    result = run("serve", "--upstream", behind.base, UPSTREAM_API_KEY="")
    assert result.exit_code == 1
    assert result.stderr == (
        f"{behind.base}/v1/models answers 401; put its key into UPSTREAM_API_KEY "
        "(OPENAI_API_KEY for api.openai.com)\n"
    )


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://host", "expected something like http://127.0.0.1:8000/v1"),
        ("http://me:secret@host", "must not hold a password"),
        ("http://host/v1?key=1", "must not have a query"),
    ],
)
def test_an_address_that_cannot_be_right_is_told(url: str, said: str) -> None:
    with pytest.raises(NoUpstream, match=re.escape(said)) as failure:
        api_base(url)
    assert "secret" not in str(failure.value)


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("localhost:8000", "http://localhost:8000/v1"),
        ("http://localhost:8000/", "http://localhost:8000/v1"),
        ("https://host/openai/v1/", "https://host/openai/v1"),
    ],
)
def test_what_people_write_is_understood(url: str, base: str) -> None:
    assert api_base(url) == base


def test_a_server_that_is_not_there_is_told() -> None:
    port = closed_port()
    with pytest.raises(NoUpstream, match="connection refused: is the server running"):
        ask_upstream(f"http://127.0.0.1:{port}")


def test_names_of_models_are_quoted_in_the_file() -> None:
    from app.commands.starter import Upstream

    names = ('a "quoted" one', "qwen3:0.6b", "Qwen/Qwen3-0.6B", "yes", "ünïcode")
    text = configuration(Upstream("http://h/v1", names), digest_of(SECRET).hex())
    assert tuple(load(text, environment={}).settings.models) == names


# doctor


def test_doctor_names_a_provider_and_a_store_that_do_not_answer(tmp_path: Path) -> None:
    port = closed_port()
    file = tmp_path / "gateway.yaml"
    file.write_text(
        f'store: {{url: "redis://:hidden@127.0.0.1:{port}"}}\n'
        f'providers: {{p: {{kind: openai, base_url: "http://127.0.0.1:{port}/v1"}}}}\n'
        "models: {m: {targets: [{provider: p, model: x}]}}\ntenants: {t: {}}\n"
    )
    result = run("doctor", "--config", str(file))
    assert result.exit_code == 1
    assert "hidden" not in result.output
    lines = [line for line in result.stdout.splitlines() if line.startswith("BAD")]
    assert [line.split()[1] for line in lines] == ["store:", "providers.p:"]
    assert "start Redis there" in result.stdout
    assert "start it, or correct the port in `base_url`" in result.stdout


def test_doctor_finds_nothing_wrong_with_what_init_wrote(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    run("init")
    result = run("doctor")
    assert result.exit_code == 0
    assert "BAD" not in result.stdout
