"""Whatever is done to a chain shows, and the report says where."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from app.observability.audit.canonical import canonical
from app.observability.audit.chain import Writer
from app.observability.audit.checkpoints import Checkpoints
from app.observability.audit.trail import Places, Trail
from tests.app.observability.audit.writing import (
    KEY,
    WRITER,
    files,
    lines,
    look,
    records,
    write_chain,
)

OTHER = Writer("edge-1", "w8", "20261121T000000Z-11111111")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("written")
    write_chain(folder).close()
    write_chain(folder, OTHER).close()
    return folder


@pytest.fixture
def audit(written: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "audit"
    shutil.copytree(written, folder)
    return folder


def edit(folder: Path) -> None:
    path = files(folder)[0]
    path.write_bytes(path.read_bytes().replace(b'"r1"', b'"r9"'))


def edit_the_last_one(folder: Path) -> None:
    path = files(folder)[-1]
    path.write_bytes(path.read_bytes().replace(b'"event":"end"', b'"event":"End"'))


def edit_the_spelling(folder: Path) -> None:
    path = files(folder)[0]
    path.write_bytes(path.read_bytes().replace(b'"request_id":"r1"', b'"request_id": "r1"'))


def delete(folder: Path) -> None:
    path = files(folder)[1]
    first, _, *rest = lines(path)
    path.write_bytes(b"".join([first, *rest]))


def reorder(folder: Path) -> None:
    path = files(folder)[1]
    first, second, third, *rest = lines(path)
    path.write_bytes(b"".join([first, third, second, *rest]))


def copy(folder: Path) -> None:
    path = files(folder)[1]
    first, second, *rest = lines(path)
    path.write_bytes(b"".join([first, second, second, *rest]))


def cut(folder: Path) -> None:
    path = files(folder)[-1]
    path.write_bytes(b"".join(list(lines(path))[:-1]))


def delete_the_last_file(folder: Path) -> None:
    files(folder)[-1].unlink()


def delete_a_file(folder: Path) -> None:
    files(folder)[1].unlink()


def delete_the_first_file(folder: Path) -> None:
    files(folder)[0].unlink()


def swap_files(folder: Path) -> None:
    first, second, *_ = files(folder)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def swap_chains(folder: Path) -> None:
    first, second = files(folder)[0], files(folder, OTHER)[0]
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)


def delete_the_chain(folder: Path) -> None:
    for path in files(folder):
        path.unlink()


def rewrite(folder: Path) -> None:
    """Make the whole chain anew with other records, every hash right."""
    delete_the_chain(folder)
    trail = Trail(WRITER, Places(folder / "log"))
    trail.write(records(12, 100))
    trail.end()


def forge(folder: Path) -> None:
    """The same, and sign it with a key of one's own."""
    rewrite(folder)
    path = folder / "signed" / f"{WRITER.name}.checkpoints"
    path.unlink()
    forged = Checkpoints(folder / "signed", WRITER, KEY[::-1])
    trail = Trail(WRITER, Places(folder / "other"))
    trail.write(records(12, 100))
    forged.write(trail.position)
    forged.close()


def go_on_after_the_end(folder: Path) -> None:
    path = files(folder)[-1]
    last = list(lines(path))[-1]
    more = orjson.loads(last) | {"seq": orjson.loads(last)["seq"] + 1}
    path.write_bytes(path.read_bytes() + canonical(more) + b"\n")


@pytest.mark.parametrize(
    ("tamper", "file", "says"),
    [
        (edit, "000001.jsonl:4", "record 2 was changed after it was written"),
        (edit_the_last_one, "000004.jsonl:2", "the chain was written anew"),
        (edit_the_spelling, "000001.jsonl:3", "is no record in canonical form"),
        (delete, "000002.jsonl:2", "record 5 is missing"),
        (reorder, "000002.jsonl:2", "record 5 is missing"),
        (copy, "000002.jsonl:3", "record 5 stands where 6 belongs"),
        (cut, "000004.jsonl:1", "record 13 is missing at the end"),
        (delete_the_last_file, "000003.jsonl:4", "records 12 to 13 are missing at the end"),
        (delete_a_file, "000003.jsonl", "files 2 to 2 of this chain are missing"),
        (delete_the_first_file, "00000000", "its first 1 files are missing"),
        (swap_files, "000001.jsonl:1", "begins as file 2 of edge-1.w7"),
        (swap_chains, "000001.jsonl:1", "begins as file 1 of edge-1.w8"),
        (delete_the_chain, ".checkpoints:4", "is missing, which this checkpoint is of"),
        (rewrite, "000001.jsonl", "the chain was written anew"),
        (forge, ".checkpoints:1", "forged or edited"),
        (go_on_after_the_end, "000004.jsonl:3", "stands behind the end of its chain"),
    ],
)
def test_what_was_done_shows_and_where(
    audit: Path, tamper: Callable[[Path], None], file: str, says: str
) -> None:
    tamper(audit)
    findings = look(audit).findings
    assert any(file in one.place and says in one.message for one in findings), findings


def test_an_untouched_log_is_right(audit: Path) -> None:
    report = look(audit)
    assert (report.findings, report.notices) == ([], [])
    assert (report.chains, report.records, report.checkpoints) == (2, 28, 8)


def test_every_byte_counts(tmp_path: Path) -> None:
    """Change any byte of a chain: it shows."""
    write_chain(tmp_path).close()
    path = files(tmp_path)[1]
    content = path.read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        path.write_bytes(changed)
        assert look(tmp_path).findings, f"byte {place} may be anything"


def test_every_line_counts(tmp_path: Path) -> None:
    """Take any line away, write any twice, change any two neighbours' places: it shows."""
    write_chain(tmp_path).close()
    for path in files(tmp_path):
        content = list(lines(path))
        for place, line in enumerate(content):
            before, after = content[:place], content[place + 1 :]
            for changed in (
                [*before, *after],
                [*before, line, line, *after],
                [*before, *after[:1], line, *after[1:]],
            ):
                path.write_bytes(b"".join(changed))
                assert changed == content or look(tmp_path).findings, (path.name, place)
        path.write_bytes(b"".join(content))
    assert look(tmp_path).findings == []


def test_without_an_end_the_loss_is_told(tmp_path: Path) -> None:
    write_chain(tmp_path, end=False).close()
    report = look(tmp_path)
    assert report.findings == []
    [notice] = report.notices
    assert "may be lost" in notice.message or "still being written" in notice.message


def test_what_no_checkpoint_covers_is_said(tmp_path: Path) -> None:
    write_chain(tmp_path).close()
    path = tmp_path / "signed" / f"{WRITER.name}.checkpoints"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:1]))
    path = files(tmp_path)[-1]
    path.write_bytes(b"".join(list(lines(path))[:-1]))
    report = look(tmp_path)
    assert report.findings == []
    assert "its last 9 records are covered by no checkpoint" in str(report.notices)
