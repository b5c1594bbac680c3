"""``gains compare``: what it plans, what it refuses, and a study that is trained, killed in part and collected."""

import json
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from gains.comparison.collect import Key, claim, collect
from gains.comparison.queue import Job
from gains.comparison.tables import Comparison
from gains.errors import InputError
from gains.locks import alone_in
from gains.reports.comparison import write_comparison
from gains.tasks import compare
from helpers.commands import gains

SETTINGS: dict[str, Any] = {
    "models": ["mask_rcnn", "gains"],
    "datasets": ["isbi2014", "chromosomes"],
    "seeds": [1, 2],
    "folds": None,
    "baseline": "mask_rcnn",
    "jobs": 1,
    "keep": None,
}


def test_plan(tmp_path: Path) -> None:
    jobs = compare.plan(OmegaConf.create(SETTINGS), tmp_path, ["trainer.max_steps=5"])
    assert len(jobs) == 8
    # A seed after the other: whoever stops early has every method on every data set.
    assert [job.key.seed for job in jobs] == [1] * 4 + [2] * 4
    first = jobs[0]
    assert first.key == Key("isbi2014", "mask_rcnn", 1)
    assert first.folder == tmp_path / "runs" / "isbi2014_mask_rcnn_seed1"
    assert first.overrides == ("dataset=isbi2014", "model=mask_rcnn", "seed=1", "trainer.max_steps=5")


def test_an_experiment_is_a_method_of_its_own_name(tmp_path: Path) -> None:
    asked = {"models": ["mask_rcnn", "ablation/neither"], "baseline": "neither", "datasets": ["isbi2014"], "seeds": [1]}
    jobs = compare.plan(OmegaConf.create({**SETTINGS, **asked}), tmp_path, [])
    assert [job.key.name for job in jobs] == ["isbi2014_mask_rcnn_seed1", "isbi2014_neither_seed1"]
    assert jobs[1].overrides == ("dataset=isbi2014", "experiment=ablation/neither", "model.name=neither", "seed=1")


def test_folds_and_prepared_folders(tmp_path: Path) -> None:
    folder = tmp_path / "my cells"
    folder.mkdir()
    (folder / "annotations.json").write_text("{}")
    config = OmegaConf.create({**SETTINGS, "datasets": str(folder), "seeds": 3, "folds": [0, 1]})
    jobs = compare.plan(config, tmp_path, [])
    assert [job.key.fold for job in jobs] == [0, 0, 1, 1]
    assert jobs[-1].key.name == "my cells_gains_seed3_fold1"
    assert jobs[-1].overrides == (
        "dataset=coco",
        f'dataset.root="{folder}"',
        'dataset.name="my cells"',
        "model=gains",
        "seed=3",
        "dataset.fold=1",
    )


@pytest.mark.parametrize(
    ("changed", "message"),
    [({"baseline": "htc"}, "baseline=htc is not among"), ({"models": []}, "must each name at least one")],
)
def test_wrong_plans(tmp_path: Path, changed: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        compare.plan(OmegaConf.create({**SETTINGS, **changed}), tmp_path, [])


def test_settings_are_handed_on_unless_the_study_sets_them() -> None:
    given = ["models=[gains]", "trainer.max_steps=5", "+dataset.x=1", "output=o", "batch_size=2"]
    assert compare.handed_on(given) == ["trainer.max_steps=5", "+dataset.x=1", "batch_size=2"]
    with pytest.raises(InputError, match=r"give seeds=\[\.\.\.\]"):
        compare.handed_on(["seed=4"])


def test_studies_of_other_settings_are_not_mixed(tmp_path: Path) -> None:
    claim(tmp_path, ["trainer.max_steps=5", "batch_size=2"])
    claim(tmp_path, ["batch_size=2", "trainer.max_steps=5"])
    with pytest.raises(
        InputError, match=r"other settings \(batch_size=2 trainer\.max_steps=5\), given are trainer\.max_steps=6"
    ):
        claim(tmp_path, ["trainer.max_steps=6"])


def test_a_second_call_of_a_study_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would begin the first one's runs anew in their folders."""
    monkeypatch.setattr(compare, "PATIENCE", 0)
    with alone_in(tmp_path / "study", "output"):
        said = gains(tmp_path, "compare", "output=study", status=2)
    assert said == "gains compare: output=study: another call of gains is writing there; " + (
        "wait for it, or choose another folder\n"
    )
    assert list((tmp_path / "study").iterdir()) == []


@pytest.mark.slow
def test_a_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Trained with one run that fails, continued without training again, collected from what was kept."""
    tiny = [
        "dataset.format.num_images=10",
        "dataset.format.image_size=64",
        "dataset.short_side=64",
        f"dataset.root={tmp_path / 'data'}",
        "trainer.max_steps=2",
        "trainer.val_check_interval=2",
        "num_workers=0",
        "batch_size=1",
        "logger=csv",
    ]
    config = OmegaConf.create(
        {**SETTINGS, "datasets": ["overlapping_cells"], "seeds": [1], "keep": str(tmp_path / "kept")}
    )
    jobs = compare.plan(config, tmp_path, tiny)
    broken = Job(Key("overlapping_cells", "htc", 1), tmp_path / "runs" / "broken", ("model=nothing",))
    failures = compare.train([*jobs, broken], config)
    assert len(failures) == 1
    assert failures[0].startswith("overlapping_cells_htc_seed1 failed: exit status")
    times = {run.key: (run.folder / "results.json").stat().st_mtime_ns for run in collect([tmp_path / "runs"])}
    assert [key.model for key in times] == ["gains", "mask_rcnn"]

    capsys.readouterr()
    assert compare.train(jobs, config) == []
    assert "2 of 2 runs are finished" in capsys.readouterr().out
    assert {run.key: (run.folder / "results.json").stat().st_mtime_ns for run in collect([tmp_path / "runs"])} == times

    kept = collect([tmp_path / "kept"])
    assert sum(file.stat().st_size for file in (tmp_path / "kept").rglob("*")) < 200_000
    costs = kept[0].results["costs"]
    assert costs["training_seconds"] > 0
    assert costs["parameters"] > 1e6
    comparison = Comparison.of(kept, "mask_rcnn", "segm_map", 20, 0)
    write_comparison(tmp_path / "out", comparison, failures)
    content = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert set(content["differences"]["overlapping_cells"]["gains"]) >= {"segm_map", "aji"}
    page = (tmp_path / "out" / "comparison.html").read_text()
    assert "gains" in page
    assert "failed: exit status" in page
    for name in ("comparison.md", "comparison.csv", "comparison.tex"):
        assert "mask" in (tmp_path / "out" / name).read_text()
