"""What the gateway's start leaves out, and that nobody else misses it."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys
from headgate import code_folder
sys.path.insert(0, str(code_folder()))
from app.lean_imports import import_lean
import_lean()
import app.main
print(sorted({"rich", "pygments"} & {name.partition(".")[0] for name in sys.modules}))
import rich.console, pygments, httpx, structlog
print(httpx.__name__, structlog.__name__, rich.console.Console.__name__)
"""


def test_a_start_imports_nothing_for_terminals_and_others_still_can() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[]", "httpx structlog Console"], done.stderr


APPLICATION = """
import sys
from litestar import Litestar
from app.lean_imports import lean
made = lean(Litestar)(route_handlers=[], openapi_config=None)
print(sorted({"pydantic", "attr", "attrs"} & {name.partition(".")[0] for name in sys.modules}))
import pydantic
print(pydantic.__name__, type(made).__name__)
lean(Litestar)(route_handlers=[], openapi_config=None)
print("pydantic" in sys.modules)
"""


def test_an_application_is_made_without_what_it_would_only_offer() -> None:
    done = subprocess.run(
        [sys.executable, "-c", APPLICATION], capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == ["[]", "pydantic Litestar", "True"], done.stderr
