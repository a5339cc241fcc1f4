"""A routing config as Portkey's clients send it, read into a tree of targets and groups.

Whatever is not understood is refused with its place: a misspelt member may be a limit or a
guardrail, and a config says where money goes. Source: Portkey's open-source gateway 1.15.2, and
docs/portkey.md for where this differs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import orjson

from app.portkey.conditions import Mistake, Path, Query, parse_query

MAX_BYTES = 8 << 10
MAX_DEPTH = 4  # groups in each other
MAX_TARGETS = 16
MAX_ATTEMPTS = 5
MAX_HEADERS = 16
MAX_TIMEOUT_MS = 86_400_000
RETRY_CODES = frozenset({429, 500, 502, 503, 504})
FACTS = frozenset({"params.", "metadata.", "url.pathname"})

Mode = Literal["single", "loadbalance", "fallback", "conditional"]
_MODES = ("single", "loadbalance", "fallback", "conditional")
# Headers that never reach an upstream, whoever names them.
_NEVER_FORWARDED = frozenset(
    "authorization x-api-key api-key cookie set-cookie host connection keep-alive te trailer upgrade "
    "transfer-encoding content-length content-type content-encoding proxy-authorization "
    "proxy-authenticate proxy-connection expect accept-encoding".split()
)
_CREDENTIAL_WORDS = ("key", "token", "secret", "auth", "cookie", "credential", "password")
_HEADER_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+.^_`|~-")


class Retry(NamedTuple):
    """Extra calls of the same target. ``told``: wait as long as the upstream says."""

    attempts: int
    codes: frozenset[int] = RETRY_CODES
    told: bool = False


class CacheWish(NamedTuple):
    """``max_age`` is in seconds; ``semantic``: also by meaning, where the model's own setting allows."""

    semantic: bool
    max_age: int | None


class Leaf(NamedTuple):
    """One target, with everything that it inherits. ``path`` is its place: ``config.targets[0]``."""

    path: str
    name: str | None
    weight: float
    provider: str | None
    overrides: Mapping[str, Any]
    retry: Retry | None
    cache: CacheWish | None
    timeout: float | None
    host: str | None
    forward: tuple[str, ...]


class Group(NamedTuple):
    """Targets or groups under a strategy. ``codes`` is None where there is no list."""

    path: str
    name: str | None
    weight: float
    mode: Mode
    codes: frozenset[int] | None
    conditions: tuple[tuple[Query, str], ...]
    default: str | None
    members: tuple[Leaf | Group, ...]


Node = Leaf | Group


class _Inherited(NamedTuple):
    provider: str | None = None
    overrides: Mapping[str, Any] = {}
    retry: Retry | None = None
    cache: CacheWish | None = None
    timeout: float | None = None
    host: str | None = None
    forward: tuple[str, ...] = ()


def read_config(text: bytes) -> Any:
    """The JSON of a config that is sent as a whole. Raises Mistake."""
    if len(text) > MAX_BYTES:
        raise Mistake((), f"is longer than {MAX_BYTES} bytes")
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise Mistake((), f"is neither JSON nor the id of a config: {error.msg}") from None


def parse_config(document: Any) -> Node:
    """The tree of a config. Raises Mistake, whose path begins below ``config``."""
    reader = _Reader()
    return reader.node(document, (), _Inherited(), 0)


def place_text(path: Path) -> str:
    """``config.targets[1].retry``"""
    return "config" + "".join(f"[{one}]" if isinstance(one, int) else f".{one}" for one in path)


