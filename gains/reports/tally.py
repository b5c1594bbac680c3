"""Numbers that are counted: how often each occurs is all that a median or a histogram needs."""

import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np

from gains.arrays import FloatArray, IntArray

Tally: TypeAlias = Mapping[float, int]
"""How often each number occurs."""


def counted(values: Sequence[float] | Tally) -> tuple[FloatArray, IntArray]:
    """The numbers in ascending order, and how often each occurs."""
    if not isinstance(values, Mapping):
        return np.unique(np.asarray(values, dtype=np.float64), return_counts=True)
    numbers = sorted(values)
    return np.array(numbers, dtype=np.float64), np.array([values[each] for each in numbers], dtype=np.int64)


def median(values: Sequence[float] | Tally) -> float:
    """The median, of an even number the mean of the two in the middle; NaN of none."""
    numbers, counts = counted(values)
    if len(numbers) == 0:
        return math.nan
    through = np.cumsum(counts)
    middle = np.searchsorted(through, [(through[-1] - 1) // 2, through[-1] // 2], side="right")
    return float(numbers[middle].mean())
