"""The nearest cached texts of every lookup, as products of matrices. Needs the extra `semantic`."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.semantic.trials import Pairs, Trial

_BLOCK = 512  # rows a product; beside 20,000 texts that is 40 MiB

Matrix = NDArray[np.float32]
Neighbours = dict[int, list[tuple[int, float]]]


def matrix(vectors: Sequence[bytes | None], dimensions: int) -> Matrix:
    """One row a text; a text without a vector is a row of zeros, which is near to nothing."""
    empty = bytes(4 * dimensions)
    joined = b"".join(vector or empty for vector in vectors)
    return np.frombuffer(joined, "<f4").reshape(len(vectors), dimensions)


def neighbours(
    trial: Trial, rows: Matrix, floor: float, many: int, say: Callable[[str], None]
) -> Neighbours:
    """Of each text asked: at most `many` cached ones, the nearest first, none under `floor`."""
    if isinstance(trial, Pairs):
        return _of_pairs(rows, floor)
    found: Neighbours = {}
    for start in range(0, len(rows), _BLOCK):
        end = min(start + _BLOCK, len(rows))
        near = rows[start:end] @ rows[:end].T
        for i in range(start, end):
            line = near[i - start, :i]
            (over,) = np.nonzero(line >= floor)
            if len(over):
                found[i] = _first(line, over, many)
        if start // _BLOCK % 8 == 7:
            say(f"{trial.name}: neighbours of {end:,} of {len(rows):,} texts")
    return found


def _of_pairs(rows: Matrix, floor: float) -> Neighbours:
    near = np.einsum("ij,ij->i", rows[0::2], rows[1::2])
    return {2 * i + 1: [(2 * i, float(near[i]))] for i in np.nonzero(near >= floor)[0].tolist()}


def _first(line: Matrix, over: NDArray[Any], many: int) -> list[tuple[int, float]]:
    if len(over) > many:
        over = over[np.argpartition(-line[over], many - 1)[:many]]
    order = over[np.lexsort((over, -line[over]))]
    return [(int(i), float(line[i])) for i in order]


def cosine(a: bytes, b: bytes) -> float:
    """Of two unit vectors."""
    return float(np.dot(np.frombuffer(a, "<f4"), np.frombuffer(b, "<f4")))