class _Reader:
    def __init__(self) -> None:
        self._targets = 0

    def node(self, value: Any, path: Path, above: _Inherited, depth: int) -> Node:
        if not isinstance(value, Mapping):
            raise Mistake(path, "expected an object")
        members = {name: member for name, member in value.items() if member is not None}
        for name in members:
            if name not in _MEMBERS:
                raise Mistake((*path, name), _why_not(name))
        own = self._own(members, path, above)
        name = _given(members, "name", path, _text)
        weight = _given(members, "weight", path, _weight)
        weight = 1.0 if weight is None else weight
        if "strategy" in members or "targets" in members:
            return self._group(members, path, own, depth, name, weight)
        self._targets += 1
        if self._targets > MAX_TARGETS:
            raise Mistake(path, f"is more than {MAX_TARGETS} targets")
        return Leaf(place_text(path), name, weight, *own)

    def _own(self, members: Mapping[str, Any], path: Path, above: _Inherited) -> _Inherited:
        """What a target has or hands on: its own members over those of the groups around it."""
        named = [_given(members, name, path, _provider) for name in ("provider", "virtual_key")]
        if None not in named and named[0] != named[1]:
            raise Mistake((*path, "virtual_key"), "names another provider than `provider`")
        overrides = _given(members, "override_params", path, _object) or {}
        _given(members, "strict_open_ai_compliance", path, _boolean)
        forward = _given(members, "forward_headers", path, _headers)
        return _Inherited(
            named[0] or named[1] or above.provider,
            {**above.overrides, **{k: v for k, v in overrides.items() if v is not None}},
            _given(members, "retry", path, _retry) or above.retry,
            _given(members, "cache", path, _cache) or above.cache,
            _given(members, "request_timeout", path, _timeout) or above.timeout,
            _given(members, "custom_host", path, _text) or above.host,
            above.forward if forward is None else forward,
        )

    def _group(
        self,
        members: Mapping[str, Any],
        path: Path,
        own: _Inherited,
        depth: int,
        name: str | None,
        weight: float,
    ) -> Group:
        if depth >= MAX_DEPTH:
            raise Mistake(path, f"groups may stand in each other {MAX_DEPTH} deep")
        targets = members.get("targets")
        if "strategy" not in members:
            raise Mistake((*path, "targets"), "needs a `strategy` beside it")
        if not isinstance(targets, list) or not targets:
            raise Mistake((*path, "targets"), "expected a list with at least one target")
        mode, codes, conditions, default = _strategy(members["strategy"], (*path, "strategy"))
        nodes = tuple(
            self.node(one, (*path, "targets", index), own, depth + 1)
            for index, one in enumerate(targets)
        )
        if mode == "loadbalance" and not any(node.weight for node in nodes):
            raise Mistake((*path, "targets"), "have weights that are all 0")
        names = {node.name for node in nodes}
        for index, (_, then) in enumerate(conditions):
            if then not in names:
                place = (*path, "strategy", "conditions", index, "then")
                raise Mistake(place, f"names no target: {then!r}")
        if default is not None and default not in names:
            raise Mistake((*path, "strategy", "default"), f"names no target: {default!r}")
        return Group(place_text(path), name, weight, mode, codes, conditions, default, nodes)


def _why_not(name: str) -> str:
    lowered = name.lower()
    if name == "api_key" or any(word in lowered for word in ("key", "secret", "token")):
        return "credentials are the operator's: a config may not bring its own"
    return "is not known here; what is not understood is not passed over"


def _given(
    members: Mapping[str, Any], name: str, path: Path, read: Callable[[Any, Path], Any]
) -> Any:
    value = members.get(name)
    return None if value is None else read(value, (*path, name))


def _known(value: Any, path: Path, names: frozenset[str]) -> dict[str, Any]:
    """The members of an object that are there. Raises Mistake for one of another name."""
    if not isinstance(value, Mapping):
        raise Mistake(path, "expected an object")
    for name in value:
        if name not in names:
            raise Mistake((*path, name), _why_not(name))
    return {name: member for name, member in value.items() if member is not None}


def _strategy(
    value: Any, path: Path
) -> tuple[Mode, frozenset[int] | None, tuple[tuple[Query, str], ...], str | None]:
    members = _known(value, path, frozenset({"mode", "on_status_codes", "conditions", "default"}))
    mode = members.get("mode")
    if mode not in _MODES:
        raise Mistake((*path, "mode"), f"expected one of {', '.join(_MODES)}")
    codes = _given(members, "on_status_codes", path, _codes)
    conditions = _given(members, "conditions", path, _conditions) or ()
    if mode == "conditional" and not conditions:
        raise Mistake((*path, "conditions"), "expected a list with at least one condition")
    return mode, codes, conditions, _given(members, "default", path, _text)


