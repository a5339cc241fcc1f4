"""Without rules the guardrails cost nothing: no layer stands in the chain, no package is loaded."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from app.chain.guarded import guarded_bodies, guardrails_of, input_guardrails, output_guardrails
from app.config.settings import Settings

ROOT = Path(__file__).parents[3]
PACKAGES = ("ahocorasick_rs", "stdnum", "phonenumbers", "jsonschema_rs", "app.guardrails.plan")


def test_without_rules_no_layer_stands_in_the_chain() -> None:
    def inner(*_: Any) -> Any:
        raise AssertionError

    parts: Any = None
    assert guardrails_of(Settings(), parts) is None
    assert input_guardrails(inner, None, parts, {}) is inner
    assert output_guardrails(inner, None, parts, 0) is inner
    assert guarded_bodies(None, parts) is None


def test_without_rules_none_of_their_packages_is_loaded() -> None:
    code = f"import sys, app.main; print([name for name in {PACKAGES} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "[]"
