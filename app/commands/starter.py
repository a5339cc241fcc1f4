"""A first configuration: for a server that is there already, or for the simulator.

``headgate serve --upstream`` runs it, ``headgate init`` writes it down.
"""

from __future__ import annotations

import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from app.providers.client.causes import told_by

MAX_MODELS = 500
MAX_LIST_BYTES = 4 << 20
LIST_SECONDS = 10.0
FIND_SECONDS = 0.5  # on this machine
KEY_VARIABLE = "UPSTREAM_API_KEY"

# The ports that these servers listen on unless they are told otherwise.
USUAL_SERVERS = (
    ("vLLM", 8000),
    ("Ollama", 11434),
    ("llama.cpp", 8080),
    ("SGLang", 30000),
    ("LM Studio", 1234),
)


class NoUpstream(Exception):
    """A server that cannot be used; the text says why, and what to try."""


class Upstream(NamedTuple):
    """An OpenAI-compatible server: the base of its API, and the models that it says it has."""

    base_url: str
    models: tuple[str, ...]
    needs_key: bool = False


def ask_upstream(url: str, key: str = "", patience: float = LIST_SECONDS) -> Upstream:
    """The server at ``url`` with its models. Without a path, ``/v1`` is meant.

    Raises NoUpstream.
    """
    base_url = api_base(url)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    request = urllib.request.Request(f"{base_url}/models", headers=headers)  # noqa: S310 - http only
    try:
        with _direct().open(request, timeout=patience) as response:
            document = json.loads(response.read(MAX_LIST_BYTES))
    except urllib.error.HTTPError as error:
        error.close()
        raise NoUpstream(f"{base_url}/models answers {error.code}; {_cure(error.code)}") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "reason", None) or error
        raise NoUpstream(f"{base_url}/models: {_said(reason)}") from None
    models = _names(document)
    if not models:
        raise NoUpstream(f"{base_url}/models names no model; name one with --model")
    return Upstream(base_url, models[:MAX_MODELS], bool(key))


def api_base(url: str) -> str:
    """The base of an API: ``http://`` is added where no scheme stands, ``/v1`` where no path does.

    Raises NoUpstream.
    """
    full = url if "://" in url else f"http://{url}"
    parts = urlsplit(full)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise NoUpstream(
            f"--upstream: expected something like http://127.0.0.1:8000/v1, not {url!r}"
        )
    if parts.username or parts.password:
        raise NoUpstream(f"--upstream: must not hold a password; put the key into {KEY_VARIABLE}")
    if parts.query or parts.fragment:
        raise NoUpstream("--upstream: must not have a query or a fragment")
    return full.rstrip("/") if parts.path.strip("/") else f"{full.rstrip('/')}/v1"


def find_upstreams(except_port: int) -> list[tuple[str, Upstream]]:
    """The inference servers on this machine's usual ports, ours left out, each with its name."""
    places = [(name, port) for name, port in USUAL_SERVERS if port != except_port]
    with ThreadPoolExecutor(len(places)) as pool:
        found = pool.map(_look, places)
    return [(name, upstream) for (name, _), upstream in zip(places, found, strict=True) if upstream]


class Dashboard(NamedTuple):
    """Where the dashboard listens, and the SHA-256 of its one operator's secret, in hexadecimal."""

    port: int
    digest: str


def configuration(
    upstream: Upstream | None,
    digest: str,
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    dashboard: Dashboard | None = None,
) -> str:
    """A commented file; ``digest`` is the SHA-256 of the first key's secret, in hexadecimal."""
    if upstream is None:
        provider = (
            "kind: simulator        # no network: its text means nothing\n    tokens_per_second: 50"
        )
        models: Sequence[tuple[str, str]] = [("demo", "simulator-1")]
    else:
        provider = f"kind: openai           # whatever speaks OpenAI's API\n    base_url: {_yaml(upstream.base_url)}"
        if upstream.needs_key:
            provider += f'\n    api_key: "${{{key_variable(upstream.base_url)}}}"'
        models = [(name, name) for name in upstream.models]
    lines = "\n".join(
        f"  {_yaml(alias)}: {{targets: [{{provider: upstream, model: {_yaml(name)}}}], cache: {{}}}}"
        for alias, name in models
    )
    management = f", management: {{port: {dashboard.port}}}" if dashboard is not None else ""
    text = _FILE.format(
        host=_yaml(host),
        port=port,
        management=management,
        provider=provider,
        models=lines,
        digest=digest,
    )
    return text if dashboard is None else text + _OPERATOR.format(digest=dashboard.digest)


def key_variable(base_url: str) -> str:
    """The environment variable that holds the server's key."""
    return "OPENAI_API_KEY" if urlsplit(base_url).hostname == "api.openai.com" else KEY_VARIABLE


def upstream_key(base_url: str) -> str:
    """The key for this server, from the environment; empty where it needs none."""
    return os.environ.get(key_variable(base_url), "")


_FILE = """\
# Headgate's configuration. Check it: headgate check. Run it: headgate serve.
server: {{host: {host}, port: {port}{management}}}

# One Redis for more than one worker or replica; without it, everything is in this process.
# store: {{url: "redis://127.0.0.1:6379"}}

providers:
  upstream:
    {provider}

# The names that callers use, and where they lead. `cache: {{}}` answers repeated requests.
models:
{models}

# Policies that a tenant or a key may name:
# limits: {{standard: {{requests_per_minute: 600, tokens_per_minute: 100000, concurrent: 50}}}}
# budgets: {{small: {{usd: 50, per: month}}}}

tenants:
  default: {{}}

keys:                        # another: headgate keys new NAME
  - id: first
    tenant: default
    secret_sha256: "{digest}"
    capabilities: [completions, chat, embeddings]
"""


_OPERATOR = """\
admin:
  keys: [{{id: first-operator, secret_sha256: "{digest}", scopes: ["*"]}}]
"""


def _look(place: tuple[str, int]) -> Upstream | None:
    try:
        return ask_upstream(f"http://127.0.0.1:{place[1]}", patience=FIND_SECONDS)
    except NoUpstream:
        return None


def _direct() -> urllib.request.OpenerDirector:
    """Asks the address itself, because the gateway takes no proxy from the environment either."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def _names(document: Any) -> tuple[str, ...]:
    entries = document.get("data") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        return ()
    names = (entry.get("id") for entry in entries if isinstance(entry, dict))
    return tuple(name for name in names if isinstance(name, str) and _is_alias(name))


def _is_alias(name: str) -> bool:
    return name.isprintable() and 0 < len(name) <= 256 and "${" not in name


def _yaml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)  # JSON's strings are YAML's


def _cure(status: int) -> str:
    if status in (401, 403):
        return f"put its key into {KEY_VARIABLE} (OPENAI_API_KEY for api.openai.com)"
    if status == 404:
        return "is the path right? OpenAI's API usually stands under /v1"
    return "it does not list its models; name one with --model"


def _said(reason: object) -> str:
    if isinstance(reason, ConnectionRefusedError):
        return "connection refused: is the server running, and is this its port?"
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, ValueError) and not isinstance(reason, OSError):
        return "the answer is not JSON; is this an OpenAI-compatible server?"
    if isinstance(reason, BaseException) and (told := told_by(reason)) is not None:
        return told[0]
    return str(getattr(reason, "strerror", None) or reason)
