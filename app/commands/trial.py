"""``headgate test``: a few calls to a running gateway, each with what it shows."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from time import perf_counter
from typing import Any, NamedTuple
from uuid import uuid4

CALL_SECONDS = 60.0
MAX_ANSWER_BYTES = 8 << 20
MAX_TOKENS = 16
# Not a key: what is shown is that a stranger is refused.
STRANGER = "hg-nobody-0000000000000000"


class Reply(NamedTuple):
    """A whole answer: its status, headers by lower-case name, body, and the seconds it took.

    ``first`` is the seconds until the first byte of the body.
    """

    status: int
    headers: dict[str, str]
    body: bytes
    first: float
    seconds: float

    def json(self) -> Any:
        try:
            return json.loads(self.body)
        except ValueError:
            return {}


class Check(NamedTuple):
    """One thing that was tried: its name, whether it went well, and what was seen."""

    name: str
    good: bool
    seen: str


class NoGateway(Exception):
    """Nothing that answers like a gateway; the text says what was seen."""


class Gateway:
    """A running gateway at ``base`` (without ``/v1``), asked with a key."""

    def __init__(self, base: str, key: str) -> None:
        self._base = base.rstrip("/").removesuffix("/v1")
        self._key = key
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def ask(self, path: str, body: dict[str, Any] | None = None, key: str | None = None) -> Reply:
        """One call. Raises NoGateway where there is no answer at all."""
        headers = {"authorization": f"Bearer {self._key if key is None else key}"}
        data = None
        if body is not None:
            data, headers["content-type"] = json.dumps(body).encode(), "application/json"
        request = urllib.request.Request(self._base + path, data, headers)  # noqa: S310 - as given
        began = perf_counter()
        try:
            try:
                response = self._opener.open(request, timeout=CALL_SECONDS)
            except urllib.error.HTTPError as error:
                response = error
            with response:
                start = response.read(1)
                first = perf_counter() - began
                whole = start + response.read(MAX_ANSWER_BYTES)
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", None) or error
            raise NoGateway(
                f"{self._base}: {getattr(reason, 'strerror', None) or reason}"
            ) from None
        named = {name.lower(): value for name, value in response.headers.items()}
        return Reply(response.status, named, whole, first, perf_counter() - began)


def try_out(gateway: Gateway, model: str | None) -> Iterator[Check]:
    """The checks, each as it is done; those that make no sense after a failure are left out.

    Raises NoGateway.
    """
    listed = gateway.ask("/v1/models")
    if listed.status != 200:
        yield Check("models", False, _problem(listed))
        return
    names = [entry["id"] for entry in listed.json().get("data", [])]
    yield Check("models", bool(names), ", ".join(names[:5]) + (" …" if len(names) > 5 else ""))
    chosen = model or (names[0] if names else "")
    if not chosen:
        return
    body = {
        "model": chosen,
        "prompt": f"Say hello ({uuid4().hex[:8]}).",  # new each time, so that no cache knows it
        "max_tokens": MAX_TOKENS,
        "temperature": 0,
    }
    plain = gateway.ask("/v1/completions", body)
    yield Check("plain", plain.status == 200, _answered(plain))
    if plain.status == 200:
        yield _repeated(gateway.ask("/v1/completions", body))
        yield _streamed(gateway.ask("/v1/completions", body | {"stream": True, "seed": 1}))
    refused = gateway.ask("/v1/models", key=STRANGER)
    yield Check("refused", refused.status == 401, f"{refused.status} for a key that is not known")


def _answered(reply: Reply) -> str:
    if reply.status != 200:
        return _problem(reply)
    usage = reply.json().get("usage") or {}
    cost = reply.headers.get("x-headgate-cost-usd")
    parts = [
        f"{reply.headers.get('x-provider')}/{reply.headers.get('x-model')}",
        f"{usage.get('prompt_tokens', 0)} + {usage.get('completion_tokens', 0)} tokens",
        _milliseconds(reply.seconds),
    ]
    return ", ".join([*parts, f"{cost} USD"] if cost else parts)


def _repeated(reply: Reply) -> Check:
    state = reply.headers.get("x-headgate-cache")
    if state is None:
        return Check(
            "repeated", reply.status == 200, "answered anew: this model has no `cache: {}`"
        )
    seen = f"cache {state}, {_milliseconds(reply.seconds)}"
    return Check("repeated", reply.status == 200 and state == "hit", seen)


def _streamed(reply: Reply) -> Check:
    if reply.status != 200:
        return Check("streamed", False, _problem(reply))
    events = reply.body.count(b"data: ")
    whole = reply.body.endswith(b"data: [DONE]\n\n")
    seen = f"{events} events, the first after {_milliseconds(reply.first)}"
    return Check("streamed", whole, seen if whole else f"{seen}; it broke off without [DONE]")


def _problem(reply: Reply) -> str:
    error = reply.json().get("error") if reply.body[:1] == b"{" else None
    if not isinstance(error, dict):
        return f"{reply.status}, and not an answer of Headgate's: is this the right address?"
    return f"{reply.status} {error.get('code')}: {error.get('message')}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"
