"""Mistakes in a provider's section, and what of it is worth a warning."""

from __future__ import annotations

import json

import pytest

from app.config.loading import ConfigError, load
from app.config.prices import price_of


def faults(**members: object) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(json.dumps({"providers": {"p": members}}), "f", {})
    return [problem.split(": ", 1)[1] for problem in caught.value.problems]


def warnings(**members: object) -> list[str]:
    return list(load(json.dumps({"providers": {"p": members}}), "f", {}).warnings)


@pytest.mark.parametrize(
    ("kind", "address", "ending"),
    [
        ("openai", "http://h/v1/completions", "/completions"),
        ("openai", "http://h/v1/chat/completions/", "/chat/completions"),
        ("vllm", "http://h/v1/embeddings", "/embeddings"),
        ("groq", "https://api.groq.com/openai/v1/models", "/models"),
        ("anthropic", "https://api.anthropic.com/v1/messages", "/messages"),
        ("mistral", "https://api.mistral.ai/v1/fim/completions", "/fim/completions"),
        (
            "gemini",
            "https://g/v1beta/models/gemini-2.5-pro:generateContent",
            "/models/gemini-2.5-pro:",
        ),
        ("llamacpp", "http://h:8080/infill", "/infill"),
    ],
)
def test_an_address_that_is_an_endpoint_is_a_mistake(kind, address, ending):
    (problem,) = faults(kind=kind, base_url=address)
    assert problem.startswith("providers.p.base_url: ends in")
    assert ending in problem


@pytest.mark.parametrize("kind", ["openai", "vllm", "ollama", "sglang"])
def test_an_address_without_a_version_is_worth_a_warning(kind):
    (warning,) = warnings(kind=kind, base_url="http://127.0.0.1:8000")
    assert "has no version such as /v1" in warning
    assert warnings(kind=kind, base_url="http://127.0.0.1:8000/v1/") == []


@pytest.mark.parametrize("address", ["https://api.anthropic.com", "https://api.anthropic.com/v1/"])
def test_an_address_whose_version_is_known_needs_none(address):
    assert warnings(kind="anthropic", base_url=address) == []


def test_an_azure_resource_has_no_path_of_its_own():
    (warning,) = warnings(kind="azure", base_url="https://r.openai.azure.com/openai/deployments/x")
    assert "no path of its own" in warning
    for path in ("", "/", "/openai", "/openai/v1"):
        assert warnings(kind="azure", base_url=f"https://r.openai.azure.com{path}") == []


def test_bedrock_needs_a_region_and_whole_credentials():
    assert "region" in faults(kind="bedrock")[0]
    assert "region" in faults(kind="bedrock", region="Frankfurt")[0]
    (problem,) = faults(kind="bedrock", region="eu-central-1", access_key_id="AKID")
    assert problem.startswith("providers.p.secret_access_key: goes with `access_key_id`")
    both = {"access_key_id": "A", "secret_access_key": "s", "api_key": "k"}
    (problem,) = faults(kind="bedrock", region="eu-central-1", **both)
    assert problem.startswith("providers.p.api_key: signs nothing")
    assert warnings(kind="bedrock", region="us-gov-west-1") == []


FIM = """
providers: {p: {kind: vllm}, m: {kind: mistral}}
models: {a: {targets: [{provider: p, model: x}], fim: %s}}
"""


@pytest.mark.parametrize(
    "fim", ["qwen", "{prefix: <P>, suffix: <S>, middle: <M>}", "{provider: m, model: codestral}"]
)
def test_a_model_fills_in_by_a_template_or_by_another_target(fim):
    assert load(FIM % fim, "f", {}).warnings == ()


@pytest.mark.parametrize(
    ("fim", "said"),
    [
        ("kwen", "expected one of qwen, codellama"),
        ("{}", "must be a template"),
        ("{prefix: a, suffix: b, provider: m, model: x}", "must be a template"),
        ("{prefix: a}", "needs both `prefix` and `suffix`"),
        ("{provider: m}", "needs both `provider` and `model`"),
        ("{provider: nobody, model: x}", "no such entry in `providers`: 'nobody'"),
    ],
)
def test_a_template_that_cannot_be_is_told(fim, said):
    with pytest.raises(ConfigError) as caught:
        load(FIM % fim, "f", {})
    assert said in caught.value.problems[0]


def test_a_tokenizer_needs_a_server_of_the_openai_api():
    text = "providers: {p: {kind: anthropic}}\nmodels: {a: {tokenizer: true, targets: [%s]}}\n"
    with pytest.raises(ConfigError) as caught:
        load(text % "{provider: p, model: x}", "f", {})
    assert "models.a.tokenizer: needs a server" in caught.value.problems[0]


@pytest.mark.parametrize(
    ("section", "model"),
    [
        ("{kind: anthropic}", "claude-sonnet-4-5"),
        ("{kind: gemini}", "gemini-2.5-flash"),
        ("{kind: mistral}", "mistral-large-latest"),
        ("{kind: groq}", "llama-3.1-8b-instant"),
        ("{kind: deepseek}", "deepseek-chat"),
        ("{kind: bedrock, region: us-east-1}", "amazon.nova-lite-v1:0"),
        ("{kind: azure, base_url: 'https://r.openai.azure.com'}", "gpt-4o"),
    ],
)
def test_what_a_provider_publishes_is_known_by_its_own_address(section, model):
    text = f"providers: {{p: {section}}}\nmodels: {{a: {{targets: [{{provider: p, model: '{model}'}}]}}}}"
    settings = load(text, "f", {}).settings
    alias = settings.models["a"]
    price = price_of(alias, settings, alias.targets[0])
    assert price is not None
    assert price.most(1_000_000, 1_000_000) > 0
