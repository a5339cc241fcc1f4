"""A configuration file is taken whole, or refused with every reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from app.config.loading import MAX_FILE_BYTES, ConfigError, Loaded, json_schema, load, read
from app.config.providers import OpenAIProvider, SimulatorProvider
from app.config.settings import Settings
from app.config.values.quantities import Secret

SECRET = "hunter2-hunter2-hunter2"


def problems(text: str, environment: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(text, "gw.yaml", environment or {})
    assert str(caught.value) == "\n".join(caught.value.problems)
    return caught.value.problems


def loaded(text: str, **environment: str) -> Loaded:
    return load(text, "gw.yaml", environment)


def settings(text: str, **environment: str) -> Settings:
    return loaded(text, **environment).settings


TEN_MISTAKES = """\
server: {prot: 8080, workers: 0}
store: {timeout: soon}
providers:
  trial: {kind: simulater}
  local:
    kind: openai
    base_url: "127.0.0.1:8000"
models:
  demo: {targets: [{provider: trail, model: simulator-1}]}
  other: {targets: []}
tenants:
  acme: {limits: standard}
keys:
  - {id: web, tenant: acme}
  - {id: web, tenant: acme, secret: "${NOT_SET}", expires: tomorrow}
"""


@pytest.mark.parametrize(
    ("line", "path", "words"),
    [
        (1, "server.prot", "did you mean `port`?"),
        (1, "server.workers", ">= 1"),
        (2, "store.timeout", "expected a duration such as 50ms"),
        (4, "providers.trial.kind", "expected anthropic or azure"),
        (7, "providers.local.base_url", "expected an address like https://host:port/v1"),
        (9, "models.demo.targets[0].provider", "expected one of local, trial"),
        (10, "models.other.targets", "must name at least one target"),
        (12, "tenants.acme.limits", "no such entry in `limits`: 'standard'"),
        (14, "keys[0]", "needs a `secret`, `secret_file` or `secret_sha256`"),
        (15, "keys[1].id", "already the id of keys[0]"),
        (15, "keys[1].secret", "NOT_SET"),
        (15, "keys[1].expires", "expected a date such as 2027-01-01"),
    ],
)
def test_every_mistake_of_a_file_is_told_with_line_path_and_remedy(
    line: int, path: str, words: str
) -> None:
    told = problems(TEN_MISTAKES)
    [mine] = [text for text in told if text.startswith(f"gw.yaml:{line}: {path}")]
    assert words in mine


def test_there_is_one_line_for_each_mistake_in_file_order() -> None:
    told = problems(TEN_MISTAKES)
    lines = [int(text.split(":")[1]) for text in told]
    assert lines == sorted(lines)
    assert len(told) == 12 == len(set(told))
    assert not any("\n" in text for text in told)


def test_ten_plain_mistakes_are_ten_lines() -> None:
    text = "".join(f"wrong{index}: 1\n" for index in range(10))
    assert [text.split(":")[1] for text in problems(text)] == [str(n) for n in range(1, 11)]


@pytest.mark.parametrize(
    "entry",
    [
        "keys: [{id: a, tenant: ghost, capabilities: [fly], secret: aaaaaaaaaaaaaaaa}]",
        "models: {m: {targets: [{provider: ghost, model: x}], fan_out: 0}}",
        "tenants: {t: {limits: ghost, colour: red}}",
    ],
)
def test_a_bad_value_does_not_hide_a_dangling_reference_beside_it(entry: str) -> None:
    told = problems(entry)
    assert len(told) == 2
    assert any("'ghost'" in text for text in told)


def test_a_name_whose_entry_is_wrong_still_counts_as_known() -> None:
    text = """
providers: {p: {kind: simulator, latency: late}}
models: {m: {targets: [{provider: p, model: x}]}}
"""
    assert len(problems(text)) == 1


# The example that the design gives.

EXAMPLE = """\
server: {host: 127.0.0.1, port: 8080, workers: 1, max_body_bytes: 1048576, shutdown_grace: 30s}
store:
  url: memory://                 # redis://… rediss://… unix://…  redis+sentinel://…
  timeout: 50ms
  on_outage: {limits: local, budgets: refuse, cache: bypass}
