"""Which endpoint answers, and what it is told of the path and the query."""

from __future__ import annotations

import pytest

from app.core.errors import GatewayError, InvalidRequest, NotFound
from app.routes.admin.calls import AdminCall, AdminReply, AdminRoute
from app.routes.admin.table import RouteTable, query_of


async def nothing(call: AdminCall) -> AdminReply:
    return AdminReply()


def row(method: str, path: str) -> AdminRoute:
    return AdminRoute(method, path, "", nothing)


ROWS = [
    row("GET", "/keys"),
    row("POST", "/keys"),
    row("GET", "/keys/{id}"),
    row("POST", "/keys/{id}/rotate"),
    row("GET", "/keys/new"),
]
TABLE = RouteTable(ROWS)


@pytest.mark.parametrize(
    ("method", "path", "found", "names"),
    [
        ("GET", b"/admin/v1/keys", "/keys", {}),
        ("POST", b"/admin/v1/keys", "/keys", {}),
        ("GET", b"/admin/v1/keys/web", "/keys/{id}", {"id": "web"}),
        ("GET", b"/admin/v1/keys/new", "/keys/new", {}),
        ("GET", b"/admin/v1/keys/a%2Fb%20%C3%A9", "/keys/{id}", {"id": "a/b é"}),
        ("POST", b"/admin/v1/keys/web/rotate", "/keys/{id}/rotate", {"id": "web"}),
    ],
)
def test_a_path_leads_to_its_row(
    method: str, path: bytes, found: str, names: dict[str, str]
) -> None:
    match = TABLE.find(method, path)
    assert (match.route.path, match.names) == (found, names)


@pytest.mark.parametrize(
    "path",
    [
        b"/admin/v1",
        b"/admin/v1/",
        b"/admin/v1/keys/",
        b"/admin//v1/keys",
        b"/admin/v2/keys",
        b"/admin/v1/keys/web/rotate/",
        b"/admin/v1/keys/%ff",
        b"/admin/v1/keys/a%00",
        b"/admin/v1/keys/" + b"a" * 300,
    ],
)
def test_another_path_leads_nowhere(path: bytes) -> None:
    with pytest.raises(NotFound):
        TABLE.find("GET", path)


def test_another_method_is_told_which_ones_there_are() -> None:
    with pytest.raises(GatewayError) as refused:
        TABLE.find("DELETE", b"/admin/v1/keys")
    assert (refused.value.status, refused.value.headers[0]) == (405, (b"allow", b"GET, POST"))


def test_a_row_cannot_be_there_twice() -> None:
    with pytest.raises(ValueError, match="twice"):
        RouteTable([*ROWS, row("GET", "/keys/{name}")])


def test_a_query_names_every_member_that_is_wrong() -> None:
    assert query_of(b"limit=5&cursor=a%2Fb", ("limit", "cursor")) == {"limit": "5", "cursor": "a/b"}
    with pytest.raises(InvalidRequest) as refused:
        query_of(b"limit=5&limit=6&x=1&y", ("limit",))
    assert [problem.param for problem in refused.value.details] == ["x", "y", "limit"]
