"""How the semantic cache measures its own errors, closes a tier that errs and opens it again.

A sample of the hits is asked anew upstream, and the fresh answer differs from the served one or
does not. A model also differs from itself on the very same prompt, so a sample of exact hits (the
control arm) is asked anew too. A tier's own error, its excess, is the rate of differing answers
among its hits less the rate in the control arm, and never below 0.

**The method.** Both arms are Bernoulli samples with rates t and c. With L the likelihood of all
that was seen under (t, c), and M the same averaged over a prior, M / L is a martingale under the
true rates: it starts at 1, and by Ville's inequality the chance that it ever passes 1 / alpha is at
most alpha. So the pairs (t, c) where it has not passed are a confidence region at every look, and
its least and greatest t - c bound the excess. With Beta priors M is known from the counts alone,
and both arms share one region: a union of two intervals needs several times the samples.

**Which bound decides.** A tier closes when the *lower* bound passes ``max_error``: it is then shown
to err. To wait for the upper bound to fall under 1 % would take some 800 samples without a fault
for every new partition, with nothing served until then. It opens again by the *upper* bound: a tier
that was shown to err has to show that it no longer does. That takes some 160 samples without a
fault and not 800, because the bound only has to fall under ``max_error + TOLERANCE``.

**Before the control arm has samples** nothing tells a noisy model from a wrong cache. Serving wrong
answers is worse than asking again, so the benefit of the doubt is a short one: the control arm
counts as if it had agreed ``QUIET`` more times. That closes a tier whose first six samples all
differ, and hardly ever one that errs in every second. It costs noisy models something: their tiers
are wrongly closed with a chance of up to ``ALPHA / (1 - c) ** QUIET``, which is 1.2 % for a silent
model, 5 % at c = 0.3, and no promise from c = 0.7 on. The cure for both is more control samples:
pool them over the partitions of one model, or ask a doubtful prompt twice.

**What is taken for granted.** Samples are drawn at random, and rates stand still while they are
counted. Where the rates moved, a long past hides the change, so the samples since the last multiple
of ``WINDOW`` are tested as well, for a fifth of ``ALPHA``, which the windows of an unbounded run
share as 1/2, 1/6, 1/12 … of it: against 0 of 1,000 control samples, 18 mismatches in a row close a
tier after any past of up to 2,000 samples. The control arm has no window. It measures how the model
varies, and where the model changes for good, what was stored before is wrong: the tier should close
before the control arm catches up. Both arms start from nothing when a tier closes; when it opens,
the tier's does again and the control arm goes on. A promise holds from one start to the next change
of state; that of opening holds over all closures together.

Sources: H. Robbins, "Statistical methods related to the law of the iterated logarithm", 1970, and
J. Ville, "Étude critique de la notion de collectif", 1939 (mixtures and the inequality); L.
Wasserman, A. Ramdas, S. Balakrishnan, "Universal inference", 2020 (M / L with a composite
hypothesis); S. R. Howard, A. Ramdas, J. McAuliffe, J. Sekhon, "Time-uniform, nonparametric,
nonasymptotic confidence sequences", 2021 (the beta-binomial mixture).
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from math import exp, lgamma, log, log1p, sqrt
from typing import NamedTuple

from cache.semantic.canonical.numbers import NUMBER_WORDS
from cache.semantic.canonical.words import NEGATIONS

ALPHA = 0.012  # the chance of a wrong decision, ever, with a silent model; see above for others
QUIET = 4  # agreeing samples that the control arm is taken to have had
LEAST_DIFFERING = 3  # a tier never closes on fewer, whatever the arithmetic says
TOLERANCE = 0.04  # an error above max_error that cannot be told from it in a few hundred samples
WINDOW = 256  # samples; enough to find an error of 20 %, and to open again without a fault

_LIFETIME = 0.8  # of alpha; the rest is for the windows


class Tally(NamedTuple):
    """Samples of one arm: how many were compared, and how many of them differed."""

    looked: int = 0
    differed: int = 0


class History(NamedTuple):
    """The samples of a tier since its last change of state.

    ``recent`` counts those since ``total.looked`` last was a multiple of ``WINDOW``.
    """

    total: Tally = Tally()
    recent: Tally = Tally()


class Bounds(NamedTuple):
    """An excess error: the estimate, and what it is at least and at most."""

    rate: float
    low: float
    high: float


class _Prior(NamedTuple):
    """Beta densities of the two rates, by which M is averaged. They decide speed, not validity.

    A trap: where nearly every sample of an arm went one way, the first that goes the other makes M
    so much dearer or cheaper that a bound may move by up to three points against that sample.
    """

    tier: tuple[float, float]
    control: tuple[float, float]


# Looking for errors: any rate in the tier, few in the control arm. And for none: few in both.
_ERRORS = _Prior((1, 1), (0.5, 10))
_NO_ERRORS = _Prior((0.5, 10), (0.5, 10))


def after(history: History, differs: bool) -> History:
    """The history with one more sample."""
    recent = Tally() if history.recent.looked >= WINDOW else history.recent
    return History(_plus(history.total, differs), _plus(recent, differs))


def excess(tier: Tally, control: Tally, alpha: float = ALPHA) -> Bounds:
    """The tier's own error, for people to read.

    Each bound is wrong, at any look of an unbounded run, with a chance of at most
    ``alpha / (1 - c) ** QUIET`` with c the model's own rate of differing answers.
    """
    if not tier.looked:
        return Bounds(0.0, 0.0, 1.0)
    rate = _rate(tier.differed, _agreed(tier), 0.0)
    rate -= _rate(control.differed, _agreed(control) + QUIET, 0.0)
    return Bounds(max(0.0, rate), _low(tier, control, alpha), _high(tier, control, alpha))


def should_close(tier: History, control: Tally, max_error: float) -> bool:
    """Whether an open tier is shown to err more than the operator allows.

    A tier that does not is closed, ever, with a chance of at most ``ALPHA / (1 - c) ** QUIET``.
    ``control`` counts since the tier's last closing, or since the partition's first sample.
    """
    if tier.total.differed < LEAST_DIFFERING:
        return False
    if _low(tier.total, control, ALPHA * _LIFETIME) > max_error:
        return True
    alpha = _alpha_of_window(tier)
    return (
        alpha > 0
        and tier.recent.differed >= LEAST_DIFFERING
        and _low(tier.recent, control, alpha) > max_error
    )


def may_open(since_closing: History, control: Tally, max_error: float, closures: int = 1) -> bool:
    """Whether a closed tier is shown to err no more than it would have to for closing it again.

    Both arms count from the closing on; ``closures`` is how often the tier was closed so far, this
    time included. A tier that errs by ``max_error + TOLERANCE`` or more is opened, over all its
    closures together, with a chance of at most ``ALPHA / (1 - c) ** QUIET``: each closing
    asks for more than the one before. One that errs by less may open, and close again later.
    """
    share = _share(closures)
    bar = max_error + TOLERANCE
    if not since_closing.total.looked:
        return False
    if _high(since_closing.total, control, ALPHA * _LIFETIME * share) < bar:
        return True
    alpha = _alpha_of_window(since_closing) * share
    return alpha > 0 and _high(since_closing.recent, control, alpha) < bar


def _plus(tally: Tally, differs: bool) -> Tally:
    return Tally(tally.looked + 1, tally.differed + differs)


def _share(number: int) -> float:
    """1/2, 1/6, 1/12 …: shares for the first, second, third … of any number; their sum is 1."""
    return 1 / (number * (number + 1))


def _alpha_of_window(history: History) -> float:
    """What the window may spend; nothing in the first one, which is the whole history."""
    earlier = (history.total.looked - history.recent.looked) // WINDOW
    return ALPHA * (1 - _LIFETIME) * _share(earlier) if earlier > 0 else 0.0


def _low(tier: Tally, control: Tally, alpha: float) -> float:
    floor = _log_average(tier, control, _ERRORS) + log(alpha)
    least = _least_difference(
        tier.differed, _agreed(tier), control.differed, _agreed(control) + QUIET, floor
    )
    return max(0.0, least)


def _high(tier: Tally, control: Tally, alpha: float) -> float:
    """The same with agreeing and differing answers in each other's place."""
    floor = _log_average(tier, control, _NO_ERRORS) + log(alpha)
    least = _least_difference(
        _agreed(tier), tier.differed, _agreed(control) + QUIET, control.differed, floor
    )
    return max(0.0, -least)


