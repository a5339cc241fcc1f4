"""Without an audit log nothing of it is at work; with one, its layer is there where it is needed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from app.config.loading import load
from app.core.exchange import Exchange
from app.main import Gateway
from app.observability.request_record import Recorder

SETTINGS: dict[str, Any] = {"providers": {"sim": {"kind": "simulator"}}}


def gateway(**sections: Any) -> Gateway:
    text = json.dumps(SETTINGS | sections)
    return Gateway(lambda: load(text))


def test_without_an_audit_log_there_is_none(tmp_path: Path) -> None:
    assert gateway()._services.shared.audit is None
    lines: list[dict[str, Any]] = []
    recorder = Recorder(log=lines.append)
    assert recorder.audit is None
    assert not recorder.keeps_texts
    recorder(Exchange("r", {}, 0.0))
    assert lines[0]["request_id"] == "r"


@pytest.mark.parametrize(("on_full", "refuses"), [("drop", False), ("refuse", True)])
def test_a_gate_is_there_where_requests_may_be_refused(
    tmp_path: Path, on_full: str, refuses: bool
) -> None:
    audit = {"directory": str(tmp_path / "log"), "on_full": on_full}
    found = gateway(audit=audit)._services.shared.audit
    assert found is not None
    assert found.requests.refuses is refuses
    assert not found.is_full()
    assert not found.requests.wants_texts


def test_texts_are_kept_in_memory_only_where_they_are_recorded(tmp_path: Path) -> None:
    audit = {"directory": str(tmp_path / "log"), "text_key": "5a" * 32}
    found = gateway(audit=audit)._services.shared.audit
    assert found is not None
    assert Recorder(log=lambda facts: None, audit=found.under("g")).keeps_texts
