"""Recorded answers, given by a scripted server over real sockets."""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

from tests.harness.exchange import Request, Script, Wire, head
from tests.harness.recordings import Recording

MEDIA = {"bedrock.converse": "application/vnd.amazon.eventstream"}


def replaying(recording: Recording, pieces: int = 1) -> Script:
    """A script that gives a recording's answer, a stream in so many pieces cut at random."""

    async def script(request: Request, wire: Wire) -> None:
        if not recording.stream or recording.status != 200:
            await wire.answer(recording.body, recording.status, recording.headers.items())
            return
        media = MEDIA.get(recording.endpoint, "text/event-stream")
        await wire.send(head(200, [("transfer-encoding", "chunked")], kind=media))
        for piece in cut(recording.body, pieces):
            await wire.packet(piece)
        await wire.end_stream()

    return script


def cut(body: bytes, pieces: int) -> Sequence[bytes]:
    """The body in at most so many pieces, cut at places that are the same in every run."""
    chance = random.Random(len(body))
    edges = sorted({0, len(body), *(chance.randrange(len(body)) for _ in range(pieces - 1))})
    return [body[start:end] for start, end in itertools.pairwise(edges)]
