"""The dashboard's files, read once and kept: nothing is fetched from anywhere else."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib import resources
from importlib.resources.abc import Traversable
from typing import NamedTuple

from app.core.asgi import Scope, Send, body_message, start_message
from app.core.errors import HeaderList, NotFound
from app.core.exchange import exchange_of
from app.routes.dashboard.guard import quietly

PAGE = "index.html"
TYPES = {
    "html": b"text/html; charset=utf-8",
    "js": b"text/javascript; charset=utf-8",
    "css": b"text/css; charset=utf-8",
    "svg": b"image/svg+xml",
    "md": b"text/markdown; charset=utf-8",
}
CSP = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    b"img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
SECURITY: HeaderList = [
    (b"content-security-policy", CSP),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
]


class File(NamedTuple):
    body: bytes
    kind: bytes
    tag: bytes


class Pages:
    """Answers with a file of a folder, ``static`` here; browsers ask each time whether theirs is good."""

    def __init__(self, folder: Traversable | None = None) -> None:
        own = resources.files(__package__ or "").joinpath("static")
        self._files = _files(own if folder is None else folder, "")

    async def send(self, name: str, scope: Scope, send: Send) -> None:
        """Answer with the file of this name. Raises NotFound."""
        file = self._files.get(name or PAGE)
        if file is None:
            raise NotFound("There is nothing at this path.", retryable=False)
        exchange = exchange_of(scope)
        known = exchange.headers.get(b"if-none-match") == file.tag
        headers = [*SECURITY, (b"etag", file.tag), (b"cache-control", b"no-cache")]
        body = b"" if known or scope["method"] == "HEAD" else file.body
        if not known:
            headers.append((b"content-type", file.kind))
            headers.append((b"content-length", b"%d" % len(file.body)))
        send = quietly(exchange, send)
        await send(start_message(304 if known else 200, headers))
        await send(body_message(body))


def _files(folder: Traversable, before: str) -> Mapping[str, File]:
    found: dict[str, File] = {}
    for one in folder.iterdir():
        if one.is_dir():
            found |= _files(one, f"{before}{one.name}/")
        else:
            body = one.read_bytes()
            tag = b'"%s"' % hashlib.sha256(body).hexdigest()[:20].encode()
            kind = TYPES.get(one.name.rpartition(".")[2], b"application/octet-stream")
            found[before + one.name] = File(body, kind, tag)
    return found
