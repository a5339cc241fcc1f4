"""Headgate, an edge gateway for LLM completions, as it is installed.

The code lies in ``app/``, ``cache/`` and ``middleware/``. Names as common as these must not stand at
the top of somebody's environment, so the wheel carries them inside this package, and only a process
of ours puts them on its path.
"""

from __future__ import annotations

import sys
from pathlib import Path

_HERE = Path(__file__).resolve().parent


def code_folder() -> Path:
    """Where the code lies: in the wheel inside this package, in a checkout beside it."""
    inside = _HERE / "_code"
    return inside if inside.is_dir() else _HERE.parent


def main() -> None:
    """Run the command line; the process is ours alone, so our code comes first on its path."""
    sys.path.insert(0, str(code_folder()))
    from app.lean_imports import import_lean  # noqa: PLC0415 - the path had to be set first

    import_lean()
    from app.cli import main as command  # noqa: PLC0415

    command(prog_name="headgate")
