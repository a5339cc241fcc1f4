"""Rules beyond a network: a signed webhook, and an endpoint of OpenAI's moderation shape.

What they are sent is bounded, and what they answer is believed only in the agreed form.
Sources: the webhook's form is docs/guardrails.md's; OpenAI's API reference, "Moderations".
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Sequence
from time import monotonic, time
from typing import Annotated, Any, Literal

import msgspec
import orjson

from app.core.errors import HeaderList, UpstreamError
from app.guardrails.rule import Asked, Remote, RemoteFailure, Verdict

# Sends a body and gives the answer's; raises UpstreamError.
Post = Callable[[bytes, HeaderList], Awaitable[bytes]]

MOST_FAILURES = 5  # in a row, after which a rule is not asked for a while
REST_SECONDS = 5.0
MAX_ENTITY = 64


class _Answer(msgspec.Struct):
    action: Literal["allow", "block", "redact"]
    texts: list[str] | None = None
    reason: Annotated[str, msgspec.Meta(max_length=4096)] = ""


class _Result(msgspec.Struct):
    flagged: bool
    categories: dict[str, bool] = {}
    category_scores: dict[str, float] = {}


class _Results(msgspec.Struct):
    results: list[_Result]


_UNSAFE = re.compile(r"[^\w/.-]")
_answer_of = msgspec.json.Decoder(_Answer).decode
_results_of = msgspec.json.Decoder(_Results).decode


class Guarded:
    """Asks a rule within its deadline, and leaves it alone for a while when it fails again and again."""

    def __init__(self, ask: Remote, deadline: float) -> None:
        self._ask = ask
        self._deadline = deadline
        self._failures = 0
        self._rests_until = 0.0

    async def __call__(self, asked: Asked, texts: Sequence[str]) -> Verdict:
        if monotonic() < self._rests_until:
            raise RemoteFailure("breaker_open")
        try:
            async with asyncio.timeout(self._deadline):
                verdict = await self._ask(asked, texts)
        except TimeoutError:
            self._failed()
            raise RemoteFailure("timeout") from None
        except RemoteFailure:
            self._failed()
            raise
        self._failures = 0
        return verdict

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= MOST_FAILURES:
            self._rests_until = monotonic() + REST_SECONDS
            self._failures = MOST_FAILURES - 1  # one trial after the rest


def webhook(post: Post, secret: str, now: Callable[[], float] = time) -> Remote:
    """A rule of the operator's own. The signature is HMAC-SHA256 over the time and the body."""

    async def ask(asked: Asked, texts: Sequence[str]) -> Verdict:
        body = orjson.dumps({"id": asked.request_id, **_facts(asked), "texts": list(texts)})
        stamp = str(int(now()))
        signed = hmac.new(secret.encode(), f"{stamp}.".encode() + body, hashlib.sha256)
        headers = [
            (b"x-headgate-timestamp", stamp.encode()),
            (b"x-headgate-signature", f"sha256={signed.hexdigest()}".encode()),
        ]
        try:
            answer = _answer_of(await _posted(post, body, headers))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RemoteFailure("invalid_answer") from None
        if answer.action == "redact" and len(answer.texts or ()) != len(texts):
            raise RemoteFailure("wrong_count")
        return Verdict(answer.action, answer.texts or (), "")

    return ask


def moderation(
    post: Post, model: str, categories: Sequence[str], threshold: float | None
) -> Remote:
    """OpenAI's moderation endpoint, or one in its shape.

    Without ``categories`` whatever is flagged counts; a ``threshold`` is over their scores.
    """

    async def ask(asked: Asked, texts: Sequence[str]) -> Verdict:
        body = orjson.dumps({"model": model, "input": list(texts)})
        try:
            results = _results_of(await _posted(post, body, [])).results
        except (msgspec.MsgspecError, UnicodeDecodeError):
            raise RemoteFailure("invalid_answer") from None
        if len(results) != len(texts):
            raise RemoteFailure("wrong_count")
        for result in results:
            found = _category(result, categories, threshold)
            if found is not None:
                return Verdict("block", entity=_UNSAFE.sub("_", found[:MAX_ENTITY]))
        return Verdict("allow")

    return ask


def _category(result: _Result, categories: Sequence[str], threshold: float | None) -> str | None:
    """The category for which a text is refused."""
    if threshold is not None:
        high = [name for name, score in result.category_scores.items() if score >= threshold]
    else:
        high = [name for name, is_so in result.categories.items() if is_so]
        if result.flagged and not high:
            high = ["flagged"]
    return next((name for name in high if not categories or name in categories), None)


async def _posted(post: Post, body: bytes, headers: HeaderList) -> bytes:
    try:
        return await post(body, headers)
    except UpstreamError as error:
        raise RemoteFailure(error.code or "failed") from None


def _facts(asked: Asked) -> dict[str, Any]:
    return {
        "phase": asked.phase,
        "tenant": asked.tenant,
        "key": asked.key,
        "model": asked.model,
        "route": asked.route,
    }
