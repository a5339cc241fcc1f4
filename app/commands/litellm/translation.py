"""A whole configuration of LiteLLM's in our words."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import yaml

from app.commands.litellm.keys import Keys
from app.commands.litellm.models import Models
from app.commands.litellm.notes import Notes

MAX_LISTED = 100_000
PICKS = {
    "simple-shuffle": "weighted",
    "least-busy": "least_busy",
    "cost-based-routing": "cheapest",
}
_SECTIONS = frozenset(
    {"model_list", "litellm_settings", "router_settings", "general_settings", "keys"}
)
_SETTINGS = frozenset(
    {"cache", "cache_params", "fallbacks", "request_timeout", "drop_params", "set_verbose"}
)
_ROUTER = frozenset(
    {
        *("routing_strategy", "fallbacks", "model_group_alias", "redis_host", "redis_port"),
        *("redis_password", "redis_url", "timeout"),
    }
)


class Translation(NamedTuple):
    """Our file's sections, what was left out, and the variables that it needs."""

    document: dict[str, Any]
    left: list[str]
    variables: list[str]


def translate(document: Any, keys: Any = None) -> Translation:
    """What LiteLLM's config.yaml says; ``keys`` is what its GET /key/list answered.

    Raises ValueError where it is no such document.
    """
    if not isinstance(document, Mapping) or not isinstance(document.get("model_list"), list):
        raise ValueError("is no configuration of LiteLLM's: it has no `model_list`")
    notes = Notes()
    models, callers = Models(notes), Keys(notes)
    for index, entry in enumerate(document["model_list"][:MAX_LISTED]):
        models.add(f"model_list[{index}]", entry)
    listed = keys.get("keys") if isinstance(keys, Mapping) else keys
    for index, entry in enumerate((listed or document.get("keys") or ())[:MAX_LISTED]):
        callers.add(f"keys[{index}]", entry)
    made: dict[str, Any] = {}
    _settings(_part(document, "litellm_settings"), models, made, notes)
    _router(_part(document, "router_settings"), models, made, notes)
    for name in _part(document, "general_settings"):
        notes.left(f"general_settings.{name}", _GENERAL.get(name, "has no counterpart"))
    for name in sorted(set(document) - _SECTIONS):
        notes.left(name, "has no counterpart")
    made |= {"providers": models.providers, "models": models.models}
    made |= {"limits": models.limits | callers.limits, "budgets": callers.budgets}
    made |= {"tenants": callers.tenants, "keys": callers.keys}
    return Translation({k: v for k, v in made.items() if v}, notes.lines, sorted(notes.variables))


_GENERAL = {
    "master_key": "make an operator's key: headgate keys new NAME, under `admin.keys`",
    "database_url": "no database is needed: limits, budgets and usage are in `store` (Redis)",
}


def _part(document: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = document.get(name)
    return found if isinstance(found, Mapping) else {}


def _settings(
    settings: Mapping[str, Any], models: Models, made: dict[str, Any], notes: Notes
) -> None:
    params = _part(settings, "cache_params")
    if settings.get("cache"):
        ttl = params.get("ttl")
        exact = {"exact": {"ttl": f"{ttl:g}s"}} if isinstance(ttl, int | float) else {}
        for model in models.models.values():
            model["cache"] = dict(exact)
        if "semantic" in str(params.get("type", "")):
            notes.left("litellm_settings.cache_params", "for answers by meaning see semantic.md")
        _store(params, "host", "port", "password", made, notes)
    _fallbacks(settings.get("fallbacks"), models, notes)
    for name in sorted(set(settings) - _SETTINGS):
        notes.left(f"litellm_settings.{name}", "has no counterpart")
    if settings.get("drop_params"):
        notes.left("litellm_settings.drop_params", "nothing is dropped in silence: a 400 names it")


def _router(router: Mapping[str, Any], models: Models, made: dict[str, Any], notes: Notes) -> None:
    strategy = router.get("routing_strategy")
    if strategy in PICKS:
        for model in models.models.values():
            if len(model["targets"]) > 1:
                model["pick"] = PICKS[strategy]
    elif strategy is not None:
        notes.left("router_settings.routing_strategy", f"{strategy}: `weighted` is used instead")
    _fallbacks(router.get("fallbacks"), models, notes)
    _store(router, "redis_host", "redis_port", "redis_password", made, notes)
    for alias, name in _part(router, "model_group_alias").items():
        if isinstance(name, str) and name in models.models:
            models.models[str(alias)] = json.loads(json.dumps(models.models[name]))
        else:
            notes.left(f"router_settings.model_group_alias.{alias}", "leads to no model here")
    for name in sorted(set(router) - _ROUTER):
        notes.left(f"router_settings.{name}", "retries and breakers are built in: see routing.md")


def _store(
    params: Mapping[str, Any],
    host: str,
    port: str,
    password: str,
    made: dict[str, Any],
    notes: Notes,
) -> None:
    if params.get(host) is None:
        return
    secret = ""
    if params.get(password) is not None:
        secret = ":${REDIS_PASSWORD}@"  # noqa: S105 - a name
        notes.variables["REDIS_PASSWORD"] = None
    where = str(params[host]).replace("os.environ/", "")
    named = f"${{{where}}}" if where != str(params[host]) else where
    number = str(params.get(port, 6379))
    number = f"${{{number.removeprefix('os.environ/')}}}" if "/" in number else number
    made["store"] = {"url": f"redis://{secret}{named}:{number}"}
    notes.variables |= dict.fromkeys(
        part[2:-1] for part in (named, number) if part.startswith("${")
    )


def _fallbacks(listed: Any, models: Models, notes: Notes) -> None:
    """``[{a: [b, c]}]``: the targets of b and c, in tiers after a's own."""
    for entry in listed if isinstance(listed, list) else ():
        for name, others in entry.items() if isinstance(entry, Mapping) else ():
            model = models.models.get(str(name))
            for other in others if isinstance(others, list) else [others]:
                found = models.models.get(str(other))
                if model is None or found is None:
                    notes.left(f"fallbacks.{name}", f"{other!r} leads to no model here")
                    continue
                tier = 1 + max(target.get("tier", 0) for target in model["targets"])
                more = [t | {"tier": tier} for t in found["targets"] if "tier" not in t]
                model["targets"] = [*model["targets"], *more]


def as_yaml(translation: Translation, source: str) -> str:
    """The file, with what was left out in its first lines."""
    lines = [
        f"# Headgate's configuration, translated from {source}. Check it: headgate check.",
        *(f"# Needs the environment variable {name}." for name in translation.variables),
        *(["#", "# Not translated:"] if translation.left else []),
        *(f"# - {line}" for line in translation.left),
    ]
    body = yaml.safe_dump(translation.document, sort_keys=False, allow_unicode=True, width=100)
    return "\n".join(lines) + "\n\n" + body
