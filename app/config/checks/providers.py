"""What the types of a provider's section cannot say: addresses, headers, certificates."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable
from urllib.parse import urlsplit

from app.config.decoding import Path
from app.config.providers import (
    AzureProvider,
    BedrockProvider,
    HttpProvider,
    OllamaProvider,
    OpenAILike,
    OpenAIProvider,
    SglangProvider,
    VllmProvider,
)
from app.config.values.quantities import Secret

Say = Callable[[Path, str], None]

_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
# Paths that are an endpoint: what a person copies from an example of curl.
_ENDPOINT = re.compile(
    r"(?:/(?:(?:chat/|fim/)?completions|embeddings|messages|models|responses|infill)"
    r"|/models/[^/]+(?::\w+)?|/model/[^/]+(?:/[\w-]+)?|:(?:\w*[gG]enerateContent|batchEmbedContents))$"
)
_VERSION = re.compile(r"/v\d+[a-z0-9]*(?:/|$)")
_ROOTLESS = (OpenAIProvider, OllamaProvider, VllmProvider, SglangProvider)


class ProviderCheck:
    """One provider's section; ``fault`` and ``warn`` are told what is wrong, and where."""

    def __init__(self, path: Path, provider: HttpProvider, fault: Say, warn: Say) -> None:
        self._path = path
        self._provider = provider
        self._fault = fault
        self._warn = warn

    def all(self) -> None:
        provider, path = self._provider, self._path
        self._base_url()
        proxy = provider.proxy.reveal()
        if proxy and (problem := url_problem(proxy, ("http", "https"), credentials=True)):
            self._fault((*path, "proxy"), problem)
        if provider.ca_file and (problem := certificates_problem(provider.ca_file)):
            self._fault((*path, "ca_file"), problem)
        if provider.max_event_bytes < 1024:
            self._fault((*path, "max_event_bytes"), "must be at least 1KiB")
        if isinstance(provider, OpenAILike):
            names = provider.forward_members
            if len(names) > 1 and {"all", "known"} & set(names):
                self._fault((*path, "forward_members"), "all and known stand alone, without names")
            if not provider.endpoints:
                self._fault((*path, "endpoints"), "must name completions, chat or embeddings")
        if isinstance(provider, BedrockProvider):
            self._credentials(provider)
        self._headers()

    def _base_url(self) -> None:
        provider, path = self._provider, (*self._path, "base_url")
        if isinstance(provider, BedrockProvider) and not provider.base_url:
            return
        problem = url_problem(provider.base_url, ("http", "https"))
        if problem:
            self._fault(path, problem)
            return
        below = urlsplit(provider.base_url).path.rstrip("/")
        found = _ENDPOINT.search(below)
        if found:
            self._fault(
                path,
                f"ends in {found[0]!r}, which is an endpoint: give the address before it, "
                "the gateway adds the endpoint itself",
            )
        elif isinstance(provider, AzureProvider):
            if below not in ("", "/openai", "/openai/v1"):
                self._warn(path, "an Azure resource has no path of its own but /openai/v1")
        elif isinstance(provider, _ROOTLESS) and not _VERSION.search(below):
            self._warn(
                path,
                "has no version such as /v1; most servers have their endpoints below one, "
                "and answer 404 elsewhere",
            )

    def _credentials(self, provider: BedrockProvider) -> None:
        if bool(provider.access_key_id) != bool(provider.secret_access_key.reveal()):
            self._fault(
                (*self._path, "secret_access_key"), "goes with `access_key_id`: give both or none"
            )
        if provider.api_key.reveal() and provider.access_key_id:
            self._fault(
                (*self._path, "api_key"), "signs nothing: give it or `access_key_id`, not both"
            )

    def _headers(self) -> None:
        provider, path = self._provider, self._path
        forwarded = set(provider.forward_headers)
        for index, name in enumerate(provider.neutral_headers or ()):
            if name is not None and name not in forwarded:
                self._fault(
                    (*path, "neutral_headers", index),
                    f"{name!r} is not in `forward_headers`: it does not go upstream at all",
                )
        sent: dict[Path, Secret] = {(*path, "api_key"): provider.api_key}
        for header, value in provider.headers.items():
            if not _HEADER_NAME.fullmatch(header):
                self._fault((*path, "headers", header), "is not a header name")
            if value is not None:
                sent[*path, "headers", header] = value
        for place, value in sent.items():
            if not value.reveal().isprintable() or not value.reveal().isascii():
                self._fault(place, "must be printable ASCII: it is sent as a header")


def certificates_problem(file: str) -> str | None:
    """What is wrong with a file of certificates; None where nothing is."""
    try:
        ssl.create_default_context(cafile=file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "holds no certificates"
        return f"certificates cannot be read from {file!r}: {reason}"
    return None


def url_problem(url: str, schemes: tuple[str, ...], credentials: bool = False) -> str | None:
    """What is wrong with an address; None where nothing is."""
    example = f"{schemes[-1]}://host:port/v1"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return f"is not a valid address; expected something like {example}"
    if parts.scheme not in schemes or not parts.hostname:
        return f"expected an address like {example}"
    if not url.isascii() or not url.isprintable() or " " in url:
        return "must be plain ASCII without spaces"
    if (parts.username or parts.password) and not credentials:
        return "must not hold credentials; use `api_key` or `headers`"
    if parts.query or parts.fragment:
        return "must not have a query or a fragment"
    return None
