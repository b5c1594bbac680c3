"""Medians and histograms of counted numbers are those of the numbers themselves."""

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gains.reports.html import histogram
from gains.reports.tally import counted, median

NUMBERS = st.lists(st.integers(-9, 9) | st.sampled_from([0.25, 1e6, 123.5]), max_size=30)


@given(NUMBERS)
def test_counted_numbers_say_what_the_numbers_say(values: list[float]) -> None:
    tally = Counter(values)
    assert histogram(tally) == histogram(values)
    numbers, counts = counted(tally)
    assert np.repeat(numbers, counts).tolist() == sorted(values)
    if values:
        assert median(tally) == median(values) == pytest.approx(np.median(values))
    else:
        assert math.isnan(median(tally))


def test_bars_are_as_high_as_numbers_are_many() -> None:
    page = histogram({1: 3, 2: 1, 4: 8})
    assert [f": {count}<" in page for count in (3, 1, 8, 0)] == [True] * 4
    assert "n = 12, median 4" in page
