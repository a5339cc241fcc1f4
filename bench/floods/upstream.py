"""A mock upstream whose answers are as long as asked: `python -m bench.floods.upstream --port N`.

A completion of `max_tokens` characters, each counted as a token, that no compression makes shorter.
"""

import argparse
import asyncio
import contextlib
import json
import random
from functools import lru_cache

import uvloop

from bench.processes import HOST
from bench.requests import COMPLETION

_BLOCK = "".join(random.Random(9).choices("abcdefghijklmnopqrstuvwxyz0123456789", k=1 << 17))
_READY = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"


@lru_cache(maxsize=4)
def answer(size: int) -> bytes:
    """The whole HTTP answer of so many tokens; made once, because this core is the neighbour's too."""
    text = _BLOCK * (size // len(_BLOCK)) + _BLOCK[: size % len(_BLOCK)]
    choice = {"text": text, "index": 0, "logprobs": None, "finish_reason": "length"}
    usage = {"prompt_tokens": 1, "completion_tokens": size, "total_tokens": size + 1}
    body = json.dumps({**COMPLETION, "choices": [choice], "usage": usage}).encode()
    head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
    return head.encode() % len(body) + body


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One kept-alive connection."""
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = _length(head)
            body = await reader.readexactly(length)
            writer.write(answer(json.loads(body).get("max_tokens", 16)) if length else _READY)
            await writer.drain()
    writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line[15:])
    return 0


async def _main(port: int) -> None:
    server = await asyncio.start_server(serve, HOST, port, limit=1 << 22)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Serves until it is ended."""
    parser = argparse.ArgumentParser(prog="python -m bench.floods.upstream", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvloop.run(_main(parser.parse_args().port))


if __name__ == "__main__":
    main()
