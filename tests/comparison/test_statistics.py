"""Differences and intervals in closed form, against a second implementation, and by symmetry."""

import numpy as np
import pytest
from scipy import stats

from gains.comparison.statistics import Difference, compare, mean_ranks, spread
from gains.errors import InputError
from helpers.runs import make_run

RNG = np.random.default_rng(5)


def test_interval_of_a_mean_over_images() -> None:
    """With one seed the metric is a mean over images, whose bootstrap interval is known: 1.96 standard errors."""
    before, after = RNG.normal(0.5, 0.1, 400), RNG.normal(0.52, 0.1, 400)
    found = compare({(1, -1): make_run("b", after)}, {(1, -1): make_run("a", before)}, ["aji"], 4000, 0)["aji"]
    difference = after - before
    half = 1.96 * difference.std() / np.sqrt(len(difference))
    assert found.value == pytest.approx(difference.mean())
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.06)
    assert found.images == 400


def test_agrees_with_another_implementation() -> None:
    """scipy's percentile bootstrap of the paired mean difference."""
    before, after = RNG.gamma(2, 0.1, 60), RNG.gamma(2, 0.12, 60)
    found = compare({(1, -1): make_run("b", after)}, {(1, -1): make_run("a", before)}, ["aji"], 5000, 1)["aji"]
    expected = stats.bootstrap(
        (after - before,), np.mean, n_resamples=5000, method="percentile", rng=np.random.default_rng(2)
    ).confidence_interval
    width = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.06 * width)
    assert found.high == pytest.approx(expected.high, abs=0.06 * width)


def test_seeds_are_drawn_too() -> None:
    """Equal images, seeds that differ: the interval is that of the seeds' mean, and reaches their extremes."""
    shifts = {1: -0.1, 2: 0.0, 3: 0.4}
    method = {(seed, -1): make_run("b", np.full(20, 0.5 + shift), seed) for seed, shift in shifts.items()}
    baseline = {(seed, -1): make_run("a", np.full(20, 0.5), seed) for seed in shifts}
    found = compare(method, baseline, ["aji"], 3000, 0)["aji"]
    assert found.value == pytest.approx(0.1)
    assert found.per_seed == pytest.approx(shifts)
    # All three draws are seed 1 (or 3) in 1 of 27 samples, more than 2.5 %.
    assert (found.low, found.high) == pytest.approx((-0.1, 0.4))
    assert not found.shown


def test_pairing_removes_what_images_have_in_common() -> None:
    hard = RNG.normal(0.5, 0.3, 50)
    found = compare({(1, -1): make_run("b", hard + 0.01)}, {(1, -1): make_run("a", hard)}, ["aji"], 500, 0)["aji"]
    assert (found.low, found.value, found.high) == pytest.approx((0.01, 0.01, 0.01))
    assert found.shown


def test_exchanging_the_methods_turns_the_sign() -> None:
    one, other = {(1, -1): make_run("b", RNG.random(30))}, {(1, -1): make_run("a", RNG.random(30))}
    there, back = (compare(*pair, ["aji"], 300, 3)["aji"] for pair in ((one, other), (other, one)))
    assert (back.value, back.low, back.high) == pytest.approx((-there.value, -there.high, -there.low))


def test_folds_are_averaged_and_have_images_of_their_own() -> None:
    method = {(1, 0): make_run("b", np.full(9, 0.8), fold=0), (1, 1): make_run("b", np.full(12, 0.4), fold=1)}
    baseline = {(1, 0): make_run("a", np.full(9, 0.5), fold=0), (1, 1): make_run("a", np.full(12, 0.5), fold=1)}
    found = compare(method, baseline, ["aji"], 200, 0)["aji"]
    assert found.value == pytest.approx(0.1)
    assert found.images == 21
    assert spread(method, "aji")[0] == pytest.approx(0.6)


def test_only_common_units_count() -> None:
    method = {(seed, -1): make_run("b", np.full(5, 0.1 * seed), seed) for seed in (1, 2)}
    baseline = {(seed, -1): make_run("a", np.full(5, 0.1), seed) for seed in (2, 3)}
    assert compare(method, baseline, ["aji"], 50, 0)["aji"].per_seed == pytest.approx({2: 0.1})
    assert compare({(1, -1): method[1, -1]}, baseline, ["aji"], 50, 0) == {}


def test_other_images_are_refused() -> None:
    with pytest.raises(InputError, match="tested different images"):
        compare({(1, -1): make_run("b", RNG.random(4))}, {(1, -1): make_run("a", RNG.random(5))}, ["aji"], 10, 0)


def test_mean_and_deviation_over_seeds() -> None:
    runs = {(seed, -1): make_run("a", np.full(3, value), seed) for seed, value in ((1, 0.2), (2, 0.4), (3, 0.6))}
    assert spread(runs, "aji") == pytest.approx((0.4, 0.2))
    assert np.isnan(spread({(1, -1): runs[1, -1]}, "aji")[1])


def test_ranks() -> None:
    ranks = mean_ranks({"x": {"a": 0.3, "b": 0.5, "c": 0.5}, "y": {"a": 0.9, "b": 0.1, "c": 0.2}})
    assert ranks == {"a": 2.0, "b": 2.25, "c": 1.75}


@pytest.mark.parametrize("missing", [{}, {"c": float("nan")}])
def test_a_method_that_is_not_everywhere_moves_no_other(missing: dict[str, float]) -> None:
    ranks = mean_ranks({"x": {"a": 0.3, "b": 0.5, "c": 0.4}, "y": {"a": 0.9, "b": 0.1, **missing}})
    assert (ranks["a"], ranks["b"]) == (1.5, 1.5)
    assert np.isnan(ranks["c"])


def test_no_method_is_everywhere() -> None:
    ranks = mean_ranks({"x": {"a": 0.3}, "y": {"b": 0.1}})
    assert sorted(ranks) == ["a", "b"]
    assert all(np.isnan(rank) for rank in ranks.values())
    assert mean_ranks({}) == {}


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(-0.1, 0.3, "no difference shown"), (0.01, 0.3, "is ahead of"), (-0.4, -0.01, "is behind")],
)
def test_sentences(low: float, high: float, expected: str) -> None:
    difference = Difference((low + high) / 2, low, high, {1: 0.1, 2: 0.0}, 30)
    assert expected in difference.sentence("gains", "mask_rcnn", "mAP")
    assert "2 seeds, 30 images" in difference.sentence("gains", "mask_rcnn", "mAP")
