"""Which steps a run makes, and what their figures say."""

from bench.gateway import configuration, merged
from bench.report import tables
from bench.results import Measure, Result, single, summed_up
from bench.steps import BATCH_FLOOR, DIRECT, FLOOR, STEPS, chosen


def test_a_chosen_step_brings_the_floor_it_is_compared_with() -> None:
    names = [step.name for step in chosen(["headgate-stream"])]
    assert names == ["direct-stream", "nginx-stream", "headgate-stream"]


def test_no_choice_is_every_step() -> None:
    assert chosen([]) == list(STEPS)


def test_an_overlay_joins_maps_and_replaces_the_rest() -> None:
    base = configuration(1, 2)
    found = merged(base, {"log": {"level": "warning"}, "keys": []})
    assert found["log"] == {"format": "json", "level": "warning"}
    assert found["keys"] == []
    assert found["models"] == base["models"]


def test_repeats_are_summed_up_as_median_and_spread() -> None:
    found = summed_up([{"cpu_request_us": value} for value in (12.0, 10.0, 11.0)])
    assert found == {"cpu_request_us": Measure(11.0, 10.0, 12.0)}


def test_figures_are_shown_as_multiples_of_the_floor() -> None:
    rows = [
        Result(DIRECT, {"alone_p50_ms": single(0.1)}),
        Result(FLOOR, {"cpu_request_us": single(10), "alone_p50_ms": single(0.15)}),
        Result(STEPS[3], {"cpu_request_us": single(55), "alone_p50_ms": single(0.4)}),
    ]
    last = tables(rows).splitlines()[-1].split()
    assert last[:5] == ["headgate-proxy", "55.0", "5.50", "0.400", "+0.300"]


def test_a_batch_is_compared_with_a_floor_of_its_own() -> None:
    batch = next(step for step in STEPS if step.name == "headgate-batch")
    rows = [
        Result(FLOOR, {"cpu_request_us": single(10)}),
        Result(BATCH_FLOOR, {"cpu_request_us": single(20)}),
        Result(batch, {"cpu_request_us": single(60)}),
    ]
    assert tables(rows).splitlines()[-1].split()[:3] == ["headgate-batch", "60.0", "3.00"]


def test_a_failed_step_is_told_below_the_tables() -> None:
    assert tables([Result(FLOOR, problem="no such port")]).endswith("failed: no such port")