def _agreed(tally: Tally) -> int:
    """Not below 0, also where two counts were read while they were being raised."""
    return max(0, tally.looked - tally.differed)


def _log_average(tier: Tally, control: Tally, prior: _Prior) -> float:
    """The logarithm of M."""
    total = 0.0
    for tally, (a, b) in zip((tier, control), prior, strict=True):
        total += _log_beta(a + tally.differed, b + _agreed(tally)) - _log_beta(a, b)
    return total


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _least_difference(yes: int, no: int, other_yes: int, other_no: int, floor: float) -> float:
    """The least difference of two rates whose log-likelihood is at least ``floor``.

    At that point the slopes of the two log-likelihoods are equal and opposite. For a given slope
    each rate solves a quadratic equation, so what is left to find is the slope. The loss of
    log-likelihood grows about as its square: on a double logarithmic scale the secant method needs
    five or six steps, and bisection stands by.
    """
    if not yes and not other_no:
        return -1.0  # nothing was seen that speaks against 0 and 1
    best = _log_likelihood(yes, no, _rate(yes, no, 0.0))
    best += _log_likelihood(other_no, other_yes, _rate(other_no, other_yes, 0.0))
    aim = log(best - floor)
    under, over = -30.0, 80.0
    at, gain = 0.5 * log(yes + no + other_yes + other_no + 1), 2.0
    before: tuple[float, float] | None = None
    rate = rest = 0.0
    for _ in range(60):
        slope = exp(at)
        rate, rest = _rate(yes, no, slope), _rate(other_no, other_yes, slope)
        loss = best - _log_likelihood(yes, no, rate) - _log_likelihood(other_no, other_yes, rest)
        off = log(max(loss, 1e-12)) - aim
        if abs(off) < 1e-9:
            break
        if off < 0:
            under = at
        else:
            over = at
        if before is not None and before[0] != at:
            gain = (off - before[1]) / (at - before[0])
        before = at, off
        at = at - off / gain if gain > 0.05 else under
        if not under < at < over:
            at = (under + over) / 2
    return rate - (1 - rest)


