"""Is the path written as it is known here? Any other spelling leads nowhere."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Iterable, Mapping
from types import MappingProxyType

from app.core.asgi import ASGIApp, Receive, Scope, Send

# An unreserved character that is percent-encoded all the same: another spelling of the same path.
_NEEDLESS_ESCAPE = re.compile(
    rb"%(?:2[DdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9Aa]|5[Ff]|7[Ee])"
).search


class CanonicalPath:
    """Passes the known paths only, byte for byte as they came over the wire.

    Doubled slashes and needless escapes name a path that a rule of a balancer in front (deny
    ``/metrics``, say) does not match, so they must not name one of ours. ``paths`` are whole; below
    one of ``mounts`` a name follows, which may hold slashes and the escapes that it needs. What
    is asked all day stands in ``direct``, each under its whole path: it does not go through the
    framework's routing and its handling of exceptions, which cost an eighth of a cached answer.
    Every other path is for ``otherwise`` to answer: with 404, unless it is the operators'.
    Source: RFC 3986, section 6.2.2.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        otherwise: ASGIApp,
        paths: Iterable[str],
        mounts: Iterable[str] = (),
        direct: Mapping[str, ASGIApp] = MappingProxyType({}),
    ) -> None:
        self._app = app
        self._otherwise = otherwise
        self._direct = {path.encode(): one for path, one in direct.items()}
        self._paths = frozenset(path.encode() for path in paths)
        self._mounts = tuple(mount.encode() + b"/" for mount in mounts)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        path = scope["raw_path"]
        direct = self._direct.get(path)
        if direct is not None:
            return direct(scope, receive, send)
        if path in self._paths or self._is_below_a_mount(path):
            return self._app(scope, receive, send)
        return self._otherwise(scope, receive, send)

    def _is_below_a_mount(self, path: bytes) -> bool:
        return (
            path.startswith(self._mounts)
            and path not in self._mounts
            and _NEEDLESS_ESCAPE(path) is None
        )
