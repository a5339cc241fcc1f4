"""LiteLLM's configuration in our words: what is translated can be served, the rest is listed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner, Result

from app.cli import main
from app.commands.litellm.translation import translate
from app.config.loading import load
from app.core.keys import digest_of

KEY = "sk-a-callers-key-of-litellm"
LITERAL = "sk-proj-written-out-0123456789"
CONFIG = f"""
model_list:
  - model_name: chat
    litellm_params: {{model: openai/gpt-4o-mini, api_key: os.environ/OPENAI_API_KEY, rpm: 60, weight: 2}}
  - model_name: chat
    litellm_params: {{model: azure/my-gpt, api_base: "https://x.openai.azure.com", api_version: 2024-10-21,
                      api_key: {LITERAL}, weight: 1,
                      input_cost_per_token: 0.0000001, output_cost_per_token: 0.0000002}}
  - model_name: code
    litellm_params: {{model: hosted_vllm/qwen, api_base: os.environ/VLLM_BASE, timeout: 30,
                      input_cost_per_token: 0.0000005, output_cost_per_token: 0.000001}}
  - model_name: claude
    litellm_params: {{model: anthropic/claude-sonnet-4, max_tokens: 4096, mock_response: hi}}
  - model_name: "*"
    litellm_params: {{model: "openai/*"}}
  - model_name: odd
    litellm_params: {{model: sagemaker/x}}
litellm_settings:
  drop_params: true
  success_callback: [langfuse]
  cache: true
  cache_params: {{type: redis, host: os.environ/REDIS_HOST, port: 6380, password: {LITERAL}, ttl: 600}}
  fallbacks: [{{chat: [claude]}}, {{code: [nobody]}}]
