"""Run folders to runs, and statistics there and back."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gains.comparison.collect import Key, collect, curve, is_finished, keep_run, read_run
from gains.comparison.tables import Comparison, as_csv, latex, markdown, tables
from gains.errors import InputError
from gains.masks import InstanceCrops
from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.stored import StoredStatistics, read_statistics, write_statistics
from gains.metrics.summary import summarise


def evaluated(shift: int) -> InstanceSegmentationEvaluator:
    """Three images of overlapping squares, found with an offset."""
    evaluator = InstanceSegmentationEvaluator({1: "cell", 2: "nucleus"}, arrangement=True)
    generator = np.random.default_rng(1)
    for image in range(3):
        dense = torch.zeros(4, 40, 40, dtype=torch.bool)
        for mask, (x, y) in zip(dense, generator.integers(0, 22, (4, 2)).tolist(), strict=True):
            mask[y : y + 12, x : x + 14] = True
        labels = np.array([1, 1, 1, 2])
        found = InstanceCrops.from_dense(dense.roll(shift, 2)).to_rle()
        target = {"image_id": image, "labels": labels, "masks": InstanceCrops.from_dense(dense).to_rle()}
        evaluator.update([{"scores": np.array([0.9, 0.8, 0.7, 0.6]), "labels": labels, "masks": found}], [target])
    return evaluator


def write_run(folder: Path, model: str, seed: int, shift: int, fold: int | None = None) -> None:
    folder.mkdir(parents=True)
    evaluator = evaluated(shift)
    image_ids, statistics = evaluator.statistics()
    write_statistics(folder / "statistics.npz", StoredStatistics([str(i) for i in image_ids], statistics, 0.5, 100))
    (folder / "results.json").write_text(json.dumps(evaluator.compute() | {"costs": {"parameters": 2_000_000}}))
    (folder / "metrics.csv").write_text("step,val/segm_map\n10,0.2\n11,\n20,0.4\n")
    config: dict[str, Any] = {"dataset": {"name": "cells", "fold": fold}, "model": {"name": model}, "seed": seed}
    (folder / "config.yaml").write_text(json.dumps(config))


def test_statistics_there_and_back(tmp_path: Path) -> None:
    image_ids, statistics = evaluated(1).statistics()
    stored = StoredStatistics([str(i) for i in image_ids], statistics, 0.25, 77)
    write_statistics(tmp_path / "s.npz", stored)
    again = read_statistics(tmp_path / "s.npz")
    assert (again.images, again.score_threshold, again.max_detections) == (["0", "1", "2"], 0.25, 77)
    weights = np.array([2.0, 0.0, 1.0])
    expected, found = summarise(statistics, weights), summarise(again.statistics, weights)
    for one, other in zip((expected[0], *expected[1].values()), (found[0], *found[1].values()), strict=True):
        assert other == pytest.approx(one, nan_ok=True)
    for name, category in statistics.items():
        assert category.lie is not None
        lie = again.statistics[name].lie
        assert lie is not None
        assert np.array_equal(lie.groups, category.lie.groups)
        assert np.array_equal(lie.regions, category.lie.regions)


def test_what_is_kept_of_a_run_is_read_as_the_run_and_names_no_folder_of_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "outputs" / "run"
    write_run(folder, "gains", 3, 1)
    results = json.loads((folder / "results.json").read_text())
    (folder / "results.json").write_text(json.dumps(results | {"checkpoint": str(folder / "best.ckpt")}))
    (folder / "environment.json").write_text(json.dumps({"command": [str(tmp_path / "cli.py")], "threads": 2}))
    keep_run(folder, tmp_path / "kept" / "run")
    kept, original = read_run(tmp_path / "kept" / "run"), read_run(folder)
    assert (kept.key, kept.metrics, kept.curve) == (original.key, original.metrics, original.curve)
    assert kept.environment == {"command": ["cli.py"], "threads": 2}
    assert kept.results["checkpoint"] == "outputs/run/best.ckpt"
    texts = [path.read_text() for path in (tmp_path / "kept" / "run").iterdir() if path.suffix != ".npz"]
    assert len(texts) == 4
    assert not any(str(tmp_path) in text for text in texts)


@pytest.mark.parametrize("damage", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"PK" + data])
def test_damaged_statistics_are_one_clear_message(tmp_path: Path, damage: Any) -> None:
    write_run(tmp_path / "run", "gains", 1, 1)
    path = tmp_path / "run" / "statistics.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=r"statistics\.npz is damaged"):
        read_run(tmp_path / "run")


def test_runs_are_found_wherever_they_lie(tmp_path: Path) -> None:
    write_run(tmp_path / "a" / "one", "gains", 1, 1)
    write_run(tmp_path / "b" / "deep" / "two", "mask_rcnn", 1, 2, fold=3)
    write_run(tmp_path / "b" / "unfinished", "mask_rcnn", 2, 2)
    (tmp_path / "b" / "unfinished" / "results.json").unlink()
    runs = collect([tmp_path / "a", tmp_path / "b"])
    assert [run.key for run in runs] == [Key("cells", "gains", 1), Key("cells", "mask_rcnn", 1, 3)]
    assert runs[0].curve == [(10, 0.2), (20, 0.4)]
    assert not is_finished(tmp_path / "b" / "unfinished")


def test_nothing_to_collect(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no finished run"):
        collect([tmp_path])
    with pytest.raises(InputError, match="does not exist"):
        collect([tmp_path / "nowhere"])


def test_a_results_file_of_something_else(tmp_path: Path) -> None:
    write_run(tmp_path / "run", "gains", 1, 1)
    (tmp_path / "run" / "results.json").write_text("[]")
    with pytest.raises(InputError, match="is no finished run"):
        read_run(tmp_path / "run")


def test_tables(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / f"g{seed}", "gains", seed, 1)
        write_run(tmp_path / f"m{seed}", "mask_rcnn", seed, 4)
    comparison = Comparison.of(collect([tmp_path]), "mask_rcnn", "segm_map", 50, 0)
    assert comparison.models == ["gains", "mask_rcnn"]
    results = tables(comparison)[0]
    assert [row[0] for row in results.rows] == ["gains", "mask_rcnn"]
    assert results.rows[0][-2:] == ["2", "1"]
    mean = comparison.units("cells", "gains")[1, -1].metrics["segm_map"]
    assert results.rows[0][1] == f"{mean:.3f} ± 0.000"
    text = "\n".join(markdown(table) for table in tables(comparison))
    for table in tables(comparison):
        assert {len(row) for row in table.rows} <= {len(table.header)}
    assert "2.0 |" in text  # millions of parameters
    assert as_csv(results).splitlines()[0] == ",".join(results.header)
    assert r"mask\_rcnn & " in latex(results)
    assert r"$\pm$" in latex(results)


def given(folder: Path, *settings: str) -> None:
    """Let a run's environment hold what its command line said."""
    (folder / "environment.json").write_text(json.dumps({"settings": list(settings)}))


