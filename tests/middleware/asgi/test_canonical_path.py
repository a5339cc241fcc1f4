"""Which spellings of a path lead somewhere."""

from __future__ import annotations

from typing import Any

import pytest

from app.routes.admin.door import ManagementDoor
from middleware.asgi.canonical_path import CanonicalPath


def layer(app: Any) -> CanonicalPath:
    return CanonicalPath(
        app,
        otherwise=ManagementDoor(None, {}),
        paths=["/v1/completions", "/v1/models"],
        mounts=["/v1/models"],
    )


@pytest.mark.parametrize(
    "path",
    [
        b"/v1/completions",
        b"/v1/models",
        b"/v1/models/a",
        b"/v1/models/org/a",
        b"/v1/models/org%2Fa",
        b"/v1/models/org%2fa%20b%3A%C3%A9",
        b"/v1/models/a.b-c_d~e",
        b"/v1/models/..",
    ],
)
def test_a_known_path_and_what_is_below_a_mount_pass(run: Any, path: bytes) -> None:
    assert run(raw_path=path).through(layer).inner == 1


@pytest.mark.parametrize(
    "path",
    [
        b"",
        b"*",
        b"/",
        b"//v1/completions",
        b"/v1//completions",
        b"/v1/completions/",
        b"/v1/completions//",
        b"/v1/%63ompletions",
        b"/v1/completion%73",
        b"/v1%2Fcompletions",
        b"/V1/completions",
        b"/v1/./completions",
        b"/v1/x/../completions",
        b"/v1/completions/x",
        b"/v1/completions;x",
        b"/v1/completions%3F",
        b"/v1/completions%00",
        b"/v1/models/",
        b"//v1/models/a",
        b"/v1//models/a",
        b"/v1/model%73/a",
        b"/v1/modelsx",
        b"/v1/models%2Fa",
    ],
)
def test_another_spelling_leads_nowhere(run: Any, path: bytes) -> None:
    done = run(raw_path=path).through(layer)
    assert (done.status, done.error["code"], done.inner) == (404, "not_found", 0)
    assert done.exchange.outcome.error_code == "not_found"


UNRESERVED = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~"


@pytest.mark.parametrize("code", range(256))
def test_an_escape_below_a_mount_must_be_needed(run: Any, code: int) -> None:
    for escape in (b"%%%02x" % code, b"%%%02X" % code):
        done = run(raw_path=b"/v1/models/a" + escape).through(layer)
        assert done.inner == (chr(code) not in UNRESERVED)
