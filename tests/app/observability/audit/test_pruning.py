"""Old files go, with a word about it; without one their absence shows."""

from __future__ import annotations

import os
from pathlib import Path

from app.config.audit import Audit
from app.config.values.quantities import Secret
from app.observability.audit.chain import Writer
from app.observability.audit.checkpoints import Verifier, checkpoints_in, public_key
from app.observability.audit.opening import open_acts
from app.observability.audit.pruning import old_files, remove
from app.observability.audit.verify import Report, verify
from tests.app.observability.audit.writing import KEY, WRITER, files, write_chain

LATER = Writer("edge-1", "w9", "20261121T000000Z-22222222")
LONG_AGO, CUT = 1_000_000_000, 1_500_000_000


def settings(folder: Path) -> Audit:
    return Audit(
        directory=str(folder / "log"),
        replica="edge-1",
        checkpoints=str(folder / "signed"),
        signing_key=Secret(KEY.hex()),
    )


def look(folder: Path) -> Report:
    signed = checkpoints_in(folder / "signed")
    return verify([folder / "log"], signed, Verifier(public_key(KEY)))


def old_and_new(folder: Path) -> Audit:
    """A chain that is old as a whole, and one whose first two files are."""
    write_chain(folder).close()
    write_chain(folder, LATER).close()
    for path in [*files(folder), *files(folder, LATER)[:2]]:
        os.utime(path, (LONG_AGO, LONG_AGO))
    return settings(folder)


def test_a_chain_may_begin_where_an_act_says(tmp_path: Path) -> None:
    audit = old_and_new(tmp_path)
    old = old_files(audit, CUT)
    assert [len(one.files) for one in old] == [5, 2]  # with its checkpoints, and without
    open_acts(audit).record("audit.prune", {"os_user": "ada"}, after=[one.said() for one in old])
    remove(old)
    assert files(tmp_path) == []
    report = look(tmp_path)
    assert (report.findings, report.chains) == ([], 2)


def test_files_that_go_without_a_word_are_missed(tmp_path: Path) -> None:
    remove(old_files(old_and_new(tmp_path), CUT))
    places = [finding.place for finding in look(tmp_path).findings]
    assert places == [LATER.name]


def test_an_act_about_other_files_excuses_nothing(tmp_path: Path) -> None:
    audit = old_and_new(tmp_path)
    old = old_files(audit, CUT)
    open_acts(audit).record("audit.prune", {"os_user": "ada"}, after=[one.said() for one in old])
    remove(old)
    files(tmp_path, LATER)[0].unlink()
    assert [finding.place for finding in look(tmp_path).findings] == [LATER.name]


def test_the_acts_themselves_go_on(tmp_path: Path) -> None:
    audit = old_and_new(tmp_path)
    open_acts(audit).record("start", {"os_user": "ada"})
    for path in (tmp_path / "log").iterdir():
        os.utime(path, (LONG_AGO, LONG_AGO))
    assert {one.writer for one in old_files(audit, CUT)} == {WRITER, LATER}
