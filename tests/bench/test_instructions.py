"""Instructions a request: what counts them, what is compared, and one real measurement."""

import json
from pathlib import Path

import pytest

from bench.instructions import counters, kept, measuring
from bench.instructions.measuring import Figure, figures
from bench.steps import STEPS

PROXY = next(step for step in STEPS if step.name == "headgate-proxy")
STREAM = next(step for step in STEPS if step.name == "headgate-stream")


def _row(name: str, count: int, spent: float) -> dict[str, object]:
    return {"name": name, "count": count, "spent": spent}


def test_a_step_is_divided_by_the_least_of_the_reference() -> None:
    lines = [_row("reference", 10, 100.0), _row("reference", 10, 50.0)]
    lines += [_row(PROXY.name, 4, 48.0), _row(PROXY.name, 4, 40.0)]
    assert figures([PROXY], lines) == {PROXY.name: Figure(10.0, 2.0)}


def test_a_chunk_is_what_a_longer_stream_takes_more() -> None:
    few, many = STREAM.load.few, STREAM.load.many
    lines = [_row("reference", 1, 5.0), _row(f"{STREAM.name} {few}", 2, 2 * (100.0 + 7 * few))]
    lines.append(_row(f"{STREAM.name} {many}", 2, 2 * (100.0 + 7 * many)))
    assert figures([STREAM], lines)[STREAM.name].spent == pytest.approx(7.0)


def test_only_what_got_clearly_dearer_is_told() -> None:
    known = {"a": 1.0, "b": 1.0}
    now = {"a": Figure(0, 1.14), "b": Figure(0, 1.16), "new": Figure(0, 9.0)}
    assert kept.dearer(now, known, kept.tolerance("callgrind")) == ["b"]
    assert kept.dearer(now, known, kept.tolerance("time")) == []


def test_figures_are_kept_beside_those_of_other_places(tmp_path: Path) -> None:
    file = tmp_path / "kept.json"
    kept.write("here", {"a": Figure(0, 1.0), "b": Figure(0, 2.0)}, file)
    kept.write("here", {"b": Figure(0, 3.0)}, file)
    kept.write("there", {"a": Figure(0, 4.0)}, file)
    assert kept.read(file) == {"here": {"a": 1.0, "b": 3.0}, "there": {"a": 4.0}}
    assert json.loads(file.read_text()) == kept.read(file)


def test_callgrind_s_files_are_read_in_their_order(tmp_path: Path) -> None:
    for number in (2, 10, 1):
        (tmp_path / f"out.{number}").write_text(f"summary: {number}\ntotals: {number}00\n")
    (tmp_path / "out").write_text("totals: 7\n")  # what came after the last mark
    assert counters.totals(tmp_path / "out") == [100, 200, 1000]


def test_a_kernel_s_counter_is_opened_and_read() -> None:
    # The processor's are hidden in many virtual machines; the kernel's own clock goes the same way.
    software, task_clock = 1, 1
    descriptor = counters.open_hardware(software, task_clock)
    if descriptor is None:
        pytest.skip("this machine lets nobody count")
    before = counters.read_hardware(descriptor)
    sum(range(200_000))
    assert counters.read_hardware(descriptor) > before


def test_a_real_gateway_is_measured() -> None:
    found = measuring.measure([PROXY], "time", requests=5, redis=False)
    assert 0 < found[PROXY.name].spent < 1
