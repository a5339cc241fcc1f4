"""A request of the gateway's own: a document, with no caller's bytes to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson


class PlainRequest:
    """An ``UpstreamRequest`` that is sent as its document says."""

    def __init__(self, document: Mapping[str, Any]) -> None:
        self.document = document
        self.stream_options: Mapping[str, Any] = {}

    def body_for(self, model: str, changes: dict[str, bytes] | None = None) -> bytes:
        made = {name: orjson.Fragment(value) for name, value in (changes or {}).items() if value}
        gone = {name for name, value in (changes or {}).items() if not value}
        kept = {name: value for name, value in self.document.items() if name not in gone}
        return orjson.dumps(kept | {"model": model} | made)
