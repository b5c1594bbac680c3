"""The benchmark of fine-tuning: which images a run may learn from, what is done once, settings that compose."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from gains.config import compose

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_finetune as benchmark

SPLITS = {
    "train": [f"train_{index}" for index in range(18)],
    "val": [f"val_{index}" for index in range(6)],
    "test": [f"test_{index}" for index in range(6)],
}


@pytest.mark.parametrize("pool", [("train", "val"), ("val",)])
@pytest.mark.parametrize("count", ["0", "1", "2", "5", "all"])
def test_runs_learn_from_the_pool_and_never_from_test_images(pool: tuple[str, ...], count: str) -> None:
    allowed = {name for split in pool for name in SPLITS[split]}
    for seed in range(5):
        sides = benchmark.division(SPLITS, pool, count, seed)
        learned = [*sides["train"], *sides["val"]]
        assert len(learned) == len(set(learned)) == (len(allowed) if count == "all" else int(count))
        assert set(learned) <= allowed
        assert sides["test"] == SPLITS["test"]


def test_validation_images_are_counted_in_and_more_images_hold_the_fewer() -> None:
    sizes, before = {}, set[str]()
    for count in ("1", "2", "5", "10", "20", "all"):
        sides = benchmark.division(SPLITS, ("train", "val"), count, 3)
        sizes[count] = (len(sides["train"]), len(sides["val"]))
        assert before <= {*sides["train"], *sides["val"]}
        before = {*sides["train"], *sides["val"]}
    assert sizes == {"1": (1, 0), "2": (1, 1), "5": (4, 1), "10": (8, 2), "20": (16, 4), "all": (19, 5)}
    drawn = [benchmark.division(SPLITS, ("train", "val"), "5", seed)["train"] for seed in range(4)]
    assert len({tuple(names) for names in drawn}) > 1
    with pytest.raises(ValueError, match="7 images are asked for, there are 6"):
        benchmark.division(SPLITS, ("val",), "7", 1)


def prepared(folder: Path) -> Path:
    """A prepared folder with two objects in each image; its image files are empty."""
    names = [name for split in SPLITS.values() for name in split]
    images = [{"id": index, "file_name": f"{name}.png", "height": 4, "width": 4} for index, name in enumerate(names)]
    objects = [{"id": 2 * index + part, "image_id": index} for index in range(len(names)) for part in range(2)]
    (folder / "images").mkdir(parents=True)
    for name in names:
        (folder / "images" / f"{name}.png").touch()
    (folder / "annotations.json").write_text(json.dumps({"images": images, "annotations": objects, "categories": []}))
    (folder / "splits.json").write_text(json.dumps({"seed": 1, "official": False, **SPLITS}))
    return folder


def test_a_subset_holds_its_own_images_and_the_test_images_alone(tmp_path: Path) -> None:
    source, folder = prepared(tmp_path / "all"), tmp_path / "subset"
    sides = benchmark.write_subset(source, folder, ("train", "val"), "5", 1)
    content = json.loads((folder / "annotations.json").read_text())
    names = {Path(image["file_name"]).stem: image["id"] for image in content["images"]}
    assert set(names) == {*sides["train"], *sides["val"], *SPLITS["test"]}
    assert sorted(each["image_id"] for each in content["annotations"]) == sorted([*names.values(), *names.values()])
    assert {split: json.loads((folder / "splits.json").read_text())[split] for split in SPLITS} == sides
    assert all((folder / "images" / f"{name}.png").is_file() for name in names)


def test_a_run_is_done_once_and_leaves_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    prepared(tmp_path / "data" / "isbi2014")
    asked: list[Sequence[str]] = []

    def train(command: Sequence[str], **_: Any) -> None:
        asked.append(command)
        folder = Path(next(part for part in command if part.startswith("hydra.run.dir=")).partition("=")[2])
        folder.mkdir(parents=True)
        metrics = {"segm_map": 0.25, "segm_map_50": 0.5, "aji": None, "f1_50": 0.75}
        (folder / "results.json").write_text(json.dumps({"metrics": metrics, "costs": {"training_seconds": 90.0}}))
        (folder / "metrics.csv").write_text("step,val/segm_map\n19,0.3\n39,0.4\n59,0.2\n")

    monkeypatch.setattr(subprocess, "run", train)
    task = benchmark.TASKS["isbi2014"]
    for _ in range(2):
        for start, seed in (("weights", 1), ("scratch", 1), ("weights", 2)):
            benchmark.run(task, start, "5", seed, tmp_path / "data")
    assert len(asked) == 3
    benchmark.run(task, "weights", "0", 1, tmp_path / "data")
    rows = benchmark.read(benchmark.KEPT / "isbi2014.csv")
    assert [(row["start"], row["asked"], row["seed"]) for row in rows] == [
        ("weights", "5", "1"),
        ("scratch", "5", "1"),
        ("weights", "5", "2"),
        ("weights", "0", "1"),
    ]
    assert rows[0] | {"start": "", "asked": "", "seed": ""} == {
        **{"start": "", "asked": "", "images": "5", "validation images": "1", "seed": ""},
        **{"mAP": "0.25", "AP50": "0.5", "AJI": "0.0", "F1": "0.75", "validation mAP": "0.4"},
        **{"steps": "60", "minutes": "1.5"},
    }
    benchmark.draw({"isbi2014": rows}, tmp_path / "figure.png")
    assert (tmp_path / "figure.png").stat().st_size > 0


@pytest.mark.parametrize("name", benchmark.TASKS)
def test_both_starts_compose_to_the_same_network_and_size(name: str, tmp_path: Path) -> None:
    sides = {"train": ["a"] * 16, "val": ["b"] * 4, "test": ["c"]}
    configs = []
    for start in benchmark.LABELS:
        first, *settings = benchmark.command(benchmark.TASKS[name], start, tmp_path, sides, 1, tmp_path)
        assert first == "train"
        configs.append(compose("train", *settings))
    scratch, weights = configs
    assert scratch.model.network == weights.model.network
    assert scratch.augmentation == weights.augmentation
    assert scratch.dataset == weights.dataset
    assert scratch.callbacks.early_stop.patience == weights.callbacks.early_stop.patience
    assert (scratch.batch_size, scratch.trainer.precision) == (weights.batch_size, weights.trainer.precision)
    assert scratch.trainer.max_steps > weights.trainer.max_steps
    assert scratch.model.weights is None
    assert weights.model.weights == benchmark.TASKS[name].weights


@pytest.mark.parametrize(("images", "expected"), [(1, (1, "train")), (2, (1, "val")), (20, (4, "val"))])
def test_few_images_make_small_batches_and_one_validates_on_itself(
    images: int, expected: tuple[int, str], tmp_path: Path
) -> None:
    names = [str(index) for index in range(images)]
    sides = benchmark.division({"train": names, "val": [], "test": []}, ("train", "val"), str(images), 1)
    _, *settings = benchmark.command(benchmark.TASKS["isbi2014"], "scratch", tmp_path, sides, 1, tmp_path)
    config = compose("train", *settings)
    assert (config.batch_size, config.validate_on) == expected