providers:
  trial:  {kind: simulator}      # no network: deterministic text, real streaming
  openai: {kind: openai, base_url: "https://api.openai.com/v1", api_key: "${OPENAI_API_KEY:-}", timeouts: {connect: 5s, first_byte: 60s, idle: 60s, total: 600s}}
  local:  {kind: openai, base_url: "http://127.0.0.1:8000/v1"}   # vLLM, llama.cpp, SGLang …
models:
  demo:      {targets: [{provider: trial, model: simulator-1}]}
  text-prod: {targets: [{provider: openai, model: gpt-3.5-turbo-instruct}]}
  chatty:    {targets: [{provider: openai, model: gpt-4o-mini}], completions: chat}
  house:
    targets: [{provider: local, model: qwen}]
    price: {input_per_million: 0.10, output_per_million: 0.30}
    cache: {exact: {ttl: 1h}, semantic: {enabled: true, threshold: 0.90}, normalize: standard, scope: tenant}
limits:                          # named policies, token buckets
  standard: {requests_per_minute: 600, request_burst: 60, tokens_per_minute: 100000, concurrent: 50}
budgets:
  small: {usd: 50, per: month}   # hour | day | week | month, UTC
tenants:
  acme: {limits: standard, budget: small}
keys:
  - {id: acme-web, tenant: acme, secret: "${ACME_WEB_KEY}", capabilities: [completions, chat, embeddings], models: ["*"], limits: standard}
  - {id: acme-ci,  tenant: acme, secret_sha256: "0a86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", capabilities: [completions], models: [demo], expires: 2027-01-01}
