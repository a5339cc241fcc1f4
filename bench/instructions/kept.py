"""The figures that this repository keeps, and whether a step got dearer than they say."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from bench.instructions.counters import Kind
from bench.instructions.measuring import Figure

FILE = Path(__file__).with_name("kept.json")
TOLERANCE = {"instructions": 0.15, "time": 0.40}  # a busy machine alone changes time by a fifth
Kept = dict[str, dict[str, float]]


def place_of(kind: Kind) -> str:
    """Figures are compared with those of the same Python and the same way of counting."""
    counted = "time" if kind == "time" else "instructions"
    return f"{counted}, Python {sys.version_info.major}.{sys.version_info.minor}"


def read(file: Path = FILE) -> Kept:
    kept: Kept = json.loads(file.read_text()) if file.exists() else {}
    return kept


def write(place: str, figures: Mapping[str, Figure], file: Path = FILE) -> None:
    """Keep new figures of one place, beside those of steps that were not measured now."""
    kept = read(file)
    now = {name: round(figure.ratio, 4) for name, figure in figures.items()}
    kept[place] = dict(sorted((kept.get(place, {}) | now).items()))
    file.write_text(json.dumps(kept, indent=2) + "\n")


def tolerance(kind: Kind) -> float:
    """How much dearer a step may seem, as a share."""
    return TOLERANCE["time" if kind == "time" else "instructions"]


def dearer(figures: Mapping[str, Figure], kept: Mapping[str, float], tolerated: float) -> list[str]:
    """The steps that cost more than is tolerated over what is kept."""
    return [
        name
        for name, figure in figures.items()
        if name in kept and figure.ratio > kept[name] * (1 + tolerated)
    ]
