"""AWS Signature Version 4 for one JSON request. Pure.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import NamedTuple
from urllib.parse import quote

_ALGORITHM = "AWS4-HMAC-SHA256"
_SERVICE = "bedrock"


class Credentials(NamedTuple):
    """``session_token`` is empty for long-lived keys."""

    access_key_id: str
    secret_access_key: str
    session_token: str = ""


def signature_headers(
    credentials: Credentials, region: str, host: str, path: str, body: bytes, moment: str
) -> list[tuple[bytes, bytes]]:
    """The headers that sign a POST of ``body`` to ``path`` (as it goes on the wire, without query).

    ``moment`` is UTC in the form 20261121T183000Z. Signed are host, content type, date and token.
    """
    signed = {"content-type": "application/json", "host": host, "x-amz-date": moment}
    if credentials.session_token:
        signed["x-amz-security-token"] = credentials.session_token
    names = ";".join(sorted(signed))
    canonical = "\n".join(
        [
            "POST",
            quote(path, safe="/-_.~"),  # encoded twice: every service but S3 wants it so
            "",
            *(f"{name}:{signed[name]}" for name in sorted(signed)),
            "",
            names,
            hashlib.sha256(body).hexdigest(),
        ]
    )
    scope = f"{moment[:8]}/{region}/{_SERVICE}/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = f"{_ALGORITHM}\n{moment}\n{scope}\n{digest}"
    key = b"AWS4" + credentials.secret_access_key.encode()
    for part in (*scope.split("/"), text):
        key = hmac.digest(key, part.encode(), "sha256")
    authorization = (
        f"{_ALGORITHM} Credential={credentials.access_key_id}/{scope}, "
        f"SignedHeaders={names}, Signature={key.hex()}"
    )
    headers = [(b"authorization", authorization.encode()), (b"x-amz-date", moment.encode())]
    if credentials.session_token:
        headers.append((b"x-amz-security-token", credentials.session_token.encode()))
    return headers
