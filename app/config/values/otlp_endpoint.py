"""Where a collector takes spans by OTLP over HTTP."""

from __future__ import annotations

from typing import Any, Self
from urllib.parse import urlsplit

_PATH = "/v1/traces"


class OtlpEndpoint(str):
    """The whole URL. One without a path gets the path that OTLP has for traces."""

    __slots__ = ()

    expects = "a URL such as http://collector:4318/v1/traces"
    pattern = r"^https?://.+$"

    @classmethod
    def parse(cls, value: Any) -> Self:
        """Raises ValueError saying what would be right, without repeating what may be a secret."""
        if not isinstance(value, str):
            raise ValueError(f"expected {cls.expects}")
        parts = urlsplit(value.strip())
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"expected {cls.expects}")
        if "@" in parts.netloc:
            raise ValueError("must not have credentials in it; send them with `headers`")
        if parts.query or parts.fragment:
            raise ValueError(f"expected {cls.expects}, without a query")
        if parts.port == 4317:
            raise ValueError("port 4317 is OTLP over gRPC; name the one over HTTP, mostly 4318")
        path = parts.path if parts.path not in ("", "/") else _PATH
        return cls(f"{parts.scheme}://{parts.netloc}{path}")
