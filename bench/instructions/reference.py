"""Work that never changes: what a step's instructions are divided by.

It is of the kind that the gateway does, so that another build of Python or of its packages moves both.
"""

import orjson

from bench.requests import COMPLETION

TURNS = 300


def run() -> None:
    """Coroutines that call each other, small objects, JSON in and out."""
    body = orjson.dumps(COMPLETION)
    for number in range(TURNS):
        _finish(_outer(body, number))


def _finish(coroutine: object) -> None:
    try:
        coroutine.send(None)  # type: ignore[attr-defined]
    except StopIteration:
        return


async def _outer(body: bytes, number: int) -> bytes:
    headers = {b"name-%d" % place: b"%d" % number for place in range(20)}
    return await _inner(body, headers)


async def _inner(body: bytes, headers: dict[bytes, bytes]) -> bytes:
    document = orjson.loads(body)
    for name, value in headers.items():
        document[name.decode()] = value.decode()
    for _ in range(10):
        await _nothing(document)
    return orjson.dumps(document)


async def _nothing(document: dict[str, object]) -> int:
    return len([name for name in document if name.startswith("name")])
