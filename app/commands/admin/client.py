"""A client of the admin API: one request a call, and errors as a person reads them."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

CALL_SECONDS = 30.0
MAX_ANSWER_BYTES = 16 << 20
PAGE = 200


class Answered(NamedTuple):
    """A good answer: its document, and the revision of the object in it."""

    document: Any
    etag: str | None


class AdminError(Exception):
    """The API refused, or did not answer; the text says what and, where known, what would help."""


class AdminClient:
    """The API behind ``base`` (a management listener), asked with an admin key."""

    def __init__(self, base: str, key: str) -> None:
        """Raises AdminError for what is no address."""
        if not base.startswith(("http://", "https://")):
            raise AdminError(f"--url: {base!r} must begin with http:// or https://")
        self._base = base.rstrip("/").removesuffix("/admin/v1")
        self._key = key
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | None = None,
        query: Mapping[str, Any] | None = None,
        if_match: str | None = None,
    ) -> Answered:
        """One call. Raises AdminError."""
        url = f"{self._base}/admin/v1{path}"
        given = {name: value for name, value in (query or {}).items() if value is not None}
        if given:
            url += "?" + urllib.parse.urlencode(given)
        headers = {"authorization": f"Bearer {self._key}"}
        data = json.dumps(body).encode() if body is not None else None
        if data is not None:
            headers["content-type"] = "application/json"
        if if_match is not None:
            headers["if-match"] = if_match
        request = urllib.request.Request(url, data, headers, method=method)  # noqa: S310 - checked
        return self._send(request)

    def _send(self, request: urllib.request.Request) -> Answered:
        try:
            with self._opener.open(request, timeout=CALL_SECONDS) as response:
                text = response.read(MAX_ANSWER_BYTES)
                etag = response.headers.get("etag")
        except urllib.error.HTTPError as error:
            with error:
                raise AdminError(_told(error.code, error.read(MAX_ANSWER_BYTES))) from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            told = getattr(reason, "strerror", None) or reason
            raise AdminError(
                f"{self._base}: {told}; is `server.management` there, and --url right?"
            ) from None
        try:
            return Answered(json.loads(text) if text else None, etag)
        except ValueError:
            raise AdminError(f"{self._base} does not answer as an admin API does") from None

    def listed(
        self, path: str, query: Mapping[str, Any] | None = None, most: int | None = None
    ) -> Iterator[dict[str, Any]]:
        """Every entry of a list, page by page, or the first ``most``. Raises AdminError."""
        cursor, count = None, 0
        while True:
            asked = {**(query or {}), "limit": min(PAGE, most or PAGE), "cursor": cursor}
            page = self.ask("GET", path, query=asked).document
            for entry in page["data"]:
                yield entry
                count += 1
                if count == most:
                    return
            cursor = page["next_cursor"]
            if cursor is None:
                return


def quoted(name: str) -> str:
    """A name as a part of a path."""
    return urllib.parse.quote(name, safe=":")


def _told(status: int, text: bytes) -> str:
    """A refusal in its own words, every problem on a line."""
    try:
        error = json.loads(text)["error"]
        problems = [one["message"] for one in error.get("details") or ()] or [error["message"]]
        return "\n".join(problems)
    except (ValueError, KeyError, TypeError):
        if status == 404:
            return "404: no admin API there; `admin.keys` in the configuration turns it on"
        return f"the answer was {status}, and not the admin API's"
