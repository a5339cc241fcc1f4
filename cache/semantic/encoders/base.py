"""What an encoder is to the rest of the house."""

from __future__ import annotations

from typing import Protocol


class Encoder(Protocol):
    """Turns a text into a vector whose cosine with another tells how near two texts are.

    ``identity`` names it and its version: vectors of different encoders never meet.
    """

    identity: str

    async def vector(self, text: str) -> bytes | None:
        """The text's unit vector, as 32-bit floats, little-endian.

        None where there is none to be had, or not in time: never an error, and never a wait that
        an answer would notice.
        """
        ...
