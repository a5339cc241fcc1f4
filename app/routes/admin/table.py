"""Which endpoint of the admin API answers a method and a path."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, unquote_to_bytes

from app.core.errors import InvalidRequest, NotFound, Problem, Refused
from app.routes.admin.calls import AdminRoute

PREFIX = "/admin/v1"
MAX_NAME = 256


class Match(NamedTuple):
    route: AdminRoute
    names: Mapping[str, str]


class RouteTable:
    """Every endpoint, found by the parts of its path. Raises ValueError for two of one name."""

    def __init__(self, routes: Iterable[AdminRoute]) -> None:
        self._rows: dict[tuple[str, ...], dict[str, AdminRoute]] = {}
        for route in routes:
            shape = tuple("{}" if part.startswith("{") else part for part in _parts(route))
            methods = self._rows.setdefault(shape, {})
            if route.method in methods:
                raise ValueError(f"{route.method} {route.path} is there twice")
            methods[route.method] = route

    def find(self, method: str, path: bytes) -> Match:
        """Raises NotFound and Refused."""
        parts = [part.decode("latin-1") for part in path.split(b"/")[1:]]
        methods = self._methods(parts)
        if methods is None:
            raise NotFound("There is nothing at this path.", retryable=False)
        route = methods.get(method)
        if route is None:
            known = ", ".join(sorted(methods))
            raise Refused(
                f"This path answers {known} only.",
                status=405,
                code="method_not_allowed",
                headers=[(b"allow", known.encode())],
            )
        return Match(
            route,
            {
                name[1:-1]: _name(part)
                for name, part in zip(_parts(route), parts, strict=True)
                if name.startswith("{")
            },
        )

    def _methods(self, parts: list[str]) -> Mapping[str, AdminRoute] | None:
        """Rows whose parts fit; one that names every part goes before one that leaves some open."""
        fitting = [
            (shape.count("{}"), shape)
            for shape in self._rows
            if len(shape) == len(parts)
            and all(
                one in (part, "{}") and part != "" for one, part in zip(shape, parts, strict=True)
            )
        ]
        return self._rows[min(fitting)[1]] if fitting else None


def _parts(route: AdminRoute) -> list[str]:
    return (PREFIX + route.path).split("/")[1:]


def _name(part: str) -> str:
    try:
        name = unquote_to_bytes(part).decode()
    except UnicodeDecodeError:
        raise NotFound("There is nothing at this path.", retryable=False) from None
    if len(name) > MAX_NAME or not name.isprintable():
        raise NotFound("There is nothing under this name.", retryable=False)
    return name


def query_of(text: bytes, known: tuple[str, ...]) -> dict[str, str]:
    """The members of a query, each at most once. Raises InvalidRequest naming every other one."""
    pairs = parse_qsl(text.decode("latin-1"), keep_blank_values=True)
    expected = f"expected {', '.join(known)}" if known else "this endpoint takes none"
    problems = [
        Problem(name, f"`{name}` is not known here; {expected}.")
        for name in dict.fromkeys(name for name, _ in pairs)
        if name not in known
    ]
    names = [name for name, _ in pairs]
    problems += [Problem(n, f"`{n}` was sent twice.") for n in known if names.count(n) > 1]
    if problems:
        raise InvalidRequest.of(problems)
    return dict(pairs)
