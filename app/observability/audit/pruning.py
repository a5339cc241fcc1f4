"""Which files are older than the operator keeps records, and what is said of those that go."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from app.config.audit import Audit
from app.observability.audit.acts import ACTS, position_after
from app.observability.audit.chain import SIGNED, Position, Writer
from app.observability.audit.files import chains_in, is_being_written, last_line
from app.observability.audit.opening import NOTED, folders_of


class Old(NamedTuple):
    """The first files of a chain, and where the chain stands after them."""

    writer: Writer
    files: list[Path]
    after: Position

    def said(self) -> dict[str, Any]:
        """What the act names, so that verification accepts where the chain begins now."""
        return {
            "chain": self.writer.name,
            "count": self.after.length,
            "tip": self.after.tip,
            "files": [path.name for path in self.files if not path.name.endswith(SIGNED)],
        }


def old_files(settings: Audit, before: float) -> list[Old]:
    """The files that were written last before this moment (unix seconds). Raises OSError."""
    found: list[Old] = []
    for writer, files in chains_in(*folders_of(settings)).items():
        old: list[Path] = []
        for path in files.values():
            if path.stat().st_mtime >= before or is_being_written(path):
                break
            old.append(path)
        if len(old) == len(files) and writer.worker == ACTS:
            old.pop()  # the chain that says what was removed goes on
        whole = len(old) == len(files)
        if not old:
            continue
        line = last_line(old[-1])[0]
        after = position_after(line) if line is not None else Position(0, "")
        found.append(Old(writer, [*old, *(_beside(settings, writer) if whole else ())], after))
    return found


def remove(old: Iterable[Old]) -> None:
    """Take the files away. Raises OSError."""
    for one in old:
        for path in one.files:
            path.unlink(missing_ok=True)


def _beside(settings: Audit, writer: Writer) -> list[Path]:
    """What else there is of a chain of which nothing stays."""
    beside = [Path(settings.directory) / f"{writer.name}{NOTED}"]
    if settings.checkpoints is not None:
        beside.append(Path(settings.checkpoints) / f"{writer.name}{SIGNED}")
    return [path for path in beside if path.exists()]
