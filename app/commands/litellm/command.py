"""Reads LiteLLM's files for ``headgate init --from-litellm``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from app.commands.files import fail
from app.commands.litellm.keys import CAPABILITIES, TENANT
from app.commands.litellm.translation import Translation, as_yaml, translate
from app.config.loading import MAX_FILE_BYTES
from app.core.keys import digest_of, new_secret


class Made(NamedTuple):
    """The text of our file, the secret of a key that was made for it, and the rest of the story."""

    text: str
    secret: str | None
    translation: Translation


def translated(file: str, keys_file: str | None) -> Made:
    """Our file for LiteLLM's; ends with 1 where one cannot be read.

    Without any key of theirs it gets a first one.
    """
    document = _read(file, yaml.safe_load)
    keys = _read(keys_file, json.loads) if keys_file is not None else None
    try:
        translation = translate(document, keys)
    except ValueError as error:
        fail(f"{file}: {error}")
    secret = None
    if not translation.document.get("keys"):
        secret = new_secret("first")
        translation.document.setdefault("tenants", {TENANT: {}})
        translation.document["keys"] = [
            {
                "id": "first",
                "tenant": next(iter(translation.document["tenants"])),
                "secret_sha256": digest_of(secret).hex(),
                "capabilities": [*CAPABILITIES],
            }
        ]
    return Made(as_yaml(translation, Path(file).name), secret, translation)


def _read(file: str, parse: Any) -> Any:
    try:
        data = Path(file).read_bytes()[: MAX_FILE_BYTES + 1]
    except OSError as error:
        fail(f"{file}: cannot be read: {error.strerror}")
    if len(data) > MAX_FILE_BYTES:
        fail(f"{file}: is larger than {MAX_FILE_BYTES} bytes")
    try:
        return parse(data)
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        where = f" from line {mark.line + 1} on" if mark is not None else ""
        fail(f"{file}: cannot be understood{where}")
