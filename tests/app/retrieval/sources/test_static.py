"""Files in memory: whose chunks are seen by whom, and what a reload embeds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.retrieval.chunk import (
    EVERYONE,
    Chunk,
    Embedded,
    Question,
    RetrievalFailure,
    Wanted,
)
from app.retrieval.documents import Audience
from app.retrieval.sources.static import Embeddings, Kept, StaticSource
from tests.harness.chain import in_loop

NAMES = ["acme", "other", "third", EVERYONE]
KEYS = st.lists(st.sampled_from(["web", "ci", "far", EVERYONE]), min_size=1, max_size=2).map(tuple)


class Lengths:
    """An encoder by length; counts what it was asked for."""

    identity = "lengths"

    def __init__(self) -> None:
        self.texts: list[str] = []

    async def vectors(self, texts: Sequence[str]) -> Embedded:
        self.texts += texts
        return Embedded([vector(len(text)) for text in texts])


def vector(angle: float) -> bytes:
    return np.array([np.cos(angle), np.sin(angle)], dtype="<f4").tobytes()


def source_of(folder: Path, encoder: Lengths, kept: Kept, *audiences: Audience) -> StaticSource:
    groups = [((str(folder / "*.md"),), one) for one in audiences or (Audience(),)]
    return StaticSource("handbook", groups, encoder, kept)


def holding(chunks: list[Chunk], encoder: Lengths, kept: Kept) -> StaticSource:
    """A source with these chunks, each in the direction of its score."""
    source = StaticSource("handbook", [], encoder, kept)
    rows = np.frombuffer(b"".join(vector(one.score) for one in chunks), dtype="<f4")
    source._embeddings = Embeddings("g", chunks, rows.reshape(len(chunks), 2))
    return source


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), KEYS, st.floats(0, 3)), min_size=1, max_size=30),
    st.sampled_from(NAMES[:3]),
    st.sampled_from(["web", "ci"]),
    st.integers(1, 8),
    st.floats(0, 3),
)
def test_nobody_sees_what_is_not_for_them_and_all_of_what_is_nearest(
    owners: list[tuple[str, tuple[str, ...], float]], tenant: str, key: str, k: int, angle: float
) -> None:
    chunks = [
        Chunk(str(place), "t", "s", at, whose, keys)
        for place, (whose, keys, at) in enumerate(owners)
    ]
    source = holding(chunks, Lengths(), Kept())
    asked = Question("q", vector(angle))
    found = in_loop(lambda: source.find(asked, Wanted(tenant, key, k)))
    allowed = [one for one in chunks if one.is_for(tenant, key)]
    assert all(one.tenant in (tenant, EVERYONE) for one in found)
    assert all(EVERYONE in one.keys or key in one.keys for one in found)
    assert len(found) == min(k, len(allowed))
    best = sorted((np.cos(one.score - angle) for one in allowed), reverse=True)[: len(found)]
    assert sorted((one.score for one in found), reverse=True) == pytest.approx(best, abs=1e-5)


def test_a_reload_embeds_only_what_changed(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one")
    encoder, kept = Lengths(), Kept()
    for _ in range(2):
        in_loop(source_of(tmp_path, encoder, kept).prepare)
        kept.forget_unused()
    assert encoder.texts == ["one"]
    (tmp_path / "a.md").write_text("other")
    in_loop(source_of(tmp_path, encoder, kept).prepare)
    kept.forget_unused()
    assert encoder.texts == ["one", "other"]
    (tmp_path / "a.md").write_text("one")  # forgotten by now
    in_loop(source_of(tmp_path, encoder, kept).prepare)
    assert encoder.texts == ["one", "other", "one"]


def test_the_same_file_for_two_tenants_is_two_chunks(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("one")
    source = source_of(tmp_path, Lengths(), Kept(), Audience(("acme", "other")))
    in_loop(source.prepare)
    for tenant, count in (("acme", 1), ("other", 1), ("third", 0)):
        asked = Question("q", vector(0))
        found = in_loop(
            lambda asked=asked, tenant=tenant: source.find(asked, Wanted(tenant, "k", 9))
        )
        assert len(found) == count


def test_what_is_not_ready_or_of_another_encoder_is_a_failure(tmp_path: Path) -> None:
    source = source_of(tmp_path, Lengths(), Kept())
    asked, wanted = Question("q", b"\0" * 12), Wanted("acme", "web", 3)
    with pytest.raises(RetrievalFailure, match="not_ready"):
        in_loop(lambda: source.find(asked, wanted))
    with pytest.raises(RetrievalFailure, match="no such file"):
        in_loop(source.prepare)
    (tmp_path / "a.md").write_text("one")
    in_loop(source.prepare)
    with pytest.raises(RetrievalFailure, match="dimensions"):
        in_loop(lambda: source.find(asked, wanted))


def test_files_without_a_text_find_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("\n\n")
    source = source_of(tmp_path, Lengths(), Kept())
    in_loop(source.prepare)
    assert in_loop(lambda: source.find(Question("q", vector(0)), Wanted("a", "k", 3))) == []


def test_one_id_stands_for_one_text(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "id": "x"}\n{"text": "two", "id": "x"}')
    source = StaticSource("h", [((str(tmp_path / "*.jsonl"),), Audience())], Lengths(), Kept())
    with pytest.raises(RetrievalFailure, match="'x' stands for two texts"):
        in_loop(source.prepare)


def test_an_encoder_that_fails_goes_on_where_it_ended(tmp_path: Path) -> None:
    said = "\n".join(f'{{"text": "text {number:03}"}}' for number in range(130))
    (tmp_path / "a.jsonl").write_text(said)
    encoder = Lengths()
    source = StaticSource("h", [((str(tmp_path / "a.jsonl"),), Audience())], encoder, Kept())

    class Failing(Lengths):
        async def vectors(self, texts: Sequence[str]) -> Embedded:
            if len(encoder.texts) == 64:
                encoder.texts.append("")
                raise RetrievalFailure("gone")
            return await encoder.vectors(texts)

    source._encoder = Failing()
    with pytest.raises(RetrievalFailure, match="gone"):
        in_loop(source.prepare)
    in_loop(source.prepare)
    assert len(encoder.texts) == 131
