"""From files to chunks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.retrieval.chunk import EVERYONE, Chunk
from app.retrieval.documents import (
    MAX_CHARACTERS,
    Audience,
    BadDocument,
    files_of,
    generation_of,
    pieces_of,
    read_chunks,
)


def chunks(path: Path, *tenants: str, keys: tuple[str, ...] = (EVERYONE,)) -> list[Chunk]:
    return list(read_chunks(path, Audience(tenants or (EVERYONE,), keys)))


def jsonl(folder: Path, *lines: Any) -> Path:
    path = folder / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


@given(st.text(st.sampled_from("ab .\n!"), max_size=6000))
def test_pieces_lose_no_word_and_are_never_too_long(text: str) -> None:
    pieces = list(pieces_of(text))
    assert all(0 < len(piece) <= MAX_CHARACTERS for piece in pieces)
    assert "".join("".join(pieces).split()) == "".join(text.split())


def test_paragraphs_stay_whole_where_they_fit() -> None:
    assert list(pieces_of("one\n\ntwo\n \n\nthree")) == ["one\n\ntwo\n\nthree"]
    long = "x" * 700
    assert list(pieces_of(f"{long}\n\n{long}")) == [long, long]


def test_a_file_is_cut_under_its_name_for_each_tenant(tmp_path: Path) -> None:
    path = tmp_path / "a.md"
    path.write_text("text")
    found = chunks(path, "acme", "other", keys=("web",))
    assert found == [
        Chunk("a.md#1", "text", "a.md", 0.0, one, ("web",)) for one in ("acme", "other")
    ]


def test_a_line_says_its_chunk_itself(tmp_path: Path) -> None:
    said = {"text": "t", "id": "x", "source": "s", "tenant": "acme", "keys": ["web"]}
    path = jsonl(tmp_path, said, {"text": "u"})
    assert chunks(path) == [
        Chunk("x", "t", "s", 0.0, "acme", ("web",)),
        Chunk("a.jsonl#2", "u", "a.jsonl"),
    ]


@pytest.mark.parametrize("line", [{"text": "t", "tenant": "other"}, {"text": "t", "keys": ["ci"]}])
def test_a_line_cannot_widen_whom_its_file_is_for(line: dict[str, Any], tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="line 1: names a"):
        chunks(jsonl(tmp_path, line), "acme", keys=("web",))


@pytest.mark.parametrize("line", [{}, {"text": ""}, {"text": 1}, {"text": "t", "other": 1}, []])
def test_a_wrong_line_is_named(line: Any, tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="line 2: expected"):
        chunks(jsonl(tmp_path, {"text": "t"}, line))


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadDocument, match="no such file"):
        files_of([str(tmp_path / "*.md")])
    with pytest.raises(BadDocument, match="cannot be read"):
        chunks(tmp_path / "gone.md")
    (tmp_path / "b.md").write_bytes(b"\xff")
    with pytest.raises(BadDocument, match="not UTF-8"):
        chunks(tmp_path / "b.md")


def test_a_generation_changes_with_anything_in_it() -> None:
    one = Chunk("a", "t", "s")
    others = [one._replace(text="u"), one._replace(keys=("web",)), one._replace(tenant="acme")]
    assert len({generation_of([chunk]) for chunk in (one, *others)}) == 4
    assert generation_of([one]) == generation_of([Chunk("a", "t", "s")])
