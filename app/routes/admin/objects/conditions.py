"""What an operator's headers ask before anything is changed: the revision, and whether it is a repetition.

Sources: RFC 9110 sections 13.1.1 and 13.1.2; draft-ietf-httpapi-idempotency-key-header-07.
"""

from __future__ import annotations

import hashlib
import re

from app.core.errors import InvalidRequest, PreconditionFailed
from app.routes.admin.calls import AdminCall
from app.routes.admin.objects.records import etag

_TAG = re.compile(rb'\s*(?:W/)?"([^"]*)"\s*')
MAX_IDEMPOTENCY_KEY = 255


def check_revision(call: AdminCall, revision: int) -> None:
    """Raises PreconditionFailed where the object is not as the headers say; 0 is one that is not there."""
    wanted = call.headers.get(b"if-match")
    if wanted is not None and not _matches(wanted, revision):
        there = f"revision {revision} is there" if revision else "there is none"
        raise PreconditionFailed(
            f"If-Match names another revision: {there}; read it again and repeat the change.",
            headers=[(b"etag", etag(revision))] if revision else None,
        )
    unwanted = call.headers.get(b"if-none-match")
    if unwanted is not None and _matches(unwanted, revision):
        raise PreconditionFailed(f"If-None-Match: revision {revision} is there already.")


def names_a_revision(call: AdminCall) -> bool:
    """Whether another operator's change in between must not be overwritten."""
    return b"if-match" in call.headers or b"if-none-match" in call.headers


def _matches(header: bytes, revision: int) -> bool:
    if not revision:
        return False
    if header.strip() == b"*":
        return True
    tags = [_TAG.fullmatch(part) for part in header.split(b",")]
    return any(tag is not None and tag[1] == str(revision).encode() for tag in tags)


def request_id_of(call: AdminCall) -> str:
    """What names this request for a repetition by the same operator; empty without the header.

    Raises InvalidRequest.
    """
    key = call.headers.get(b"idempotency-key")
    if key is None:
        return ""
    if not 0 < len(key) <= MAX_IDEMPOTENCY_KEY:
        raise InvalidRequest(
            f"`Idempotency-Key` must have 1 to {MAX_IDEMPOTENCY_KEY} characters.",
            param="Idempotency-Key",
        )
    return hashlib.sha256(call.who.id.encode() + b"\0" + key).hexdigest()


def asked_by(call: AdminCall, path: str) -> str:
    """The digest of everything that a repetition must have in common with the first request."""
    whole = b"\0".join([call.method.encode(), path.encode(), call.body])
    return hashlib.sha256(whole).hexdigest()
