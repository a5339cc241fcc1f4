"""A whole answer of the gateway, taken apart as strictly as the contract is."""

from __future__ import annotations

import json
from typing import Any

import httpx


class Reply:
    """A whole HTTP answer."""

    def __init__(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.body = response.content

    @property
    def document(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        error = self.document["error"]
        assert {"message", "type", "code", "param"} <= set(error)
        assert error["code"] is None or isinstance(error["code"], str)
        assert isinstance(error["message"], str)
        assert error["message"]
        return error

    @property
    def texts(self) -> list[str]:
        return [choice["text"] for choice in self.document["choices"]]

    @property
    def payloads(self) -> list[bytes]:
        """The events of a stream, each of which must be exactly `data: …` and an empty line."""
        *events, rest = self.body.split(b"\n\n")
        assert rest == b""
        assert all(event.startswith(b"data: ") and b"\n" not in event for event in events)
        return [event.removeprefix(b"data: ") for event in events]

    @property
    def done(self) -> bool:
        return self.payloads[-1:] == [b"[DONE]"]

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The chunks of a stream that must have ended well."""
        *payloads, done = self.payloads
        assert done == b"[DONE]"
        assert b"[DONE]" not in payloads
        return [json.loads(payload) for payload in payloads]

    def streamed_texts(self) -> dict[int, str]:
        texts: dict[int, str] = {}
        for chunk in self.chunks:
            for choice in chunk["choices"]:
                texts[choice["index"]] = texts.get(choice["index"], "") + choice["text"]
        return texts
