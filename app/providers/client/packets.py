"""The body of a streamed answer, packet by packet."""

from __future__ import annotations

from time import perf_counter

import httpx

from app.core.errors import UpstreamInvalid
from app.providers.base import Tally
from app.providers.client.sending import UpstreamResponse
from app.providers.client.transport_errors import broken


class Packets:
    """A streamed body as it comes: bounded, the waiting noted, errors translated.

    An iterator and not a generator, which would cost a chunk two more turns of the interpreter.
    """

    __slots__ = ("_most", "_packets", "_size", "_stream", "_tally")

    def __init__(self, response: UpstreamResponse, tally: Tally, most: int) -> None:
        self._stream = response.body
        self._packets = aiter(self._stream)
        self._tally = tally
        self._most = most
        self._size = 0

    def __aiter__(self) -> Packets:
        return self

    async def __anext__(self) -> bytes:
        """The next packet. Raises UpstreamError; whatever it raises, the body is closed."""
        began = perf_counter()
        try:
            packet = await anext(self._packets)
        except httpx.HTTPError as error:
            await self._stream.aclose()
            raise broken(error) from error
        except BaseException:
            await self._stream.aclose()
            raise
        self._tally.waited += perf_counter() - began
        self._size += len(packet)
        if self._size > self._most:
            await self._stream.aclose()
            raise UpstreamInvalid("The upstream's stream is too large.", retryable=False)
        return packet

    async def aclose(self) -> None:
        await self._stream.aclose()
