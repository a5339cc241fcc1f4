"""What a step found: each measure as median and spread over the repeats."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from bench.steps import Step

Sample = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure over the repeats."""

    median: float
    low: float
    high: float

    @property
    def spread(self) -> float:
        """Highest minus lowest, as a share of the median."""
        return (self.high - self.low) / self.median if self.median else 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """One row. Measures are named with their unit at the end (`_us`, `_ms`, `_mib`)."""

    step: Step
    measures: Mapping[str, Measure] = field(default_factory=dict)
    problem: str = ""

    def median(self, name: str) -> float | None:
        """The median of one measure, None where this step has none."""
        found = self.measures.get(name)
        return found.median if found else None

    def as_json(self, floor: "Result | None") -> dict[str, object]:
        """The row for a machine to read; `times_nginx` is null where nginx has no such measure."""
        measures = {}
        for name, measure in self.measures.items():
            base = floor.median(name) if floor else None
            times = round(measure.median / base, 4) if base else None
            measures[name] = {**asdict(measure), "spread": measure.spread, "times_nginx": times}
        return {"step": self.step.name, "problem": self.problem or None, "measures": measures}


def summed_up(samples: Sequence[Sample]) -> dict[str, Measure]:
    """Median, lowest and highest of every measure in the samples."""
    names = samples[0].keys() if samples else ()
    columns = {name: [sample[name] for sample in samples] for name in names}
    return {
        name: Measure(statistics.median(values), min(values), max(values))
        for name, values in columns.items()
    }


def single(value: float) -> Measure:
    """A measure taken once."""
    return Measure(value, value, value)