"""


def test_the_designs_example_loads() -> None:
    result = loaded(EXAMPLE, ACME_WEB_KEY=SECRET)
    assert result.warnings == ()
    assert set(result.settings.models) == {"demo", "text-prod", "chatty", "house"}


def test_the_example_says_what_it_seems_to_say() -> None:
    example = settings(EXAMPLE, ACME_WEB_KEY=SECRET)
    openai = example.providers["openai"]
    assert isinstance(openai, OpenAIProvider)
    assert isinstance(example.providers["trial"], SimulatorProvider)
    assert (openai.timeouts.first_byte, openai.api_key) == (60, Secret(""))
    assert example.keys[0].secret == (Secret(SECRET),)
    assert example.keys[1].expires == "2027-01-01"
    assert example.store.timeout == 0.05


def test_the_example_without_its_variable_says_which_one() -> None:
    [only] = problems(EXAMPLE)
    line = 1 + next(i for i, text in enumerate(EXAMPLE.splitlines()) if "ACME_WEB_KEY" in text)
    assert only.startswith(f"gw.yaml:{line}: keys[0].secret")
    assert "ACME_WEB_KEY" in only


def test_an_empty_file_is_all_defaults() -> None:
    assert settings("") == Settings()


# Files


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read(tmp_path / "none.yaml")


def test_a_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        read(tmp_path / "bad")


def test_a_file_that_is_too_large_is_told(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(b"#" * (MAX_FILE_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read(tmp_path / "big")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("server: {port: 1", "not valid YAML"),
        ("a: b: c", "does not line up"),
        ("\tserver: {}", "indented with a tab"),
        ("a: \x00", "not valid YAML"),
        ("--- {}\n--- {}\n", "not valid YAML"),
        ("[]", "expected a mapping"),
        ("text", "expected a mapping"),
        ("5", "expected a mapping"),
        ("? [a, b]\n: c", "a key that is not a text"),
        ("server: {port: !!int x}", "cannot be read as int"),
        ("server: !!python/object:os.system x", "server"),
        ("server: {port: 8080, port: 8081}", "stands twice"),
        ("server: {}\nstore: {}\nserver: {}", "stands twice, again on line 3"),
        ("a: &a [*a]", "refers to itself"),
        ("a: " + "[" * 40 + "]" * 40, "unfolds to too much"),
    ],
)
def test_a_text_that_is_no_configuration_is_told(text: str, words: str) -> None:
    assert any(words in told for told in problems(text))


def test_a_duplicate_is_told_once_and_at_its_place() -> None:
    [only] = problems("server:\n  port: 1\n  port: 2\n")
    assert only.startswith("gw.yaml:2: server.port: stands twice, again on line 3")


@pytest.mark.timeout(20)
def test_a_billion_laughs_are_not_heard() -> None:
    text = 'a0: &a0 ["lol", "lol"]\n'
    for level in range(1, 19):
        text += f"a{level}: &a{level} [" + ", ".join([f"*a{level - 1}"] * 10) + "]\n"
    assert any("unfolds to too much" in told for told in problems(text))


@pytest.mark.timeout(20)
def test_absurd_nesting_is_a_problem_and_not_a_crash() -> None:
    problems("a: " + "[" * 3000 + "]" * 3000)


def test_a_lone_surrogate_is_a_problem_and_not_a_crash() -> None:
    text = 'tenants: {t: {}}\nkeys: [{id: a, tenant: t, secret: "\\ud800aaaaaaaaaaaaaaaaaaa"}]'
    problems(text)


# The environment


@pytest.mark.parametrize(
    ("written", "environment", "key"),
    [
        ("${A}", {"A": "x"}, "x"),
        ("${A}", {"A": ""}, ""),
        ("${A:-d}", {"A": "x"}, "x"),
        ("${A:-d}", {"A": ""}, "d"),
        ("${A:-d}", {}, "d"),
        ("${A:-}", {}, ""),
        ("a-${A}-${B:-b}", {"A": "x"}, "a-x-b"),
        ("${A:-a b:c}", {}, "a b:c"),
        ("${A}", {"A": "${B}", "B": "no"}, "${B}"),
        ("$A", {"A": "x"}, "$A"),
        ("$", {}, "$"),
    ],
)
def test_a_variable_is_filled_in(written: str, environment: dict[str, str], key: str) -> None:
    text = f'providers: {{p: {{kind: openai, base_url: "http://h/v1", api_key: "{written}"}}}}'
    provider = settings(text, **environment).providers["p"]
    assert isinstance(provider, OpenAIProvider)
    assert provider.api_key.reveal() == key


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("${A}", "needs the environment variable A; set it, or write ${A:-default}"),
        ("${}", "expected ${NAME} or ${NAME:-default}"),
        ("${1A}", "expected ${NAME} or ${NAME:-default}"),
        ("${A", "expected ${NAME} or ${NAME:-default}"),
        ("${A-x}", "expected ${NAME} or ${NAME:-default}"),
        ("${A:-${B}}", "expected ${NAME} or ${NAME:-default}"),
    ],
)
def test_a_variable_that_cannot_be_filled_in_is_told(written: str, words: str) -> None:
    told = problems(
        f'providers:\n  p: {{kind: openai, base_url: "http://h/v1", api_key: "{written}"}}'
    )
    assert told[0].startswith("gw.yaml:2: providers.p.api_key: ")
    assert words in told[0]


@pytest.mark.parametrize(
    ("written", "attribute", "value"),
    [
        ("port: ${A}", "port", 9090),
        ('port: "${A}"', "port", 9090),
        ("port: ${B:-70}", "port", 70),
        ("max_body_bytes: ${A}", "max_body_bytes", 9090),
        ("shutdown_grace: ${A}", "shutdown_grace", 9090),
    ],
)
def test_a_variable_can_be_a_number(written: str, attribute: str, value: int) -> None:
    assert getattr(settings(f"server:\n  {written}\n", A="9090").server, attribute) == value


def test_a_variable_that_should_be_a_number_and_is_not_is_told() -> None:
    [only] = problems("server: {port: '${A}'}", {"A": "many"})
    assert only.startswith("gw.yaml:1: server.port: expected a whole number")


def test_a_variable_cannot_bring_structure_in() -> None:
    loaded_settings = settings("log: {format: json}\nserver: {host: '${A}'}", A="x, port: 1}")
    assert loaded_settings.server.host == "x, port: 1}"


def test_the_processs_own_environment_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADGATE_TEST_PORT", "1234")
    assert load("server: {port: '${HEADGATE_TEST_PORT}'}").settings.server.port == 1234


# Secrets

HIDDEN = "S3cr3tS3cr3tS3cr3t"
NUMBER = "98765432109876543210"


@pytest.mark.parametrize(
    "member",
    [
        "secret: short-S3cr",
        f"secret: [{HIDDEN}, {HIDDEN}, {HIDDEN}]",
        f"secret: {{{HIDDEN}: 1}}",
        f"secret: [[{HIDDEN}]]",
        f"secret: {NUMBER}",
        f"secret: [{NUMBER}]",
        f"secret: *{HIDDEN}",
        f"secret: !{HIDDEN} x",
        f"secret: !{HIDDEN}",
        f"secret: '{HIDDEN}', secret: '{HIDDEN}'",
        f"secret: '{HIDDEN}', tenant: x",
        f"secret: '{HIDDEN}', bogus: 1",
        f"secret: '{HIDDEN}${{NOT_SET}}'",
        f"secret_sha256: {HIDDEN}",
        f"secret: @{HIDDEN}",
        f"secret: %{HIDDEN}",
        f"secret: '{HIDDEN}'x",
    ],
)
def test_no_problem_shows_a_callers_secret(member: str) -> None:
    for told in problems(f"tenants: {{t: {{}}}}\nkeys:\n  - {{id: a, tenant: t, {member}}}\n"):
        assert "S3cr" not in told
        assert NUMBER not in told


@pytest.mark.parametrize(
    "member",
    [
        f"api_key: [{HIDDEN}]",
        f"api_key: {NUMBER}",
        f'api_key: "{HIDDEN}\\n"',
        f'headers: {{x-a: "{HIDDEN}\\u00e9"}}',
        f"headers: {{x-a: {NUMBER}}}",
        f"headers: {HIDDEN}",
        f"headers: [{HIDDEN}]",
        f"headers: {NUMBER}",
        f"proxy: 'socks://u:{HIDDEN}@h'",
        f"proxy: 'http://u:{HIDDEN}@h:port'",
        f"base_url: 'http://u:{HIDDEN}@h/v1'",
        f"base_url: 'ftp://u:{HIDDEN}@h/v1'",
    ],
)
def test_no_problem_shows_a_providers_secret(member: str) -> None:
    base = "" if member.startswith("base_url") else "base_url: 'http://h/v1', "
    for told in problems(f"providers: {{p: {{kind: openai, {base}{member}}}}}"):
        assert "S3cr" not in told
        assert NUMBER not in told


def test_loaded_settings_show_no_secret() -> None:
    text = EXAMPLE.replace("${OPENAI_API_KEY:-}", HIDDEN).replace(
        "memory://  ", f"redis://:{HIDDEN}@h"
    )
    result = loaded(text, ACME_WEB_KEY=HIDDEN)
    assert "S3cr" not in repr(result)


# Generation, freezing, schema


def test_the_generation_is_short_and_follows_the_content() -> None:
    one, same, other = loaded("server: {}"), loaded("server: {}"), loaded("server: {} # x")
    assert one.generation == same.generation != other.generation
    assert 8 <= len(one.generation) <= 16


def test_settings_are_frozen() -> None:
    example = settings(EXAMPLE, ACME_WEB_KEY=SECRET)
    for section in (example, example.server, example.models["demo"], example.keys[0]):
        name = section.__struct_fields__[0]
        with pytest.raises(AttributeError):
            setattr(section, name, None)


def test_the_schema_is_json_and_lists_all_sections() -> None:
    schema = json.loads(json.dumps(json_schema()))
    top = schema
    assert set(top["properties"]) == {field.name for field in msgspec.structs.fields(Settings)}
    assert top["additionalProperties"] is False


def admits(schema: dict[str, Any], kind: str) -> bool:
    if "anyOf" in schema:
        return any(admits(option, kind) for option in schema["anyOf"])
    return kind == schema.get("type") or kind in schema.get("type", ())


@pytest.mark.parametrize(
    ("section", "name", "kind"),
    [
        ("CallerKey", "secret", "array"),
        ("CallerKey", "secret", "string"),  # a lone text stands for a list of one
        ("CallerKey", "secret_sha256", "string"),
        ("CallerKey", "models", "array"),
        ("Server", "max_body_bytes", "string"),
        ("Server", "shutdown_grace", "number"),
        ("Server", "shutdown_grace", "string"),
        ("Server", "port", "integer"),
        ("OpenAIProvider", "api_key", "string"),
    ],
)
def test_the_schema_admits_what_the_loader_takes(section: str, name: str, kind: str) -> None:
    top = json_schema()["properties"]
    sections = {
        "CallerKey": top["keys"]["anyOf"][0]["items"]
        if "anyOf" in top["keys"]
        else top["keys"]["items"],
        "Server": top["server"],
        "OpenAIProvider": top["providers"]["additionalProperties"]["anyOf"][0],
    }
    assert admits(sections[section]["properties"][name], kind)