def test_runs_of_a_sweep_that_differ_in_settings_alone_are_told_apart(tmp_path: Path) -> None:
    for index, (rate, seed) in enumerate([("0.1", 1), ("0.1", 2), ("0.2", 1), ("0.2", 2)]):
        write_run(tmp_path / str(index), "gains", seed, 1)
        given(tmp_path / str(index), "batch_size=1", f"+model.rate={rate}", f"seed={seed}", f"checkpoint={index}")
    write_run(tmp_path / "usual", "gains", 1, 1)
    given(tmp_path / "usual", "batch_size=1", "seed=1")
    write_run(tmp_path / "other", "mask_rcnn", 1, 1)
    given(tmp_path / "other", "+model.rate=0.3")
    found = [(run.key.model, run.key.seed) for run in collect([tmp_path])]
    assert found == [
        ("gains", 1),
        ("gains model.rate=0.1", 1),
        ("gains model.rate=0.1", 2),
        ("gains model.rate=0.2", 1),
        ("gains model.rate=0.2", 2),
        ("mask_rcnn", 1),
    ]


def test_of_a_run_done_twice_the_newer_counts(tmp_path: Path) -> None:
    for name, time, more in (("a", 2000, []), ("b", 1000, ["checkpoint=a/last.ckpt"])):
        write_run(tmp_path / name, "gains", 1, 1)
        given(tmp_path / name, "seed=1", "batch_size=2", *more)
        os.utime(tmp_path / name / "results.json", (time, time))
    [run] = collect([tmp_path])
    assert run.folder.name == "a"
    assert run.key.model == "gains"


def test_a_curve_that_is_being_written_holds_no_half_numbers(tmp_path: Path) -> None:
    text = "step,val/segm_map\n19,0.25\n39,0.75e-1\n"
    for end in range(len(text) + 1):
        (tmp_path / "metrics.csv").write_text(text[:end])
        assert curve(tmp_path / "metrics.csv") == [(19, 0.25), (39, 0.075)][: max(0, text[:end].count("\n") - 1)]