def _conditions(value: Any, path: Path) -> tuple[tuple[Query, str], ...]:
    if not isinstance(value, list):
        raise Mistake(path, "expected a list of {query, then}")
    found = []
    for index, one in enumerate(value):
        place = (*path, index)
        members = _known(one, place, frozenset({"query", "then"}))
        if "query" not in members or "then" not in members:
            raise Mistake(place, "needs a `query` and a `then`")
        query = parse_query(members["query"], FACTS, (*place, "query"))
        found.append((query, _text(members["then"], (*place, "then"))))
    return tuple(found)


def _retry(value: Any, path: Path) -> Retry:
    members = _known(
        value, path, frozenset({"attempts", "on_status_codes", "use_retry_after_header"})
    )
    attempts = members.get("attempts")
    if type(attempts) is not int or not 0 <= attempts <= MAX_ATTEMPTS:
        raise Mistake((*path, "attempts"), f"expected a whole number from 0 to {MAX_ATTEMPTS}")
    codes = _given(members, "on_status_codes", path, _codes)
    told = _given(members, "use_retry_after_header", path, _boolean)
    return Retry(attempts, RETRY_CODES if codes is None else codes, bool(told))


def _cache(value: Any, path: Path) -> CacheWish:
    members = _known(value, path, frozenset({"mode", "max_age"}))
    mode, age = members.get("mode"), members.get("max_age")
    if mode not in ("simple", "semantic"):
        raise Mistake((*path, "mode"), "expected simple or semantic")
    if age is not None and (type(age) is not int or not 0 <= age <= 10**9):
        raise Mistake((*path, "max_age"), "expected a whole number of seconds")
    return CacheWish(mode == "semantic", age)


def _codes(value: Any, path: Path) -> frozenset[int]:
    if not isinstance(value, list) or not all(
        type(code) is int and 100 <= code <= 599 for code in value
    ):
        raise Mistake(path, "expected a list of statuses such as [429, 503]")
    return frozenset(value)


def _weight(value: Any, path: Path) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10**9:
        raise Mistake(path, "expected a number, 0 or more")
    return float(value)


def _timeout(value: Any, path: Path) -> float:
    """Seconds."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Mistake(path, "expected a number of milliseconds")
    if not 0 < value <= MAX_TIMEOUT_MS:
        raise Mistake(path, f"expected a number of milliseconds, more than 0, to {MAX_TIMEOUT_MS}")
    return value / 1000


def _text(value: Any, path: Path) -> str:
    if not isinstance(value, str) or not value:
        raise Mistake(path, "expected a text")
    return value


def _provider(value: Any, path: Path) -> str:
    """A provider's name; Portkey's newer clients write ``@name``."""
    return _text(value, path).removeprefix("@")


def _boolean(value: Any, path: Path) -> bool:
    if not isinstance(value, bool):
        raise Mistake(path, "expected true or false")
    return value


def _object(value: Any, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise Mistake(path, "expected an object")
    return value


def _headers(value: Any, path: Path) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise Mistake(path, "expected a list of header names")
    return header_names(value, path)


def header_names(value: list[Any], path: Path) -> tuple[str, ...]:
    """The names that may be forwarded, of those that were asked for: no credentials, no cookies,
    nothing that is about one connection. Raises Mistake for what is no header's name, and for
    Portkey's own."""
    if len(value) > MAX_HEADERS:
        raise Mistake(path, f"names more than {MAX_HEADERS} headers")
    found = []
    for index, one in enumerate(value):
        name = _text(one, (*path, index)).strip().lower()
        if not name or not set(name) <= _HEADER_CHARACTERS:
            raise Mistake((*path, index), "is not the name of a header")
        if name.startswith(("x-portkey-", "x-headgate-")):
            raise Mistake((*path, index), f"{name!r} steers the gateway and goes no further")
        secret = any(word in name for word in _CREDENTIAL_WORDS)
        if name not in _NEVER_FORWARDED and not secret:
            found.append(name)
    return tuple(found)


_MEMBERS = frozenset(
    "strategy targets name weight provider virtual_key override_params retry cache request_timeout "
    "custom_host forward_headers strict_open_ai_compliance".split()
)
