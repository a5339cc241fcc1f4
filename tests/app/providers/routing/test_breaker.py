"""When a target is left alone: by the rules in Python, and by the scripts that all replicas share."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from app.providers.routing.breaker import (
    CLEAR,
    FIRST_MS,
    IN_A_ROW,
    LEAST_RAMP,
    LONGEST_MS,
    PROBE_MS,
    RAMP_MS,
    Events,
    Phase,
    State,
    claimed,
    reported,
)
from cache.store.base import script
from cache.store.embedded import EmbeddedStore

NOW = 1_800_000_000_000
BAD = Events(failed=1, trailing=1)
GOOD = Events(succeeded=1)


def after(*events: Events, state: State = CLEAR, now: int = NOW) -> State:
    for one in events:
        state = reported(state, one, now, 1.0)
    return state


def opened() -> State:
    return after(*[BAD] * IN_A_ROW)


def test_five_failures_in_a_row_open_it() -> None:
    assert after(*[BAD] * 4).phase(NOW) is Phase.CLOSED
    state = opened()
    assert (state.phase(NOW), state.reopens_in(NOW)) == (Phase.OPEN, FIRST_MS)


def test_a_success_between_begins_the_row_anew() -> None:
    assert after(*[BAD] * 4, GOOD, *[BAD] * 4).phase(NOW) is Phase.CLOSED
    assert after(Events(3, 4, 4), BAD).phase(NOW) is Phase.OPEN


def test_half_of_twenty_within_thirty_seconds_open_it() -> None:
    mixed = [GOOD, BAD] * 9
    assert after(*mixed).phase(NOW) is Phase.CLOSED
    assert after(*mixed, GOOD, BAD).phase(NOW) is Phase.OPEN
    late = reported(after(*mixed), Events(1, 1, 1), NOW + 31_000, 1.0)
    assert late.phase(NOW + 31_000) is Phase.CLOSED


def test_one_probe_is_given_when_the_time_is_over() -> None:
    then = NOW + FIRST_MS
    assert claimed(opened(), "a", then - 1) == (opened(), False)
    state, given_a = claimed(opened(), "a", then)
    _, given_b = claimed(state, "b", then + 1)
    assert (given_a, given_b) == (True, False)
    assert state.phase(then) is Phase.PROBING
    _, later = claimed(state, "b", then + PROBE_MS)
    assert later  # whoever had it has died


def test_a_probe_that_is_answered_closes_it_and_its_share_comes_back_slowly() -> None:
    then = NOW + FIRST_MS
    state, _ = claimed(opened(), "a", then)
    state = reported(state, Events(1, probe="a", probed=True), then, 1.0)
    assert state.phase(then) is Phase.CLOSED
    ramps = [state.ramp(then + RAMP_MS * part // 4) for part in range(5)]
    assert ramps == [LEAST_RAMP, 0.25, 0.5, 0.75, 1.0]


def test_a_probe_that_fails_doubles_the_time_up_to_five_minutes() -> None:
    state, now, lengths = opened(), NOW, []
    for _ in range(9):
        now += state.reopens_in(now)
        state, given_it = claimed(state, "a", now)
        assert given_it
        state = reported(state, Events(0, 1, 1, probe="a", probed=False), now, 1.0)
        lengths.append(state.reopens_in(now))
    assert lengths[:6] == [10_000, 20_000, 40_000, 80_000, 160_000, LONGEST_MS]
    assert lengths[-1] == LONGEST_MS


def test_a_target_that_fails_again_right_after_closing_is_left_alone_for_longer() -> None:
    then = NOW + FIRST_MS
    state, _ = claimed(opened(), "a", then)
    state = reported(state, Events(1, probe="a", probed=True), then, 1.0)
    soon = after(*[BAD] * 5, state=state, now=then + 1000)
    assert soon.reopens_in(then + 1000) == 2 * FIRST_MS
    later = after(*[BAD] * 5, state=state, now=then + RAMP_MS)
    assert later.reopens_in(then + RAMP_MS) == FIRST_MS


def test_a_probe_without_an_outcome_is_given_to_the_next() -> None:
    then = NOW + FIRST_MS
    state, _ = claimed(opened(), "a", then)
    state = reported(state, Events(probe="a"), then, 1.0)
    assert state.phase(then) is Phase.PROBE


def test_late_answers_of_other_calls_do_not_close_it() -> None:
    assert after(GOOD, GOOD, state=opened()).phase(NOW) is Phase.OPEN


def test_credentials_that_are_refused_open_it_at_once() -> None:
    state = after(Events(opens=60_000))
    assert (state.phase(NOW), state.reopens_in(NOW)) == (Phase.OPEN, 60_000)


def test_a_rest_ends_by_itself() -> None:
    state = after(Events(rests=2_000))
    assert state.phase(NOW) is Phase.RESTING
    assert state.phase(NOW + 2_000) is Phase.CLOSED


# The scripts decide as these rules do.


class Scripts:
    """The breaker of one target in a store, at a time that the test moves."""

    def __init__(self) -> None:
        self._store = EmbeddedStore()
        self._texts = {
            name: script(name).text.replace("redis.call('TIME')", "{ARGV[#ARGV], '0'}", 1)
            for name in ("report_target", "probe_target")
        }

    def _run(self, name: str, now: int, *args: Any) -> list[Any]:
        text = self._texts[name].replace(
            "tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)", "tonumber(time[1])"
        )
        redis = self._store._redis
        answer: list[Any] = redis.eval(text, 2, "state", "index", *args, now)  # type: ignore[no-untyped-call]
        return answer

    def report(self, events: Events, now: int, jitter: float) -> State:
        probed = "" if events.probed is None else int(events.probed)
        answer = self._run("report_target", now, "t", *events[:5], events.probe, probed, jitter)
        return self._state(int(answer[2]), answer[3:])

    def claim(self, lease: str, now: int) -> tuple[State, bool]:
        answer = self._run("probe_target", now, "t", lease, PROBE_MS)
        return self._state(0, answer[2:]), bool(answer[1])

    @staticmethod
    def _state(row: int, fields: list[Any]) -> State:
        until, length, probe, probe_until, closed, rest = fields
        return State(
            row, int(until), int(length), probe.decode(), int(probe_until), int(closed), int(rest)
        )


steps = st.lists(
    st.tuples(
        st.sampled_from([0, 10, 700, 5_000, 11_000, 31_000, 80_000]),
        st.sampled_from(
            [
                GOOD,
                BAD,
                Events(3, 4, 4),
                Events(10, 12, 2),
                Events(0, 5, 5),
                Events(opens=60_000),
                Events(rests=3_000),
                "claim",
                "answered",
                "failed",
                "left",
            ]
        ),
    ),
    max_size=25,
)


@given(steps, st.sampled_from([0.9, 1.0, 1.1]))
@example([(0, Events(0, 5, 5)), (5_000, "claim"), (0, "answered"), (0, Events(0, 5, 5))], 1.0)
@settings(max_examples=150, deadline=None)
def test_the_scripts_decide_as_the_rules_do(found: list[tuple[int, Any]], jitter: float) -> None:
    scripts, state, now = Scripts(), CLEAR, NOW
    for passed, step in found:
        now += passed
        if step == "claim":
            state, given_here = claimed(state, "lease", now)
            there, given_there = scripts.claim("lease", now)
            assert given_here == given_there
            assert there == state._replace(in_a_row=0, slots=())
            continue
        if isinstance(step, str):
            outcome = {"answered": True, "failed": False, "left": None}[step]
            counts = {"answered": (1, 0, 0), "failed": (0, 1, 1), "left": (0, 0, 0)}[step]
            events = Events(*counts, probe="lease", probed=outcome)
        else:
            events = step
        state = reported(state, events, now, jitter)
        assert scripts.report(events, now, jitter) == state._replace(slots=())


@pytest.mark.parametrize("opens", [0, 60_000])
def test_who_looks_sees_only_targets_that_are_not_closed(opens: int) -> None:
    scripts = Scripts()
    scripts.report(Events(1, 1, 1, opens=opens), NOW, 1.0)
    assert bool(scripts._store._redis.hgetall("index")) == bool(opens)
