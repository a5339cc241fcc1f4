"""Whether a provider answers to its key: it is asked for its list of models, which costs nothing."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from time import time
from typing import Any, NamedTuple

from app.config.providers import (
    AzureProvider,
    BedrockProvider,
    HttpProvider,
    base_url_of,
    headers_of,
)
from app.config.settings import Settings
from app.providers.client.causes import told_by

SECONDS = 10.0
MAX_LIST_BYTES = 8 << 20
AT_A_TIME = 16
MAX_NAMED = 5  # models that one line names


class Finding(NamedTuple):
    """``state`` is ``ok``, ``warn`` or ``bad``; ``cure`` says what to do."""

    state: str
    place: str
    seen: str
    cure: str = ""


def look_at_providers(settings: Settings) -> list[Finding]:
    """Every provider over HTTP, all at once."""
    wanted: dict[str, set[str]] = {}
    for model in settings.models.values():
        for target in model.targets:
            wanted.setdefault(target.provider, set()).add(target.model)
    providers = {
        name: provider
        for name, provider in settings.providers.items()
        if isinstance(provider, HttpProvider)
    }
    if not providers:
        return []
    with ThreadPoolExecutor(min(len(providers), AT_A_TIME)) as pool:
        asked = [
            pool.submit(look_at_provider, name, provider, frozenset(wanted.get(name, ())))
            for name, provider in providers.items()
        ]
        return [future.result() for future in asked]


def look_at_provider(
    name: str, provider: HttpProvider, wanted: frozenset[str] = frozenset()
) -> Finding:
    """What a provider answers, and which of the models that are wanted of it it does not list."""
    place = f"providers.{name}"
    address = list_address(provider)
    request = urllib.request.Request(address, headers=headers_of(provider))  # noqa: S310 - http(s)
    opener = _opener(provider)
    began = time()
    try:
        with opener.open(request, timeout=SECONDS) as response:
            listed = _names(response.read(MAX_LIST_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        return _refused(place, provider, address, error.code)
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        said, cure = told_by(reason) or (
            getattr(reason, "strerror", None) or str(reason),
            "start it, or correct its `base_url`",
        )
        return Finding("bad", place, f"{address}: {said}", cure)
    seen = f"{address} answers in {(time() - began) * 1000:.0f} ms"
    if not listed:
        return Finding("ok", place, seen)
    seen += f" with {len(listed):,} models"
    missing = sorted(wanted - listed)
    # The deployments of Azure have names of one's own, which its list of models has not.
    if missing and not isinstance(provider, AzureProvider):
        named = ", ".join(missing[:MAX_NAMED])
        return Finding("warn", place, f"{seen}, but not {named}", "correct `targets[].model`")
    return Finding("ok", place, seen)


def _opener(provider: HttpProvider) -> urllib.request.OpenerDirector:
    """Asks as the gateway does: past the environment's proxy, trusting what the provider's file says."""
    proxy = provider.proxy.reveal() if provider.proxy else ""
    through = urllib.request.ProxyHandler({"http": proxy, "https": proxy} if proxy else {})
    trusted = ssl.create_default_context(cafile=provider.ca_file or None)
    return urllib.request.build_opener(through, urllib.request.HTTPSHandler(context=trusted))


def list_address(provider: HttpProvider) -> str:
    """Where a provider lists its models. Bedrock does so on another host, so there it is asked for
    nothing, and any answer will do."""
    base = base_url_of(provider)
    if isinstance(provider, BedrockProvider):
        return f"{base}/"
    if isinstance(provider, AzureProvider) and not base.endswith("/v1"):
        return f"{base}/openai/models?api-version={provider.api_version}"
    return f"{base}/models"


def _refused(place: str, provider: HttpProvider, address: str, status: int) -> Finding:
    seen = f"{address} answers {status}"
    if isinstance(provider, BedrockProvider) and status < 500:
        return Finding("ok", place, f"{seen}: it is there; its credentials were not tried")
    if status in (401, 403):
        return Finding("bad", place, seen, "correct its `api_key`")
    if status == 404:
        return Finding("warn", place, seen, "if calls fail too: `base_url` should end with /v1")
    state = "warn" if status < 500 else "bad"
    return Finding(state, place, seen, "look into the provider's own log or status page")


def _names(body: bytes) -> frozenset[str]:
    """The models in a list of OpenAI's shape, or of Gemini's; empty where it is neither."""
    try:
        document: Any = json.loads(body)
    except ValueError:
        return frozenset()
    if isinstance(document, dict):
        document = document.get("data") or document.get("models")
    items = document if isinstance(document, list) else []
    names = [item.get("id") or item.get("name") for item in items if isinstance(item, dict)]
    return frozenset(name.removeprefix("models/") for name in names if isinstance(name, str))
