"""What an upstream's refusal becomes: the status table, and its text made safe to show."""

from __future__ import annotations

import re
from collections.abc import Mapping
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

# How servers without a code of their own say that a prompt is too long: vLLM by the parameter,
# llama.cpp's own server by the type.
_LENGTH_SIGNS = frozenset({"input_tokens", "input_text", "exceed_context_size_error"})

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
    """The error that a caller gets for an upstream answer with a status other than 200."""
    wait = _retry_headers(status, headers)
    if status in (401, 403, 407):
        return UpstreamAuth("The gateway's own credentials were refused by the upstream.")
    if status == 501:
        return NotImplementedHere("The model's provider does not have this endpoint.")
    if status in (503, 529):
        return UpstreamOverloaded("The upstream is overloaded.", headers=wait)
    if status == 504:
        return UpstreamTimeout("The upstream timed out.")
    if not 400 <= status < 500:
        kind = "a redirect" if 300 <= status < 400 else f"status {status}"
        return UpstreamInvalid(f"The upstream answered with {kind}.")
    message, code, param = _read(body)
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
        retryable=status in (408, 409, 429),
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


def _retry_headers(status: int, headers: Mapping[bytes, bytes]) -> HeaderList:
    """When to try again: the upstream's word, else a second, on a status that promises one."""
    told = [
        (name, headers[name])
        for name in (b"retry-after", b"retry-after-ms")
        if _SECONDS.fullmatch(headers.get(name, b""))
    ]
    return told or ([(b"retry-after", b"1")] if status in (429, 503, 529) else [])


def _read(body: bytes) -> tuple[str | None, str | None, str | None]:
    """Message, code and param from any of the dialects that servers speak."""
    try:
        document = orjson.loads(body)
    except orjson.JSONDecodeError:
        text = body[: MAX_MESSAGE * 4].decode(errors="replace").strip()
        return (text if text and not text.startswith("<") else None), None, None
    error: Any = document
    if isinstance(document, dict):
        error = document.get("error") or document.get("detail") or document
    if isinstance(error, list):
        return _validation_list(error)
    if not isinstance(error, dict):
        return (error if isinstance(error, str) else None), None, None
    message = next(
        (error[name] for name in ("message", "detail", "msg", "error") if _text(error.get(name))),
        None,
    )
    code, param = error.get("code"), error.get("param")
    if _LENGTH_SIGNS.intersection(v for v in (param, error.get("type")) if isinstance(v, str)):
        code = "context_length_exceeded"
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
