"""LiteLLM's ``model_list`` as providers and models."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from app.commands.litellm.notes import Notes

# Their prefix of a model: our kind, and where their library looks for the key.
KINDS = {
    "openai": ("openai", "OPENAI_API_KEY"),
    "text-completion-openai": ("openai", "OPENAI_API_KEY"),
    "azure": ("azure", "AZURE_API_KEY"),
    "anthropic": ("anthropic", "ANTHROPIC_API_KEY"),
    "gemini": ("gemini", "GEMINI_API_KEY"),
    "bedrock": ("bedrock", ""),
    "mistral": ("mistral", "MISTRAL_API_KEY"),
    "groq": ("groq", "GROQ_API_KEY"),
    "together_ai": ("together", "TOGETHERAI_API_KEY"),
    "fireworks_ai": ("fireworks", "FIREWORKS_AI_API_KEY"),
    "openrouter": ("openrouter", "OPENROUTER_API_KEY"),
    "perplexity": ("perplexity", "PERPLEXITYAI_API_KEY"),
    "xai": ("xai", "XAI_API_KEY"),
    "cerebras": ("cerebras", "CEREBRAS_API_KEY"),
    "deepseek": ("deepseek", "DEEPSEEK_API_KEY"),
    "ollama": ("ollama", ""),
    "ollama_chat": ("ollama", ""),
    "hosted_vllm": ("vllm", ""),
    "vllm": ("vllm", ""),
    "openai_like": ("openai", ""),
    "lm_studio": ("openai", ""),
}
# Where text completions are the server's own; elsewhere they are asked over chat.
NATIVE = frozenset({"text-completion-openai", "hosted_vllm", "vllm", "ollama", "openai_like"})
OPENAI_BASE = "https://api.openai.com/v1"
_UNDERSTOOD = frozenset(
    {
        *("model", "api_base", "base_url", "api_key", "api_version", "aws_region_name"),
        *("aws_access_key_id", "aws_secret_access_key", "weight", "order", "rpm", "tpm"),
        *("timeout", "max_tokens", "input_cost_per_token", "output_cost_per_token"),
    }
)
_VARIABLE = re.compile(r"os\.environ/([A-Za-z_][A-Za-z0-9_]*)")


class Models:
    """The sections ``providers``, ``models`` and, for what a deployment may take, ``limits``."""

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self.providers: dict[str, dict[str, Any]] = {}
        self.models: dict[str, dict[str, Any]] = {}
        self.limits: dict[str, dict[str, Any]] = {}

    def add(self, place: str, entry: Any) -> None:
        """One entry of ``model_list``."""
        params = entry.get("litellm_params") if isinstance(entry, Mapping) else None
        alias = entry.get("model_name") if isinstance(entry, Mapping) else None
        if not isinstance(alias, str) or not isinstance(params, Mapping):
            self._notes.left(place, "is no deployment: it needs `model_name` and `litellm_params`")
            return
        written = str(params.get("model", ""))
        prefix, _, name = written.partition("/") if "/" in written else ("", "", written)
        if "*" in alias or "*" in written:
            self._notes.left(f"{place} ({alias})", "wildcards: name each model under `models`")
            return
        if not prefix or prefix not in KINDS:
            if prefix and "api_base" not in params:
                self._notes.left(f"{place} ({alias})", f"the provider {prefix!r} is not known here")
                return
            prefix, name = ("openai", written) if not prefix else ("openai_like", name)
            prefix = "anthropic" if written.startswith("claude") else prefix
        self._target(f"{place} ({alias})", alias, prefix, name, params)

    def _target(
        self, place: str, alias: str, prefix: str, name: str, params: Mapping[str, Any]
    ) -> None:
        provider = self._provider(place, prefix, params)
        if provider is None:
            return
        target: dict[str, Any] = {"provider": provider, "model": name.removeprefix("converse/")}
        for theirs, ours in (("weight", "weight"), ("order", "tier")):
            if isinstance(params.get(theirs), int | float):
                target[ours] = params[theirs]
        if isinstance(params.get("timeout"), int | float):
            target["timeouts"] = {"total": f"{params['timeout']:g}s"}
        capacity = {
            ours: params[theirs]
            for theirs, ours in (("rpm", "requests_per_minute"), ("tpm", "tokens_per_minute"))
            if isinstance(params.get(theirs), int)
        }
        if capacity:
            target["limits"] = self._limits(f"of-{provider}-{name}", capacity)
        price = {
            ours: round(float(params[theirs]) * 1_000_000, 6)
            for theirs, ours in (
                ("input_cost_per_token", "input_per_million"),
                ("output_cost_per_token", "output_per_million"),
            )
            if params.get(theirs) is not None
        }
        if len(price) == 2:
            target["price"] = price
        model = self.models.setdefault(alias, {"targets": []})
        model["targets"].append(target)
        if prefix not in NATIVE:
            model["completions"] = "chat"
        if isinstance(params.get("max_tokens"), int):
            model["max_output_tokens"] = params["max_tokens"]
        for other in sorted(set(params) - _UNDERSTOOD):
            self._notes.left(f"{place}.litellm_params.{other}", "has no counterpart for a target")

    def _limits(self, name: str, policy: dict[str, Any]) -> str:
        clean = re.sub(r"[^A-Za-z0-9._-]+", "-", name)
        self.limits[clean] = policy
        return clean

    def _provider(self, place: str, prefix: str, params: Mapping[str, Any]) -> str | None:
        """The name of the provider that a deployment needs, made where there is none like it."""
        kind, usual = KINDS[prefix]
        made: dict[str, Any] = {"kind": kind}
        base = params.get("api_base") or params.get("base_url")
        if base is None and kind == "openai":
            base = OPENAI_BASE
        if base is not None:
            made["base_url"] = _text(base)
        if kind == "azure" and params.get("api_version"):
            made["api_version"] = _text(params["api_version"])
        if kind == "azure" and base is None:
            self._notes.left(place, "an Azure deployment needs `api_base`")
            return None
        if kind == "bedrock":
            made |= self._of_bedrock(place, params)
        else:
            key = params.get("api_key") or (f"os.environ/{usual}" if usual else None)
            if key is not None:
                variable = usual or f"{kind.upper()}_API_KEY"
                made["api_key"] = self._secret(f"{place}.litellm_params.api_key", key, variable)
        for name, known in self.providers.items():
            if known == made:
                return name
        same = [name for name, known in self.providers.items() if known["kind"] == kind]
        name = f"{kind}-{len(same) + 1}" if same else kind
        self.providers[name] = made
        return name

    def _of_bedrock(self, place: str, params: Mapping[str, Any]) -> dict[str, Any]:
        region = params.get("aws_region_name", "os.environ/AWS_REGION_NAME")
        made = {"region": _text(region)}
        for theirs, ours in (
            ("aws_access_key_id", "access_key_id"),
            ("aws_secret_access_key", "secret_access_key"),
        ):
            if theirs in params:
                where = f"{place}.litellm_params.{theirs}"
                made[ours] = self._secret(where, params[theirs], theirs.upper())
        return made

    def _secret(self, place: str, value: Any, variable: str) -> str:
        """A reference to the environment; a secret that was written out is not copied."""
        found = _VARIABLE.fullmatch(str(value))
        if found is None:
            self._notes.left(place, f"a secret is not copied: put it into {variable}")
        name = found[1] if found else variable
        self._notes.variables[name] = None
        return f"${{{name}}}"


def _text(value: Any) -> str:
    found = _VARIABLE.fullmatch(str(value))
    return f"${{{found[1]}}}" if found else str(value)