router_settings: {{routing_strategy: least-busy, num_retries: 2, model_group_alias: {{gpt: chat}}}}
general_settings: {{master_key: {LITERAL}, database_url: "postgresql://u:{LITERAL}@h/d"}}
"""
KEYS = {
    "keys": [
        {
            "token": digest_of(KEY).hex(),
            "key_alias": "web app",
            "team_alias": "acme",
            "models": ["chat", "code"],
            "rpm_limit": 100,
            "max_parallel_requests": 5,
            "max_budget": 50,
            "budget_duration": "30d",
            "spend": 12.5,
            "expires": "2030-01-01T00:00:00Z",
        },
        {"token": "ab" * 32, "max_budget": 5, "budget_duration": "3d"},
        {"key_alias": "no token"},
        {"token": "cd" * 32, "blocked": True},
    ]
}
NAMES = ("OPENAI_API_KEY", "AZURE_API_KEY", "VLLM_BASE", "ANTHROPIC_API_KEY", "REDIS_HOST")
ENVIRONMENT = dict.fromkeys(NAMES, "http://value-0123456789") | {
    "REDIS_HOST": "redis",
    "REDIS_PASSWORD": "hidden",
}


@pytest.fixture
def files(tmp_path: Path) -> Path:
    (tmp_path / "config.yaml").write_text(CONFIG)
    (tmp_path / "keys.json").write_text(json.dumps(KEYS))
    return tmp_path


def init(folder: Path, *more: str) -> Result:
    arguments = ("init", "--from-litellm", str(folder / "config.yaml"), *more)
    return CliRunner().invoke(main, [*arguments, "-o", str(folder / "gateway.yaml")])


def test_the_file_is_right_and_says_what_theirs_said(files: Path) -> None:
    result = init(files, "--litellm-keys", str(files / "keys.json"))
    assert result.exit_code == 0, result.output
    text = (files / "gateway.yaml").read_text()
    settings = load(text, "gateway.yaml", ENVIRONMENT).settings
    chat = settings.models["chat"]
    assert [(t.name, t.tier, t.weight) for t in chat.targets] == [
        ("openai/gpt-4o-mini", 0, 2),
        ("azure/my-gpt", 0, 1),
        ("anthropic/claude-sonnet-4", 1, 1),
    ]
    assert (chat.pick, chat.completions) == ("least_busy", "chat")
    assert settings.models["gpt"].targets[:2] == chat.targets[:2]
    [code] = settings.models["code"].targets
    assert (settings.models["code"].completions, float(code.timeouts.total or 0)) == ("native", 30)
    assert code.price is not None
    assert (code.price.input_per_million, code.price.output_per_million) == (0.5, 1)
    cache = settings.models["code"].cache
    assert cache is not None
    assert cache.exact.ttl == 600
    assert settings.store.url.reveal() == "redis://:hidden@redis:6380"
    assert settings.models["claude"].max_output_tokens == 4096
    assert settings.limits[chat.targets[0].limits or ""].requests_per_minute == 60


def test_callers_keep_their_keys_with_limits_and_budgets(files: Path) -> None:
    init(files, "--litellm-keys", str(files / "keys.json"))
    text = (files / "gateway.yaml").read_text()
    settings = load(text, "", ENVIRONMENT).settings
    web, other = settings.keys
    assert (web.id, web.tenant, web.secret_sha256) == ("web-app", "acme", (digest_of(KEY).hex(),))
    assert (web.models, web.expires) == (("chat", "code"), "2030-01-01T00:00:00Z")
    assert settings.limits["web-app"].requests_per_minute == 100
    assert settings.limits["web-app"].concurrent == 5
    assert (settings.budgets["web-app"].usd, settings.budgets["web-app"].per) == (50, "month")
    assert (other.tenant, other.budget) == ("default", None)


def test_no_secret_is_copied_or_shown(files: Path) -> None:
    result = init(files, "--litellm-keys", str(files / "keys.json"))
    written = (files / "gateway.yaml").read_text()
    for secret in (LITERAL, KEY):
        assert secret not in written
        assert secret not in result.output
    assert "${AZURE_API_KEY}" in written


@pytest.mark.parametrize(
    "said",
    [
        "model_list[1] (chat).litellm_params.api_key: a secret is not copied: put it into AZURE",
        "model_list[3] (claude).litellm_params.mock_response: has no counterpart",
        "model_list[4] (*): wildcards: name each model",
        "model_list[5] (odd): the provider 'sagemaker' is not known here",
        "litellm_settings.drop_params: nothing is dropped in silence",
        "litellm_settings.success_callback: has no counterpart",
        "fallbacks.code: 'nobody' leads to no model here",
        "router_settings.num_retries: retries and breakers are built in",
        "general_settings.master_key: make an operator's key",
        "general_settings.database_url: no database is needed",
        "keys[0] (web-app).spend: begins at nothing here",
        "keys[1] (key-abababab).max_budget: a budget of $5 per 3d",
        "keys[2]: has no `token`",
        "keys[3] (key-cdcdcdcd): is blocked",
    ],
)
def test_what_has_no_counterpart_is_listed(files: Path, said: str) -> None:
    result = init(files, "--litellm-keys", str(files / "keys.json"))
    assert said in result.stderr
    assert f"# - {said}" in (files / "gateway.yaml").read_text()


def test_without_keys_there_is_a_first_one(files: Path) -> None:
    result = init(files)
    secret = result.stdout.strip()
    made = yaml.safe_load((files / "gateway.yaml").read_text())
    assert made["keys"][0]["secret_sha256"] == digest_of(secret).hex()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("model_list: 1", "is no configuration of LiteLLM's"),
        ("a: [", "cannot be understood"),
        ("- 1", "is no configuration of LiteLLM's"),
    ],
)
def test_a_file_of_another_kind_is_refused(files: Path, text: str, said: str) -> None:
    (files / "config.yaml").write_text(text)
    result = init(files)
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert said in result.stderr
    assert not (files / "gateway.yaml").exists()


@pytest.mark.parametrize("junk", [None, 1, "x", {}, {"model_name": 1}, {"litellm_params": []}])
def test_junk_in_the_list_is_listed(junk: Any) -> None:
    assert translate({"model_list": [junk]}).left[0].startswith("model_list[0]: is no deployment")
