"""What a caller wants of the cache: its request headers, read once.

``no-cache`` asks anew and keeps the answer; ``no-store`` may be answered from the cache but leaves
nothing there, neither stored nor shared while it runs. Source: RFC 9111, section 5.2.1.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from app.core.errors import InvalidRequest, Problem

TTL_HEADER = b"x-headgate-cache-ttl"
NAMESPACE_HEADER = b"x-headgate-cache-namespace"
THRESHOLD_HEADER = b"x-headgate-cache-threshold"
MAX_SECONDS = 10**9

_NAMESPACE = re.compile(rb"[A-Za-z0-9._-]{1,64}").fullmatch
_SHARE = re.compile(rb"0(?:\.[0-9]{1,9})?|1(?:\.0{1,9})?|\.[0-9]{1,9}").fullmatch
_WHOLE = re.compile(rb"[0-9]+").fullmatch
# A name and its argument; a comma inside quotes ends neither.
_DIRECTIVE = re.compile(rb'([^\s,="]+)\s*(?:=\s*("[^"]*"|[^",]*))?[^,]*').findall


class CacheDirectives(NamedTuple):
    """``read`` and ``write``: may the cache be looked into, may the answer be kept.

    ``max_age`` and ``ttl`` are seconds. ``only_if_cached``: better no answer than a new one.
    ``threshold`` is the least similarity that will do, where answers are found by it.
    """

    read: bool = True
    write: bool = True
    max_age: int | None = None
    only_if_cached: bool = False
    ttl: int | None = None
    namespace: str = ""
    threshold: float | None = None


DEFAULT = CacheDirectives()


def read_directives(headers: dict[bytes, bytes]) -> CacheDirectives:
    """The directives in a request's headers (names in lower case).

    Directives that a cache need not know are ignored, as RFC 9111 asks; those it knows must be
    right. Raises InvalidRequest naming every header that is not.
    """
    control = headers.get(b"cache-control")
    ttl = headers.get(TTL_HEADER)
    namespace = headers.get(NAMESPACE_HEADER)
    threshold = headers.get(THRESHOLD_HEADER)
    if control is None and ttl is None and namespace is None and threshold is None:
        return DEFAULT
    problems: list[Problem] = []
    directives = DEFAULT if control is None else _directives(control, problems)
    if ttl is not None:
        if len(ttl) > len(str(MAX_SECONDS)):
            ttl = b""
        directives = directives._replace(ttl=_seconds(ttl, TTL_HEADER.decode(), problems))
    if namespace is not None:
        if not _NAMESPACE(namespace):
            name = NAMESPACE_HEADER.decode()
            rule = "must be 1 to 64 letters, digits, dots, dashes or underscores"
            problems.append(Problem(name, f"`{name}` {rule}."))
        else:
            directives = directives._replace(namespace=namespace.decode())
    if threshold is not None:
        if not _SHARE(threshold):
            name = THRESHOLD_HEADER.decode()
            problems.append(Problem(name, f"`{name}` needs a number from 0 to 1."))
        else:
            directives = directives._replace(threshold=float(threshold))
    if problems:
        raise InvalidRequest.of(problems)
    return directives


def asks_only_cached(headers: dict[bytes, bytes]) -> bool:
    """Whether a request that nothing is cached for must not go on."""
    control = headers.get(b"cache-control")
    return control is not None and _directives(control, []).only_if_cached


def _directives(control: bytes, problems: list[Problem]) -> CacheDirectives:
    directives = DEFAULT
    for name, value in _DIRECTIVE(control.lower()):
        if name == b"no-cache":
            directives = directives._replace(read=False)
        elif name == b"no-store":
            directives = directives._replace(write=False)
        elif name == b"only-if-cached":
            directives = directives._replace(only_if_cached=True)
        elif name == b"max-age":
            age = _seconds(value.strip(b'" '), "cache-control", problems)
            if age is not None:
                known = directives.max_age
                directives = directives._replace(max_age=age if known is None else min(known, age))
    return directives


def _seconds(text: bytes, header: str, problems: list[Problem]) -> int | None:
    text = text.strip()
    if _WHOLE(text):
        # RFC 9111, section 1.2.2: what is too large counts as the largest that we can think of.
        return MAX_SECONDS if len(text) > len(str(MAX_SECONDS)) else min(int(text), MAX_SECONDS)
    problems.append(Problem(header, f"`{header}` needs a whole number of seconds."))
    return None
