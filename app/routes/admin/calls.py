"""What an endpoint of the admin API is given, what it answers, and its row in the table of routes."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, NamedTuple

from app.core.errors import HeaderList
from app.policy.admins import AdminKey


class AdminCall(NamedTuple):
    """One request of an operator who may make it.

    ``names`` are the parts of the path that its row leaves open, ``query`` the members of the query
    that its row knows. ``address`` is the operator's.
    """

    who: AdminKey
    method: str
    names: Mapping[str, str]
    query: Mapping[str, str]
    headers: Mapping[bytes, bytes]
    body: bytes
    address: str
    request_id: str


class AdminReply(NamedTuple):
    """A JSON document, or what ``stream`` gives as it comes; with neither, the answer has no body."""

    document: Any = None
    status: int = 200
    headers: HeaderList = []  # noqa: RUF012 - nobody changes it
    stream: AsyncIterator[bytes] | None = None


Endpoint = Callable[[AdminCall], Awaitable[AdminReply]]


class AdminRoute(NamedTuple):
    """One endpoint: ``path`` below ``/admin/v1``, a part in braces stands for any name.

    ``scope`` is what a key needs ('' where any will do), ``query`` the members that are understood.
    An endpoint raises a GatewayError to refuse.
    """

    method: str
    path: str
    scope: str
    run: Endpoint
    query: tuple[str, ...] = ()