def _rate(yes: int, no: int, slope: float) -> float:
    """The rate at which the log-likelihood rises with this slope; 0 where it does so nowhere."""
    if not yes:
        return 0.0
    return 2 * yes / (slope + yes + no + sqrt((slope + no - yes) ** 2 + 4 * yes * no))


def _log_likelihood(yes: int, no: int, rate: float) -> float:
    return (yes * log(rate) if yes else 0.0) + (no * log1p(-rate) if no else 0.0)


SHORT = 8  # words; up to these every word counts
OVERLAP = 0.8  # of the words of two longer texts, counted with their repetitions
MAX_CHARACTERS = 10_000  # about 1,700 words, 3 ms; what follows is not compared

_WORDS = re.compile(
    r"(?:(?<![^\W_])[-+\u2212])?[0-9]+(?:[.,][0-9]+)*"  # a number, with its sign
    r"|[\u3040-\u30ff\u3400-\u9fff]"  # scripts without spaces: each sign is a word
    r"|[^\W_]+(?:['\u2019][^\W_]+)*"
    r"|[<>=\u2264\u2265\u2260\u00b1+/^%$\u20ac\u00a3\u00a5\u00b0]"  # other signs carry nothing
)
_THOUSANDS = re.compile(r",(?=[0-9]{3}(?![0-9]))")
_NEGATED = {"won't": "will", "can't": "can", "shan't": "shall", "cannot": "can"}
_NUMBERS = {word: str(value) for word, value in NUMBER_WORDS.items() if word != "one"}


def agrees(fresh: str, served: str) -> bool:
    """Whether two answers say the same, as far as their words show.

    They do when they are equal save for case, white space, punctuation and contractions; or when
    both are longer than ``SHORT`` words, share ``OVERLAP`` of them, and have the same numbers,
    symbols and negations in the same order. Of long texts the first ``MAX_CHARACTERS`` count.

    It errs towards "differs": the same thing in other words is a difference. That is harmless, as
    it happens to the control arm alike and is subtracted; it costs samples, not truth. The other
    error would not cancel, for it hides wrong answers and the control arm has none to hide. What
    still slips through: one exchanged word, or two in each other's place, in a long text.
    """
    if fresh == served:
        return True
    ours, theirs = _words(fresh), _words(served)
    if not ours and not theirs:
        return fresh.split() == served.split()
    if ours == theirs:
        return True
    if min(len(ours), len(theirs)) <= SHORT or _fixed(ours) != _fixed(theirs):
        return False
    shared = (Counter(ours) & Counter(theirs)).total()
    return 2 * shared >= OVERLAP * (len(ours) + len(theirs))


def _words(text: str) -> list[str]:
    folded = unicodedata.normalize("NFKC", text[:MAX_CHARACTERS]).casefold()
    words: list[str] = []
    for word in _WORDS.findall(folded.replace("\u2019", "'").replace("\u2212", "-")):
        if word.isalpha() and word != "cannot":
            words.append(_NUMBERS.get(word, word))
        elif word.endswith("n't") or word == "cannot":
            words += (_NEGATED.get(word, word.removesuffix("n't")), "not")
        else:
            words.append(_THOUSANDS.sub("", word.replace("'", "")))
    return words


def _fixed(words: list[str]) -> list[str]:
    """What a reworded text may not change: numbers, symbols and negations, in their order."""
    return [word for word in words if word in NEGATIONS or not word.isalpha()]
