"""What the tables of the contract are made of: operations, refusals, headers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from app.openai.shown import Schema


class Refusal(NamedTuple):
    """The codes with which one status, of one type, refuses a request."""

    status: int
    type: str
    codes: tuple[str, ...]
    when: str


class Header(NamedTuple):
    """A header of an answer or of a request. ``always``: it is on every answer."""

    name: str
    meaning: str
    schema: Schema
    always: bool = False


class Parameter(NamedTuple):
    """What stands in the path or the query of an operation."""

    name: str
    place: str
    meaning: str
    schema: Schema
    example: object = None


class Reply(NamedTuple):
    """An answer that is no refusal. ``schema`` names a component; of a stream, an event's."""

    status: int
    meaning: str
    schema: str
    media: str = "application/json"


class Operation(NamedTuple):
    """One method at one path.

    ``security`` is ``key``, ``admin`` or ``none``; ``body`` names a component of the request, which may
    be left out unless ``needs_body``, and ``examples`` are whole bodies by their titles. ``refusals`` are statuses; ``headers`` are the
    names of answer headers beyond those of every answer, and ``accepts`` those of request headers.
    """

    method: str
    path: str
    id: str
    tag: str
    summary: str
    description: str
    security: str
    replies: Sequence[Reply]
    refusals: Sequence[int] = ()
    body: str | None = None
    examples: Mapping[str, object] = {}
    parameters: Sequence[Parameter] = ()
    headers: Sequence[str] = ()
    accepts: Sequence[str] = ()
    needs_body: bool = True
