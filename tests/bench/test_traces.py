"""The traces: what repeats in them besides rewordings is answered by the level that is meant for it."""

from __future__ import annotations

import pytest

from bench.semantic import traces


def test_each_trace_is_answered_by_its_level(capsys: pytest.CaptureFixture[str]) -> None:
    assert traces.main([]) == 0
    rows = {}
    for line in capsys.readouterr().out.splitlines()[1:]:
        name, *cells = line.replace(" %", "").split()
        rows[name] = dict(zip((*traces.LEVELS, "together"), map(float, cells), strict=True))
    assert rows["variants"]["tier 1"] > 60
    assert rows["templates"]["exact"] > 90
    assert rows["chats"]["tier 1b"] > 40
    assert rows["volatile"]["cache.ignore"] > 90
    assert all(row["together"] > 90 for row in rows.values())


def test_a_seed_fixes_a_trace() -> None:
    assert list(traces.lines(traces.chats, 1)) == list(traces.lines(traces.chats, 1))
    assert list(traces.lines(traces.chats, 1)) != list(traces.lines(traces.chats, 2))
