"""One gateway before one scripted server that plays every provider: paths tell them apart."""

from __future__ import annotations

from typing import Any

from tests.harness.configuration import key, target
from tests.harness.credentials import PROVIDER_KEY
from tests.harness.upstream import Upstream

# Each kind's name in the file, and the aliases of its one model over chat and natively.
ROOTS = {
    "anthropic": "",
    "gemini": "",
    "bedrock": "",
    "mistral": "",
    "cohere": "",
    "azure": "",
    "openai": "/v1",
    "groq": "/openai/v1",
    "openrouter": "/api/v1",
    "deepseek": "/v1",
    "cerebras": "/v1",
    "ollama": "/v1",
    "xai": "/v1",
    "llamacpp": "/v1",
    "vllm": "/v1",
}


def configuration(_: str, upstream: Upstream) -> dict[str, Any]:
    root = f"http://{upstream.address}"
    timeouts = {"connect": "2s", "first_byte": "8s", "idle": "8s", "total": "20s"}
    providers: dict[str, Any] = {
        kind: {
            "kind": kind,
            "base_url": root + path,
            "api_key": PROVIDER_KEY,
            "timeouts": timeouts,
        }
        for kind, path in ROOTS.items()
    }
    providers["bedrock"]["region"] = "eu-central-1"
    providers["signed"] = {
        "kind": "bedrock",
        "base_url": root,
        "region": "eu-central-1",
        "access_key_id": "AKIDEXAMPLE",
        "secret_access_key": PROVIDER_KEY,
    }
    price = {"input_per_million": 1, "output_per_million": 2}
    models = {
        kind: target(kind, "m", completions="chat", price=price) for kind in [*ROOTS, "signed"]
    }
    models["codestral"] = target("mistral", "codestral-latest")
    models["native"] = target("openai", "m")
    models["tokenized"] = target("openai", "tokenized-name", tokenizer=True)
    models["bedrock-cohere"] = target("bedrock", "cohere.embed-english-v3")
    models["capped"] = target("anthropic", "m", max_output_tokens=777)
    models["ranked"] = target("vllm", "ranked", price=price)
    models["one-choice"] = target("openrouter", "ranked", price=price)
    models["unranked"] = target("ollama", "unranked")
    models["coder"] = target("openai", "coder", fim="qwen")
    models["house"] = target(
        "anthropic", "m", completions="chat", fim={"provider": "mistral", "model": "codestral"}
    )
    models["llama"] = target("llamacpp", "llama")
    models["deepseek-fim"] = target("deepseek", "deepseek-chat")
    return {
        "log": {"format": "json"},
        "providers": providers,
        "models": models,
        "tenants": {"acme": {}},
        "keys": [
            key("all", capabilities=["completions", "chat", "embeddings"]),
            key("embedder", capabilities=["embeddings"]),
        ],
    }
