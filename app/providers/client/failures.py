"""What an upstream's refusal becomes: the status table, and its text made safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
from math import ceil
from time import time
from typing import Any

import orjson

from app.core.errors import (
    GatewayError,
    HeaderList,
    NotImplementedHere,
    UpstreamAuth,
    UpstreamInvalid,
    UpstreamNotFound,
    UpstreamOverloaded,
    UpstreamRefused,
    UpstreamTimeout,
)
from app.providers.client.retry_after import told_wait
from app.providers.client.too_long import too_long

MAX_MESSAGE = 2000
MIN_SECRET = 8  # a shorter configured value is no secret, and would be found everywhere

# What must not leave the house, whoever wrote it into an error text.
_SECRETS = re.compile(
    r"(?i)\b(?:bearer\s+[\w.~+/=-]+|(?:sk|pk|hg|gsk|xai|key)-[\w*.-]{6,}|AIza[\w-]{20,})"
)
_ADDRESSES = re.compile(
    r"(?i)\b[a-z][a-z0-9+.-]*://[^\s\"'<>)\]}]+"
    r"|\b\d{1,3}(?:\.\d{1,3}){3}(?::\d+)?\b"
    r"|\[[0-9a-f]*:[0-9a-f:.]+\](?::\d+)?"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){2,7}[0-9a-f]{1,4}\b"
    r"|(?<![\w:])(?:[0-9a-f]{1,4}:){1,6}(?::[0-9a-f]{1,4}){1,6}\b"
    r"|\b(?=[\w.-]*[a-z])[\w-]+(?:\.[\w-]+)*:\d{3,5}\b"
    r"|\b(?:localhost|[\w-]+(?:\.[\w-]+)*\.(?:local|internal|svc|lan|cluster\.local))(?::\d+)?\b"
)
_CODE = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_PARAM = re.compile(r"[A-Za-z_][\w.\[\]-]{0,127}")
_SECONDS = re.compile(rb"\d{1,9}(?:\.\d{1,6})?")

# What servers say of a path that they do not have, where they say more than a page of HTML:
# FastAPI (vLLM, SGLang), llama.cpp's own server, Go's (Ollama), OpenAI, Express.
_NO_SUCH_PATH = re.compile(
    r"(?i)(?:the )?(?:file |page |path |route |resource |endpoint |404 page |404:? )?not found[.!]?"
    r"|(?:invalid url|unknown (?:request )?(?:url|path|route|endpoint)"
    r"|cannot post|no route|unexpected endpoint)\b.*",
    re.DOTALL,
)

_TYPES = {429: "rate_limit_error", 404: "invalid_request_error"}
_CODES = {429: "rate_limit_exceeded", 404: "not_found", 413: "request_too_large"}


def refusal(
    status: int, headers: Mapping[bytes, bytes], body: bytes, secrets: tuple[str, ...]
) -> GatewayError:
    """The error that a caller gets for an upstream answer with a status other than 200.

    It knows the status, and how long the upstream asks to be left alone.
    """
    told = told_wait(headers, time())
    if told is None and status in (429, 503):
        told = _retry_info(_error_of(body))
    error = _refusal(status, headers, body, secrets, _retry_headers(status, told))
    error.answered, error.wait = status, told
    return error


def _refusal(
    status: int,
    headers: Mapping[bytes, bytes],
    body: bytes,
    secrets: tuple[str, ...],
    wait: HeaderList,
) -> GatewayError:
    if status in (401, 402, 403, 407):
        return UpstreamAuth("The gateway's own credentials were refused by the upstream.")
    if status == 501:
        return NotImplementedHere("The model's provider does not have this endpoint.")
    if status in (503, 529):
        return UpstreamOverloaded("The upstream is overloaded.", headers=wait)
    if status == 504 or (status == 408 and b"x-amzn-errortype" in headers):
        return UpstreamTimeout("The upstream timed out.")
    if not 400 <= status < 500 or status == 424:  # 424: the model behind Bedrock failed
        kind = "a redirect" if 300 <= status < 400 else f"status {status}"
        return UpstreamInvalid(f"The upstream answered with {kind}.")
    error = _error_of(body)
    message, code, param = _read(error)
    if _bad_key(error):
        return UpstreamAuth("The gateway's own credentials were refused by the upstream.")
    members = error.values() if isinstance(error, dict) else ()
    if too_long(status, code, members, message):
        code = "context_length_exceeded"
        status = 400
    if status == 404 and code is None and _says_no_such_path(message):
        return UpstreamNotFound("The upstream has nothing at the path that the gateway asks.")
    # A name is shown only where there is nothing in it to hide.
    code, param = (
        name if name and redact(name, secrets) == name else None for name in (code, param)
    )
    return UpstreamRefused(
        redact(message, secrets) if message else f"The upstream refused with status {status}.",
        status=status,
        type=_TYPES.get(status, "invalid_request_error"),
        code=code or _CODES.get(status, "invalid_request"),
        param=param,
        headers=wait,
        # What no waiting brings back: somebody has to pay.
        retryable=status in (408, 409, 429) and code != "insufficient_quota",
    )


def _says_no_such_path(message: str | None) -> bool:
    """Whether a 404 is about the path, which the operator chose, and not about what was asked."""
    return message is None or _NO_SUCH_PATH.fullmatch(message.strip()) is not None


def redact(text: str, secrets: tuple[str, ...] = ()) -> str:
    """The text without credentials and addresses, and bounded in length."""
    for secret in secrets:
        if len(secret) >= MIN_SECRET:
            text = text.replace(secret, "[redacted]")
    text = _ADDRESSES.sub("[address]", _SECRETS.sub("[redacted]", text))
    return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + "…"


def _retry_headers(status: int, told: float | None) -> HeaderList:
    """The upstream's word on when to try again. Without one it is a second, on a status that
    promises that waiting helps."""
    if told is not None:
        return [
            (b"retry-after", b"%d" % ceil(told)),
            (b"retry-after-ms", b"%d" % ceil(told * 1000)),
        ]
    return [(b"retry-after", b"1")] if status in (429, 503, 529) else []


def _retry_info(error: Any) -> float | None:
    """Google's word on when to try again: ``{"@type": "…RetryInfo", "retryDelay": "12.5s"}``."""
    for detail in _details(error):
        delay = detail.get("retryDelay")
        if isinstance(delay, str) and _SECONDS.fullmatch(delay.removesuffix("s").encode()):
            return float(delay.removesuffix("s"))
    return None


