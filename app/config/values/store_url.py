"""The URL of a store, taken apart. Pure, so that a configuration can be checked without a store."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit

SCHEMES = ("memory", "redis", "rediss", "unix", "redis+sentinel", "redis+cluster")
DEFAULT_PORT = 6379
_HOST_AND_PORT = re.compile(r"[A-Za-z0-9._-]{1,253}(?::[0-9]{1,5})?")
SENTINEL_PORT = 26379


class StoreUrl(NamedTuple):
    """``hosts`` is one server, or the sentinels; ``service`` what they call the primary."""

    scheme: str
    hosts: tuple[tuple[str, int], ...] = ()
    path: str = ""
    service: str = ""
    username: str = ""
    password: str = ""
    database: int = 0
    ca_file: str = ""


def parse_store_url(url: str) -> StoreUrl:
    """Raises ValueError saying what would be right, without repeating what may be a secret."""
    parts = urlsplit(url)
    scheme = parts.scheme
    if scheme not in SCHEMES:
        bare = _HOST_AND_PORT.fullmatch(url)
        meant = f"; did you mean redis://{url}?" if bare else ""
        raise ValueError(f"must start with one of {', '.join(SCHEMES)}{meant}")
    if scheme == "memory":
        return StoreUrl(scheme)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    credentials, _, netloc = parts.netloc.rpartition("@")
    username, _, password = credentials.partition(":")
    entering = StoreUrl(
        scheme,
        username=unquote(username),
        password=unquote(password),
        database=_number(query.get("db", "0"), "the database", 1 << 20),
        ca_file=query.get("ssl_ca_certs", ""),
    )
    if scheme == "unix":
        if not parts.path:
            raise ValueError("expected unix:///path/to/redis.sock")
        return entering._replace(path=parts.path)
    service, database = "", parts.path.strip("/")
    port = DEFAULT_PORT
    if scheme == "redis+sentinel":
        service, _, database = database.partition("/")
        port = SENTINEL_PORT
        if not service:
            raise ValueError("names no service; expected redis+sentinel://host:26379/mymaster")
    if database:
        entering = entering._replace(database=_number(database, "the database", 1 << 20))
    hosts = tuple(_host(text, port) for text in netloc.split(","))
    if len(hosts) > 1 and scheme != "redis+sentinel":
        raise ValueError("takes one host; any node of a cluster will do")
    return entering._replace(hosts=hosts, service=service)


def _host(text: str, default: int) -> tuple[str, int]:
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = rest.removeprefix(":")
    else:
        host, _, port = text.partition(":")
    if not host:
        raise ValueError("names no host; expected something like redis://127.0.0.1:6379")
    return host, _number(port, "the port", 65535) if port else default


def _number(text: str, what: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"{what} must be a number up to {most}")
    return int(text)
