"""The cache's own errors: bounds that hold at every look, closing, opening, and equal answers."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.semantic.error_bounds import (
    ALPHA,
    MAX_CHARACTERS,
    QUIET,
    TOLERANCE,
    WINDOW,
    History,
    Tally,
    after,
    agrees,
    excess,
    may_open,
    should_close,
)

MAX_ERROR = 0.01
NOTHING = Tally()


def first(looked: int, differed: int) -> History:
    """A history that is still in its first window."""
    assert looked <= WINDOW
    return History(Tally(looked, differed), Tally(looked, differed))


def clean(looked: int) -> History:
    return History(Tally(looked, 0), Tally((looked - 1) % WINDOW + 1, 0))


def more(tally: Tally, differs: bool) -> Tally:
    return Tally(tally.looked + 1, tally.differed + differs)


tallies = st.integers(0, 3000).flatmap(
    lambda looked: st.builds(Tally, st.just(looked), st.integers(0, looked))
)


# -- The bounds


def by_grid(tier: Tally, control: Tally) -> float:
    """The lower bound from its definition: the least t - c of all pairs in the region."""
    agreed, calm = tier.looked - tier.differed, control.looked - control.differed
    beta = math.gamma
    average = math.log(
        beta(1 + tier.differed) * beta(1 + agreed) / beta(2 + tier.looked)
        * beta(0.5 + control.differed) * beta(10 + calm) / beta(10.5 + control.looked)
        / (beta(0.5) * beta(10) / beta(10.5))
    )  # fmt: skip
    least = 1.0
    steps = 2000
    for i in range(1, steps):
        t = i / steps
        own = tier.differed * math.log(t) + agreed * math.log(1 - t)
        for j in range(1, steps):
            c = j / steps
            if t - c >= least:
                continue
            other = control.differed * math.log(c) + (calm + QUIET) * math.log(1 - c)
            if average - own - other < math.log(1 / ALPHA):
                least = t - c
    return least


@pytest.mark.parametrize(
    ("tier", "control"),
    [(Tally(9, 9), Tally(20, 0)), (Tally(40, 30), Tally(60, 6)), (Tally(60, 20), Tally(80, 1))],
)
def test_the_lower_bound_is_the_least_difference_in_the_region(tier: Tally, control: Tally) -> None:
    assert excess(tier, control).low == pytest.approx(by_grid(tier, control), abs=0.002)


def test_the_upper_bound_of_a_tier_without_a_fault_has_a_closed_form() -> None:
    """No control sample: c = 0 costs nothing, so (1 - t) ** n = alpha * M decides."""
    n = 200
    average = math.lgamma(10 + n) + math.lgamma(10.5) - math.lgamma(10.5 + n) - math.lgamma(10)
    expected = 1 - math.exp((average + math.log(0.05)) / n)
    assert excess(Tally(n, 0), NOTHING, 0.05).high == pytest.approx(expected)


@pytest.mark.parametrize(
    ("tier", "control", "rate", "low", "high"),
    [
        (Tally(0, 0), Tally(0, 0), 0.0, 0.0, 1.0),
        (Tally(0, 0), Tally(500, 50), 0.0, 0.0, 1.0),
        (Tally(5, 3), Tally(20, 0), 0.6, 0.0215, 0.9978),
        (Tally(1000, 300), Tally(1000, 300), 0.0012, 0.0, 0.1082),
        (Tally(1000, 0), Tally(1000, 0), 0.0, 0.0, 0.0091),
    ],
)
def test_bounds_of_known_counts(
    tier: Tally, control: Tally, rate: float, low: float, high: float
) -> None:
    assert excess(tier, control) == pytest.approx((rate, low, high), abs=0.0001)


@given(tallies, tallies, st.sampled_from([0.2, 0.05, ALPHA, 1e-4, 1e-7]))
def test_the_estimate_lies_between_its_bounds(tier: Tally, control: Tally, alpha: float) -> None:
    bounds = excess(tier, control, alpha)
    assert 0 <= bounds.low <= bounds.rate + 1e-9
    assert bounds.rate - 1e-9 <= bounds.high <= 1


@given(tallies, tallies)
def test_a_differing_sample_speaks_against_the_tier_more_than_an_agreeing_one(
    tier: Tally, control: Tally
) -> None:
    better, worse = excess(more(tier, False), control), excess(more(tier, True), control)
    assert worse.high >= better.high - 1e-9
    if tier.differed <= 0.9 * tier.looked:  # beyond that the prior's price decides, see below
        assert worse.low >= better.low - 1e-9


@given(tallies, tallies)
def test_an_agreeing_sample_of_a_tier_that_mostly_agrees_never_raises_its_lower_bound(
    tier: Tally, control: Tally
) -> None:
    if 2 * tier.differed <= tier.looked:
        assert excess(more(tier, False), control).low <= excess(tier, control).low + 1e-9


@given(tallies, tallies)
def test_a_differing_control_sample_speaks_for_the_tier(tier: Tally, control: Tally) -> None:
    """But for the price of the prior: the first of a thousand may move the bound by a point."""
    calm, noisy = excess(tier, more(control, False)), excess(tier, more(control, True))
    assert noisy.low <= calm.low + 0.02


@given(tallies, tallies, st.floats(1e-6, 0.1), st.floats(1, 50))
def test_who_wants_to_be_surer_gets_wider_bounds(
    tier: Tally, control: Tally, alpha: float, surer: float
) -> None:
    wide, narrow = excess(tier, control, alpha / surer), excess(tier, control, alpha)
    assert wide.low <= narrow.low + 1e-9
    assert wide.high >= narrow.high - 1e-9


@given(st.integers(0, 50), st.integers(0, 50), st.integers(0, 50), st.integers(0, 50))
def test_counts_read_while_they_are_raised_do_no_harm(a: int, b: int, c: int, d: int) -> None:
    bounds = excess(Tally(a, b), Tally(c, d))
    assert 0 <= bounds.low <= 1
    assert 0 <= bounds.high <= 1


@pytest.mark.parametrize("count", [10**6, 10**9])
def test_bounds_bear_large_counts(count: int) -> None:
    bounds = excess(Tally(count, count // 50), Tally(count, count // 100))
    assert 0.0085 < bounds.low < 0.01 < bounds.high < 0.0115


# -- The samples of a tier


def test_a_window_begins_anew_after_its_last_sample() -> None:
    history = History()
    for _ in range(WINDOW):
        history = after(history, True)
    assert history == first(WINDOW, WINDOW)
    assert after(history, False) == History(Tally(WINDOW + 1, WINDOW), Tally(1, 0))


# -- Closing


@given(st.integers(0, 10**6), tallies, st.sampled_from([0.0, 0.001, 0.01]))
def test_a_single_mismatch_never_closes(agreed: int, control: Tally, max_error: float) -> None:
    looked = agreed + 1
    for recent in (Tally((looked - 1) % WINDOW + 1, 1), Tally(1, 1)):
        assert not should_close(History(Tally(looked, 1), recent), control, max_error)


def test_a_handful_of_mismatches_closes_where_the_control_is_quiet() -> None:
    assert should_close(first(5, 3), Tally(20, 0), MAX_ERROR)
    assert should_close(first(9, 3), Tally(100, 0), MAX_ERROR)


def test_the_same_mismatches_do_not_close_where_the_control_differs_too() -> None:
    assert not should_close(first(5, 3), Tally(20, 4), MAX_ERROR)


def test_without_control_only_a_tier_that_always_differs_closes() -> None:
    assert not should_close(first(5, 5), NOTHING, MAX_ERROR)
    assert should_close(first(6, 6), NOTHING, MAX_ERROR)
    assert not should_close(first(200, 100), NOTHING, MAX_ERROR)


def test_a_tier_that_errs_less_than_allowed_stays_open() -> None:
    history = History(Tally(10_000, 400), Tally(16, 1))
    assert should_close(history, Tally(1000, 0), 0.01)
    assert not should_close(history, Tally(1000, 0), 0.05)


def looks_until_closed(
    seed: int, error: float, noise: float, looks: int, *, control_share: float = 0.5, quiet: int = 0
) -> int | None:
    """How many samples of the tier it takes. Agreeing ones of a tier that mostly agrees cannot
    close it (see above), so they are not computed.
    """
    chance = random.Random(seed)
    tier, control = History(), Tally(quiet, 0)
    for _ in range(looks):
        if chance.random() < control_share:
            differs = chance.random() < noise
            control, matters = more(control, differs), True
        else:
            differs = chance.random() < noise + error
            tier = after(tier, differs)
            matters = differs or 2 * tier.total.differed > tier.total.looked
        if matters and should_close(tier, control, MAX_ERROR):
            return tier.total.looked
    return None


@pytest.mark.parametrize("noise", [0.0, 0.02, 0.1, 0.3])
@pytest.mark.parametrize("error", [0.0, MAX_ERROR])
def test_a_noisy_but_honest_tier_stays_open_over_2000_looks(noise: float, error: float) -> None:
    """Promised: 5 % at a noise of 30 %, less below. Of 1,800 runs there 0.8 % were closed."""
    runs = 60
    closed = sum(
        looks_until_closed(seed, error, noise, 2000, control_share=0.3) is not None
        for seed in range(runs)
    )
    assert closed <= runs * ALPHA / (1 - noise) ** QUIET


@pytest.mark.parametrize(
    ("error", "median", "nine_in_ten"), [(0.05, 400, 620), (0.2, 40, 75), (0.5, 8, 16), (1.0, 3, 3)]
)
def test_real_errors_close_within_a_stated_number_of_samples(
    error: float, median: int, nine_in_ten: int
) -> None:
    """With twenty quiet control samples before, and as many more as the tier has."""
    times = sorted(
        looks_until_closed(seed, error, 0.0, 4000, quiet=20) or 10**9 for seed in range(60)
    )
    assert times[30] <= median
    assert times[53] <= nine_in_ten


def test_real_errors_close_beside_noise() -> None:
    times = sorted(
        looks_until_closed(seed, 0.5, 0.3, 4000, quiet=20) or 10**9 for seed in range(40)
    )
    assert times[20] <= 60


@pytest.mark.parametrize("past", [0, 100, 246, 256, 257, 1000, 1777, 1933, 2000])
@pytest.mark.parametrize(("control", "samples"), [(Tally(100, 0), 44), (Tally(1000, 0), 18)])
def test_a_changed_mind_closes_whatever_was_before(past: int, control: Tally, samples: int) -> None:
    history = clean(past) if past else History()
    for _ in range(samples):
        history = after(history, True)
        if should_close(history, control, MAX_ERROR):
            return
    pytest.fail("the tier stayed open")


# -- Opening again


def looks_until_open(
    history: History, error: float, noise: float, looks: int, seed: int = 7
) -> int | None:
    chance = random.Random(seed)
    control = NOTHING
    for look in range(1, looks + 1):
        control = more(control, chance.random() < noise)
        history = after(history, chance.random() < error)
        if may_open(history, control, MAX_ERROR):
            return look
    return None


def test_a_closed_tier_without_samples_stays_closed() -> None:
    assert not may_open(History(), NOTHING, MAX_ERROR)
    assert not may_open(History(), Tally(1000, 900), 0.99)


def test_a_mended_tier_opens_after_some_160_samples() -> None:
    assert looks_until_open(History(), 0, 0, 170)


def test_what_was_wrong_just_after_closing_is_forgotten_by_the_second_window_after_it() -> None:
    assert looks_until_open(first(100, 60), 0, 0, 2 * WINDOW)


def test_each_closing_asks_for_more_before_the_next_opening() -> None:
    needed = [
        next(n for n in range(1, WINDOW) if may_open(first(n, 0), NOTHING, MAX_ERROR, closures))
        for closures in (1, 2, 3, 10)
    ]
    assert needed == sorted(set(needed))


@pytest.mark.parametrize("noise", [0.0, 0.1])
def test_a_tier_that_still_errs_does_not_open(noise: float) -> None:
    error = noise + MAX_ERROR + TOLERANCE
    for seed in range(15):
        assert not looks_until_open(History(), error, noise, 2000, seed)


def test_a_tier_that_only_shares_the_models_noise_opens() -> None:
    assert looks_until_open(History(), 0.02, 0.02, 1500)


# -- Whether two answers say the same

ARTICLE = (
    "The Treaty of Rome was signed on 25 March 1957 by six countries. It did not create a common "
    "currency, but it founded the European Economic Community, which began its work in 1958."
)


@pytest.mark.parametrize(
    ("fresh", "served"),
    [
        ("Paris", "paris."),
        ("**Paris**", "Paris"),
        ("  Paris\n", "Paris"),
        ("It isn't.", "It is not"),
        ("You can’t", "you cannot"),  # noqa: RUF001
        ("1,000 km", "1000 km"),
        ("three", "3"),
        ("-5 °C", "\u22125 °C"),
        ("", ""),
        ("\N{THUMBS UP SIGN}", " \N{THUMBS UP SIGN}"),
        (ARTICLE, ARTICLE.replace("but it founded", "but founded")),
        (ARTICLE, ARTICLE.replace("did not", "didn't").replace(". It", ".\n\n- It")),
    ],
)
def test_answers_that_agree(fresh: str, served: str) -> None:
    assert agrees(fresh, served)
    assert agrees(served, fresh)


@pytest.mark.parametrize(
    ("fresh", "served"),
    [
        ("Paris", "Lyon"),
        ("Paris", "Paris, the capital of France"),
        ("Paris", ""),
        ("Yes, you can.", "No, you can't."),
        ("5", "-5"),
        ("3.11", "3.1"),
        ("1,5", "15"),
        ("$5", "€5"),
        ("x < 2", "x > 2"),
        ("the dog bit the man", "the man bit the dog"),
        ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}"),
        (ARTICLE, ARTICLE.replace("1957", "1958")),
        (ARTICLE, ARTICLE.replace("six", "seven")),
        (ARTICLE, ARTICLE.replace("did not create", "did create")),
        (ARTICLE, ARTICLE.replace("25 March 1957", "1957 March 25")),
        (ARTICLE, "The Treaty of Rome: 25, 1957, 6, not, 1958. Six were there, as people say."),
        ("東京です", "京都です"),
    ],
)
def test_answers_that_differ(fresh: str, served: str) -> None:
    assert not agrees(fresh, served)
    assert not agrees(served, fresh)


@given(st.text(max_size=200), st.text(max_size=200))
def test_agreeing_has_no_direction(one: str, other: str) -> None:
    assert agrees(one, other) == agrees(other, one)
    assert agrees(one, one)


def test_of_very_long_answers_the_beginning_is_compared() -> None:
    text = "All of this is said at length. " * 4000
    assert len(text) > 10 * MAX_CHARACTERS
    assert agrees(text, text + " 42")
    assert not agrees(text, "42 " + text)
