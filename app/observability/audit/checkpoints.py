"""Signed statements of how far a chain was: kept elsewhere, they show a chain that was made anew.

Ed25519 (RFC 8032) and no shared secret, so that whoever verifies cannot sign: an auditor needs
the public key only. Needs the extra ``encryption``.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from app.observability.audit.canonical import Record, canonical
from app.observability.audit.chain import SIGNED, Position, Writer, now_text
from app.observability.audit.files import ChainFile, make_folder

KIND = "checkpoint"


class Checkpoints:
    """Signs where a chain stands, and appends it to a file of the chain's own in ``folder``."""

    def __init__(self, folder: Path, writer: Writer, key: bytes, *, fresh: bool = True) -> None:
        """``key`` are the 32 bytes of a private key. Raises OSError."""
        self._writer = writer
        self._key = Ed25519PrivateKey.from_private_bytes(key)
        make_folder(folder)
        self._file = ChainFile(folder / f"{writer.name}{SIGNED}", fresh=fresh)

    def write(self, position: Position) -> bytes:
        """Sign it; the line that was appended and is on the disk now. Raises OSError."""
        said = {
            "kind": KIND,
            "time": now_text(),
            "writer": self._writer.name,
            "count": position.length,
            "tip": position.tip,
        }
        signature = b64encode(self._key.sign(canonical(said))).decode()
        line = canonical({**said, "signature": signature})
        self._file.append(line + b"\n")
        self._file.sync()
        return line

    def close(self) -> None:
        self._file.close()


class Verifier:
    """Says whether a checkpoint was signed with the private half of a key."""

    def __init__(self, key: bytes) -> None:
        """``key`` are the 32 bytes of a public key."""
        self._key = Ed25519PublicKey.from_public_bytes(key)

    def __call__(self, checkpoint: Mapping[str, Any]) -> bool:
        said = {name: value for name, value in checkpoint.items() if name != "signature"}
        try:
            signature = b64decode(str(checkpoint.get("signature")), validate=True)
            self._key.verify(signature, canonical(said))
        except (InvalidSignature, ValueError, TypeError):
            return False
        return True


def public_key(private: bytes) -> bytes:
    """The public half of a private key, 32 bytes each."""
    key = Ed25519PrivateKey.from_private_bytes(private).public_key()
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def checkpoints_in(folder: Path) -> Iterator[tuple[str, Record]]:
    """Every checkpoint in a folder, with the place where it stands; one that is no JSON is empty."""
    for path in sorted(folder.glob(f"*{SIGNED}")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                found = orjson.loads(line)
            except orjson.JSONDecodeError:
                found = {}
            yield f"{path.name}:{number}", found if isinstance(found, dict) else {}
