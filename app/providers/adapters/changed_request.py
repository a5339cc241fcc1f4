"""A request as one provider is sent it, with some members otherwise than its caller wrote them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from app.core.request import UpstreamRequest


class ChangedRequest:
    """A request with other values for some members; a member with None is left out."""

    def __init__(self, request: UpstreamRequest, changes: Mapping[str, Any]) -> None:
        self._request = request
        self._changes = {
            name: b"" if value is None else orjson.dumps(value) for name, value in changes.items()
        }
        kept = {n: value for n, value in request.document.items() if n not in changes}
        self.document: Mapping[str, Any] = kept | {
            name: value for name, value in changes.items() if value is not None
        }

    @property
    def stream_options(self) -> Mapping[str, Any]:
        return self._request.stream_options

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        return self._request.body_for(model, self._changes | (changes or {}))
