"""GET /docs: the reference with a form to try it, and the pages, each with its Markdown beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from importlib import resources
from pathlib import Path

from app.core.asgi import ASGIApp, Receive, Scope, Send, body_message, start_message
from app.core.errors import GatewayError, NotFound
from app.core.exchange import exchange_of
from app.core.refusal import refuse
from app.routes.dashboard.pages import SECURITY, Pages
from app.routes.openapi.operations import OPERATIONS

PATH, BELOW, LLMS_PATH = "/docs", "/docs/", "/llms.txt"
TRY = "/docs/try"
INDEX = "README.md"
FOLDER = Path(__file__).resolve().parents[3] / "docs"  # in a wheel too
SUMMARY = (
    "An edge gateway for LLM completions: it authenticates calls, keeps them to their limits and "
    "budgets, answers from a cache, and routes to providers. OpenAI's API in front."
)
# What the form may ask: the callers' operations that have no name in their path.
CALLS = {o.path: o.method for o in OPERATIONS if "{" not in o.path}
_ENTRY = re.compile(r"\]\((?!https?:|/)([A-Za-z-]+\.md)")
_OUTSIDE = re.compile(r"\]\(\.\./([^)]+)\)")


class Docs:
    """Everything under /docs, and /llms.txt. ``metered`` has a request recorded.

    A call from the page's form goes to ``callers``, the callers' chain, with the key that was typed in:
    under its limits, at its cost.
    """

    def __init__(self, metered: Callable[[ASGIApp], ASGIApp], callers: ASGIApp) -> None:
        self._pages = Pages(resources.files(__package__ or "").joinpath("static"))
        self._texts: Mapping[str, bytes] | None = None
        self._own = metered(self._answer)
        self._callers = callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope["path"]
        if path.startswith(f"{TRY}/"):
            await self._try(path.removeprefix(TRY), scope, receive, send)
        else:
            await self._own(scope, receive, send)

    async def _answer(self, scope: Scope, _: Receive, send: Send) -> None:
        path: str = scope["path"]
        try:
            if path == LLMS_PATH:
                await _text(send, self._text(INDEX), b"text/plain; charset=utf-8")
            elif path.endswith(".md"):
                text = self._text(path.removeprefix(BELOW))
                await _text(send, text, b"text/markdown; charset=utf-8")
            else:
                await self._pages.send(path.removeprefix(PATH).removeprefix("/"), scope, send)
        except GatewayError as error:
            await refuse(exchange_of(scope), send, error)

    async def _try(self, path: str, scope: Scope, receive: Receive, send: Send) -> None:
        if CALLS.get(path) != scope["method"]:
            error = NotFound("The form asks nothing at this path.", retryable=False)
            await refuse(exchange_of(scope), send, error)
            return
        scope["path"], scope["raw_path"] = path, path.encode()
        await self._callers(scope, receive, send)

    def _text(self, name: str) -> bytes:
        """A page by its name, from those that there are. Raises NotFound."""
        if self._texts is None:
            self._texts = read_pages(FOLDER)
        text = self._texts.get(name)
        if text is None:
            raise NotFound("There is no page of this name; see /llms.txt.", retryable=False)
        return text


def read_pages(folder: Path) -> dict[str, bytes]:
    """Every page by its name. The index is what /llms.txt shows: its links are paths of ours.

    Source: the form of llms.txt, as llmstxt.org has it: a heading, a summary, lists of links.
    """
    pages = {file.name: file.read_bytes() for file in sorted(folder.glob("*.md"))}
    index = pages.get(INDEX, b"").decode()
    heading, _, rest = index.partition("\n")
    links = _ENTRY.sub(rf"]({BELOW}\1", _OUTSIDE.sub(r"](\1)", rest))
    pages[INDEX] = f"{heading}\n\n> {SUMMARY}\n{links}".encode()
    return pages


async def _text(send: Send, body: bytes, kind: bytes) -> None:
    headers = [*SECURITY, (b"content-type", kind), (b"content-length", b"%d" % len(body))]
    await send(start_message(200, [*headers, (b"cache-control", b"no-cache")]))
    await send(body_message(body))
