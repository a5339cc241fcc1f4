"""From files to chunks: plain text and Markdown are cut at paragraphs, JSONL says its chunks itself."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from glob import glob
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, NamedTuple

import msgspec

from app.retrieval.chunk import EVERYONE, Chunk

MAX_CHARACTERS = 1200  # of a chunk that is cut here: about 300 tokens
MAX_TEXT = 32_768  # characters of a chunk in a line of JSONL
MAX_FILE = 64 << 20  # bytes

_PARAGRAPH = re.compile(r"\n\s*\n")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n")


class BadDocument(ValueError):
    """A file that cannot be used; the text names it, and says what would be right."""


class Audience(NamedTuple):
    """Who may see the chunks of some files; a line of JSONL may name fewer, never others."""

    tenants: tuple[str, ...] = (EVERYONE,)
    keys: tuple[str, ...] = (EVERYONE,)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    """A line of JSONL."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT)]
    id: Annotated[str, msgspec.Meta(min_length=1, max_length=256)] = ""
    source: Annotated[str, msgspec.Meta(max_length=256)] = ""
    tenant: Annotated[str, msgspec.Meta(max_length=64)] = ""
    keys: list[str] = []


_line_of = msgspec.json.Decoder(_Line).decode


def files_of(patterns: Sequence[str]) -> list[Path]:
    """The files that patterns name, in order. Raises BadDocument for a pattern that names none."""
    found: dict[Path, None] = {}
    for pattern in patterns:
        paths = sorted(Path(name) for name in glob(pattern, recursive=True))  # noqa: PTH207 - it may be absolute
        files = [path for path in paths if path.is_file()]
        if not files:
            raise BadDocument(f"{pattern}: there is no such file")
        found |= dict.fromkeys(files)
    return list(found)


def read_chunks(path: Path, audience: Audience) -> Iterator[Chunk]:
    """The chunks of a file, for each tenant of the audience. Raises BadDocument."""
    try:
        if path.stat().st_size > MAX_FILE:
            raise BadDocument(f"{path}: has more than {MAX_FILE >> 20} MiB; cut it into several")
        text = path.read_text("utf-8")
    except OSError as error:
        raise BadDocument(f"{path}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise BadDocument(f"{path}: is not UTF-8 text") from None
    said = _lines(path, text, audience) if path.suffix == ".jsonl" else _cut(path.name, text)
    for chunk in said:
        for tenant in audience.tenants if chunk.tenant == EVERYONE else (chunk.tenant,):
            keys = audience.keys if chunk.keys == (EVERYONE,) else chunk.keys
            yield chunk._replace(tenant=tenant, keys=keys)


def pieces_of(text: str) -> Iterator[str]:
    """A text in pieces of at most MAX_CHARACTERS: whole paragraphs where they fit, else sentences."""
    piece = ""
    for part in _parts(text):
        joined = f"{piece}\n\n{part}" if piece else part
        if len(joined) <= MAX_CHARACTERS:
            piece = joined
        else:
            if piece:
                yield piece
            piece = part
    if piece:
        yield piece


def generation_of(chunks: Sequence[Chunk]) -> str:
    """The name of a set of chunks, which changes with anything in it."""
    digest = blake2b(digest_size=8)
    for chunk in chunks:
        digest.update(msgspec.json.encode(chunk))
    return digest.hexdigest()


def _parts(text: str) -> Iterator[str]:
    """Paragraphs, and of those that are too long sentences, and of those slices."""
    for paragraph in _PARAGRAPH.split(text):
        if len(paragraph) <= MAX_CHARACTERS:
            if paragraph.strip():
                yield paragraph.strip()
            continue
        line = ""
        for sentence in _SENTENCE.split(paragraph):
            for at in range(0, len(sentence), MAX_CHARACTERS):
                part = sentence[at : at + MAX_CHARACTERS].strip()
                if len(line) + 1 + len(part) > MAX_CHARACTERS:
                    yield line
                    line = part
                else:
                    line = f"{line} {part}".strip()
        if line:
            yield line


def _cut(name: str, text: str) -> Iterator[Chunk]:
    for number, piece in enumerate(pieces_of(text), 1):
        yield Chunk(f"{name}#{number}", piece, name)


def _lines(path: Path, text: str, audience: Audience) -> Iterator[Chunk]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        place = f"{path}, line {number}"
        try:
            said = _line_of(line)
        except msgspec.MsgspecError as error:
            raise BadDocument(
                f'{place}: expected {{"text": …}}, perhaps with id, source, tenant, keys: {error}'
            ) from None
        for what, one, allowed in (
            ("tenant", [said.tenant] if said.tenant else [], audience.tenants),
            ("key", said.keys, audience.keys),
        ):
            if EVERYONE not in allowed and not set(one) <= set(allowed):
                raise BadDocument(f"{place}: names a {what} that these files are not for")
        name = said.source or path.name
        chunk = Chunk(said.id or f"{path.name}#{number}", said.text, name)
        yield chunk._replace(tenant=said.tenant or EVERYONE, keys=tuple(said.keys) or (EVERYONE,))
