"""Measurements added up, and as Prometheus text."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from app.observability.metrics.families import (
    CONFIG,
    FAMILIES,
    FOLDED,
    IN_FLIGHT,
    LOOP_LAG,
    REQUESTS,
    SECONDS,
    TOKENS,
)
from app.observability.metrics.histogram import Histogram
from app.observability.metrics.snapshot import Snapshot, add, labels_text, lasting, merged, text
from app.supervision.replica_metrics import ReplicaMetrics
from tests.harness.metrics import parsed

AMOUNTS = st.dictionaries(st.sampled_from(["", 'a="1"', 'a="2"']), st.integers(0, 9), max_size=3)


def counted(amounts: dict[str, int]) -> Snapshot:
    """What a worker says that counted so many requests by labels."""
    into: Snapshot = {}
    for labels, amount in amounts.items():
        add(into, REQUESTS, labels, [amount])
    return into


def test_the_buckets_are_those_of_the_semantic_conventions() -> None:
    assert SECONDS[:3] == (0.01, 0.02, 0.04)
    assert (len(SECONDS), SECONDS[-1]) == (14, 81.92)
    assert (len(TOKENS), TOKENS[0], TOKENS[-1]) == (14, 1, 67108864)
    for family in FAMILIES.values():
        assert list(family.bounds) == sorted(set(family.bounds))
        assert bool(family.bounds) == (family.kind == "histogram")


def test_a_value_on_a_bound_is_in_the_bucket_below_it() -> None:
    found = Histogram((1.0, 2.0))
    for value in (0.5, 1.0, 1.5, 2.0, 9.0):
        found.observe(value)
    assert found.row() == [14.0, 2, 2, 1]
    assert Histogram((1.0,)).row() == []


def test_a_histogram_is_written_with_counts_up_to_each_bound() -> None:
    late = Histogram(LOOP_LAG.bounds)
    for value in (0.0005, 0.002, 9.0):
        late.observe(value)
    into: Snapshot = {}
    add(into, LOOP_LAG, labels_text({"store": 'a"b\n\\', "none": ""}), late.row())
    series = parsed(text(into))
    name, label = LOOP_LAG.name, ("store", 'a"b\n\\')
    assert series[f"{name}_bucket", frozenset({label, ("le", "0.001")})] == 1
    assert series[f"{name}_bucket", frozenset({label, ("le", "5")})] == 2
    assert series[f"{name}_bucket", frozenset({label, ("le", "+Inf")})] == 3
    assert series[f"{name}_count", frozenset({label})] == 3
    assert series[f"{name}_sum", frozenset({label})] == 9.0025


def test_workers_are_added_up_and_states_are_not() -> None:
    workers = []
    for running in (1, 2):
        into: Snapshot = {}
        add(into, IN_FLIGHT, "", [running])
        add(into, CONFIG, 'generation="g"', [1])
        add(into, FOLDED, "", [running])
        workers.append(into)
    whole = merged([*workers, {"not_ours": {"": [1]}}])
    assert text(whole).count("\n") == 9
    assert whole[IN_FLIGHT.name][""] == [3]
    assert whole[CONFIG.name] == {'generation="g"': [1]}
    assert lasting(whole) == {FOLDED.name: {"": [3]}}


@given(AMOUNTS, AMOUNTS, AMOUNTS)
def test_no_count_falls_when_a_worker_is_replaced(
    old: dict[str, int], fresh: dict[str, int], other: dict[str, int]
) -> None:
    replica = ReplicaMetrics()
    before = replica.together({1: counted(old), 2: counted(other)})
    silent = replica.together({1: None, 2: counted(other)})
    assert silent == before
    after = replica.together({3: counted(fresh), 2: counted(other)})
    for labels in {*old, *fresh, *other}:
        most = sum(part.get(labels, 0) for part in (old, fresh, other))
        assert after[REQUESTS.name][labels] == [most]
    assert replica.together({3: None, 2: None}) == after
