"""A caller without a socket: it gives a gateway's ASGI application requests, one after the other."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from bench.failure import BenchFailureError
from bench.requests import PATHS, Operation, headers

Message = MutableMapping[str, Any]
App = Callable[[Any, Any, Any], Awaitable[None]]


class Caller:
    """One kept-alive connection. Its scopes are those that Granian makes.

    ``upstream`` is told of each chunk that arrived, because it waits with the next one: so chunks
    come one by one, however slow this process is.
    """

    def __init__(self, app: App, key: str, upstream: tuple[str, int]) -> None:
        self._app = app
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._upstream = upstream
        self._head = [(b"host", b"127.0.0.1:8080"), (b"accept", b"*/*")]
        self._head += [(name.encode(), value.encode()) for name, value in headers(key).items()]
        self.status = 0
        self.answer: list[bytes] = []

    async def post(self, body: bytes, status: int, operation: Operation = "completions") -> bytes:
        """The answer's whole body. Raises BenchFailureError where its status is another one."""
        self.status, self.answer = 0, []
        left: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Message:
            return messages.pop() if messages else await left

        await self._app(self._scope(len(body), PATHS[operation]), receive, self._send)
        answer = b"".join(self.answer)
        if self.status != status:
            raise BenchFailureError(f"answered {self.status}, not {status}: {answer[:300]!r}")
        return answer

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        else:
            self.answer.append(message.get("body", b""))
            if message.get("more_body"):
                self._socket.sendto(b"next", self._upstream)

    def _scope(self, length: int, path: str) -> dict[str, Any]:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "server": ("127.0.0.1", 8080),
            "client": ("127.0.0.1", 40000),
            "scheme": "http",
            "method": "POST",
            "root_path": "",
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": [*self._head, (b"content-length", b"%d" % length)],
            "extensions": {},
            "state": {},
        }


class Lifespan:
    """Starts and stops an application, as a server does."""

    def __init__(self, app: App) -> None:
        self._app = app
        self._asked: asyncio.Queue[Message] = asyncio.Queue()
        self._said: asyncio.Queue[Message] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope = {"type": "lifespan", "state": {}}
        running = self._app(scope, self._asked.get, self._said.put)
        self._task = asyncio.ensure_future(running)
        await self._ask("startup")

    async def __aexit__(self, *_: object) -> None:
        await self._ask("shutdown")
        await self._task

    async def _ask(self, what: str) -> None:
        await self._asked.put({"type": f"lifespan.{what}"})
        said = await self._said.get()
        if said["type"] != f"lifespan.{what}.complete":
            raise BenchFailureError(f"{what} failed: {said}")
