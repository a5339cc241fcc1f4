"""What a caller meant whose path leads nowhere: a sentence for the 404, or nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable
from difflib import get_close_matches
from urllib.parse import unquote_to_bytes

LONGEST = 96  # a path beyond it is nobody's slip, and comparing would cost
VERSION = "/v1"
# Where others have what we have elsewhere: Ollama, Anthropic, OpenAI's newer API, Kubernetes' habits.
ELSEWHERE = {
    "/api/generate": "/v1/completions",
    "/api/chat": "/v1/chat/completions",
    "/api/embed": "/v1/embeddings",
    "/api/embeddings": "/v1/embeddings",
    "/api/tags": "/v1/models",
    "/v1/messages": "/v1/chat/completions",
    "/v1/responses": "/v1/chat/completions",
    "/v1/completion": "/v1/completions",
    "/v1/chat": "/v1/chat/completions",
    "/healthz": "/health/live",
    "/livez": "/health/live",
    "/ping": "/health/live",
    "/openapi.yaml": "/openapi.json",
    "/swagger.json": "/openapi.json",
    "/readyz": "/health/ready",
    "/ready": "/health/ready",
}
_SLASHES = re.compile("/{2,}")


class NearPaths:
    """Knows the routes that there are, as pairs of method and path."""

    def __init__(self, routes: Iterable[tuple[str, str]]) -> None:
        self._methods = {path: method for method, path in routes if "{" not in path}
        # The longest tail goes first: `/chat/completions` is also a `/completions`.
        self._tails = sorted(
            ((path.removeprefix(VERSION), path) for path in self._methods if path.count("/") > 1),
            key=lambda pair: -len(pair[0]),
        )

    def hint(self, raw_path: bytes) -> str:
        """``; did you mean POST /v1/completions?``, or nothing."""
        if len(raw_path) > LONGEST:
            return ""
        path = _tidied(raw_path)
        if path in ("", VERSION):
            return f"; the API begins at {VERSION}: try GET {VERSION}/models"
        meant = self._meant(path)
        return f"; did you mean {self._methods[meant]} {meant}?" if meant else ""

    def _meant(self, path: str) -> str | None:
        for candidate in (path, VERSION + path):
            if candidate in self._methods:
                return candidate
            if candidate in ELSEWHERE:
                return ELSEWHERE[candidate]
        for tail, known in self._tails:
            if path.endswith(tail):
                return known
        near = get_close_matches(path, self._methods, n=1, cutoff=0.8)
        near = near or get_close_matches(VERSION + path, self._methods, n=1, cutoff=0.8)
        return near[0] if near else None


def _tidied(raw_path: bytes) -> str:
    """One spelling of what was written: no escapes, doubled or last slashes, capitals."""
    path = unquote_to_bytes(raw_path).decode("ascii", "replace").lower()
    return _SLASHES.sub("/", path).rstrip("/")
