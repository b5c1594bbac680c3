"""The benchmark of the method: settings that compose, and figures from finished runs."""

import sys
from pathlib import Path

import numpy as np
import pytest

from gains.config import compose
from gains.errors import InputError
from helpers.runs import make_run

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_method


def test_the_command_composes_to_short_runs_on_small_images(tmp_path: Path) -> None:
    settings = benchmark_method.command([11, 12], tmp_path)[4:]
    config = compose("compare", *settings)
    assert list(config.models) == ["mask_rcnn", "ablation/neither", "ablation/refinement", "gains"]
    assert list(config.seeds) == [11, 12]
    assert (config.trainer.max_steps, config.batch_size, config.trainer.precision) == (120, 2, "32-true")
    assert (config.dataset.format.image_size, config.dataset.short_side, config.dataset.seed) == (128, 128, 11)
    assert config.dataset.format.num_images * config.dataset.ratios[2] / sum(config.dataset.ratios) == 40


def test_rows_are_paired_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.linspace(0.3, 0.7, 12)
    runs = [make_run("mask_rcnn", values, seed, dataset="overlapping_cells") for seed in (1, 2, 3)]
    shifts = {1: 0.02, 2: 0.03, 3: -0.01}
    runs += [make_run("gains", values + shifts[seed], seed, dataset="overlapping_cells") for seed in shifts]
    monkeypatch.setattr(benchmark_method, "collect", lambda roots: runs)
    monkeypatch.setattr(benchmark_method, "METRICS", ("aji",))
    (row,) = benchmark_method.rows_of(benchmark_method.differences(tmp_path))
    assert row["difference"] == pytest.approx(0.04 / 3, abs=1e-4)
    assert row["low"] == pytest.approx(-0.01, abs=1e-4)
    assert row["high"] == pytest.approx(0.03, abs=1e-4)
    assert row["ahead"] == "2 of 3 seeds"
    monkeypatch.setattr(benchmark_method, "collect", lambda roots: runs[:3])
    with pytest.raises(InputError, match="no seed with a finished run of both gains and mask_rcnn"):
        benchmark_method.differences(tmp_path)