def _bad_key(error: Any) -> bool:
    """Whether Google refuses our key, which it does with status 400."""
    return any(detail.get("reason") == "API_KEY_INVALID" for detail in _details(error))


def _details(error: Any) -> list[dict[str, Any]]:
    listed = error.get("details") if isinstance(error, dict) else None
    return [item for item in listed if isinstance(item, dict)] if type(listed) is list else []


def _error_of(body: bytes) -> Any:
    """What a body says is wrong: an object, a list of problems, a text, or None."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: MAX_MESSAGE * 4].decode(errors="replace").strip()
        return text if text and not text.startswith("<") else None
    if type(document) is list and len(document) == 1 and isinstance(document[0], dict):
        document = document[0] if "error" in document[0] else document  # Gemini, streamed
    if not isinstance(document, dict):
        return document
    error = document.get("error") or document.get("detail") or document
    inner = error.get("message") if isinstance(error, dict) else None
    # Mistral puts FastAPI's list into its message.
    return inner.get("detail") or inner if isinstance(inner, dict) else error


def _read(error: Any) -> tuple[str | None, str | None, str | None]:
    """Message, code and param from any of the dialects that servers speak."""
    if isinstance(error, list):
        return _validation_list(error)
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else None), None, None
    message = next(
        (error[name] for name in ("message", "detail", "msg", "error") if _text(error.get(name))),
        None,
    )
    code, param = error.get("code"), error.get("param")
    return (
        message,
        code if isinstance(code, str) and _CODE.fullmatch(code) else None,
        _param(param) if isinstance(param, str) else None,
    )


def _validation_list(errors: list[Any]) -> tuple[str | None, None, str | None]:
    """FastAPI's ``[{"loc": ["body", "n"], "msg": "…"}]``."""
    texts, params = [], []
    for error in errors:
        if isinstance(error, dict) and _text(error.get("msg")):
            place = error.get("loc")
            names = [str(part) for part in place if part != "body"] if type(place) is list else []
            params.append(".".join(names))
            texts.append(f"{params[-1]}: {error['msg']}" if names else error["msg"])
    return "; ".join(texts) or None, None, _param(params[0]) if params else None


def _text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _param(value: str) -> str | None:
    name = value.removeprefix("body.")
    return name if _PARAM.fullmatch(name) else None
