"""One operating point from training to the written files, on a tiny generated data set."""

import csv
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from gains.models.checkpoint import read_checkpoint
from gains.operating_point import OperatingPoint
from helpers.commands import gains

DATA = ["dataset.format.num_images=12", "dataset.format.image_size=64", "dataset.short_side=64", "num_workers=0"]
TINY = [
    *DATA,
    "model=mask_rcnn",
    "model.width={fpn: 16, box: 16, mask: 16}",
    "model.proposals={pre_nms: [50, 50], post_nms: [50, 30]}",
    "trainer.max_steps=4",
    "trainer.val_check_interval=4",
    "batch_size=2",
    "logger=csv",
]
# After four steps a network is sure of nothing.
POINT = ["min_score=0.001", "score_threshold=0.1", "nms=mask", "nms_iou=0.4", "max_detections=40"]


def results(run: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((run / "results.json").read_text())
    return found


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("work")
    gains(folder, "train", *TINY, *POINT, "hydra.run.dir=run")
    return folder / "run"


def evaluate(run: Path, name: str, *settings: str, status: int = 0) -> str:
    data = ["num_workers=0"] if "dataset=coco" in settings else DATA
    best = run / "checkpoints/best.ckpt"
    return gains(run.parent, "eval", f"checkpoint={best}", *data, f"hydra.run.dir={name}", *settings, status=status)


def test_what_train_was_given_reaches_checkpoint_table_and_predictions(run: Path) -> None:
    expected = OperatingPoint(0.001, 0.1, "mask", 0.4, False, 40)
    assert read_checkpoint(run / "checkpoints/best.ckpt").recipe.operating_point == expected
    assert results(run)["operating_point"] == expected.to_plain()
    metrics = results(run)["metrics"]
    assert (metrics["score_threshold"], metrics["max_detections"]) == (0.1, 40)
    entries = json.loads((run / "predictions.json").read_text())
    assert 0 < max(Counter(entry["image_id"] for entry in entries).values()) <= 40
    assert min(entry["score"] for entry in entries) > 0.001


def test_train_eval_and_score_give_the_same_numbers(run: Path) -> None:
    expected = results(run)["metrics"]
    assert expected["n_predictions"] > 0 < expected["aji"]
    evaluate(run, "again", "split=test")
    assert results(run.parent / "again")["metrics"] == expected
    truth = json.loads((run.parent / "data/overlapping_cells/annotations.json").read_text())
    splits = json.loads((run.parent / "data/overlapping_cells/splits.json").read_text())
    truth["images"] = [image for image in truth["images"] if Path(image["file_name"]).stem in splits["test"]]
    ids = {image["id"] for image in truth["images"]}
    truth["annotations"] = [entry for entry in truth["annotations"] if entry["image_id"] in ids]
    (run.parent / "truth.json").write_text(json.dumps(truth))
    files = ["ground_truth=truth.json", f"predictions={run}/predictions.json", "output=scored"]
    gains(run.parent, "score", *files, "score_threshold=0.1", "max_detections=40", "bootstrap_samples=0")
    scored = results(run.parent / "scored")["metrics"]
    assert {name: scored[name] for name in expected} == pytest.approx(expected, abs=1e-9, nan_ok=True)


def test_what_validation_logs_is_what_eval_finds(run: Path) -> None:
    evaluate(run, "validated", "split=val")
    with (run / "metrics.csv").open() as file:
        [row] = [row for row in csv.DictReader(file) if row.get("val/segm_map")]
    logged = {
        name.removeprefix("val/"): float(value) for name, value in row.items() if name.startswith("val/") and value
    }
    found = results(run.parent / "validated")["metrics"]
    assert len(logged) > 10
    assert logged == pytest.approx({name: found[name] for name in logged}, abs=1e-6, nan_ok=True)


def test_eval_sets_the_point_anew_for_network_and_evaluator(run: Path) -> None:
    evaluate(run, "capped", "max_detections=3", "score_threshold=0", "nms=box")
    metrics = results(run.parent / "capped")["metrics"]
    assert (metrics["score_threshold"], metrics["max_detections"]) == (0.0, 3)
    entries = json.loads((run.parent / "capped/predictions.json").read_text())
    assert set(Counter(entry["image_id"] for entry in entries).values()) == {3}
    assert metrics["n_predictions"] == len(entries)
    message = evaluate(run, "wrong", "min_score=5", status=2)
    assert "min_score=5 must be a number from 0 to 1" in message


def test_the_division_of_the_training_is_used(run: Path) -> None:
    """With another one images that were trained on would be evaluated."""
    message = evaluate(run, "fold", "dataset.fold=1", status=2)
    assert "dataset.fold=1 divides the images otherwise than the training" in message
    evaluate(run, "other", "dataset.fold=1", "split_from=dataset")
    stored = read_checkpoint(run / "checkpoints/best.ckpt").recipe.data
    assert stored is not None
    entries = json.loads((run.parent / "data/overlapping_cells/splits.json").read_text())
    assert stored.splits == {split: entries[split] for split in ("train", "val", "test")}
    # The folder is divided anew: the checkpoint keeps to its own.
    path = run.parent / "data/overlapping_cells/splits.json"
    swapped = entries | {"train": entries["test"] + entries["val"], "val": [], "test": entries["train"]}
    try:
        path.write_text(json.dumps(swapped))
        evaluate(run, "swapped")
    finally:
        path.write_text(json.dumps(entries))
    assert results(run.parent / "swapped")["metrics"] == results(run)["metrics"]


def test_a_truth_with_fewer_categories_is_met_by_name(run: Path) -> None:
    root = run.parent / "data/nuclei"
    root.mkdir()
    (root / "images").symlink_to(run.parent / "data/overlapping_cells/images")
    splits = json.loads((run.parent / "data/overlapping_cells/splits.json").read_text())
    (root / "splits.json").write_text(json.dumps(splits))
    truth = json.loads((run.parent / "data/overlapping_cells/annotations.json").read_text())
    [nucleus] = [entry for entry in truth["categories"] if entry["name"] == "nucleus"]
    truth["categories"] = [{**nucleus, "id": 7}, {"id": 9, "name": "debris"}]
    truth["annotations"] = [
        {**entry, "category_id": 7} for entry in truth["annotations"] if entry["category_id"] == nucleus["id"]
    ]
    (root / "annotations.json").write_text(json.dumps(truth))
    output = evaluate(run, "nuclei", "dataset=coco", f"dataset.root={root}")
    assert "of the checkpoint are not in the data set are not evaluated: cytoplasm" in output
    assert "of the data set are unknown to the checkpoint are not evaluated: debris" in output
    found = results(run.parent / "nuclei")
    assert list(found["per_category"]) == ["nucleus"]
    assert found["per_category"]["nucleus"] == results(run)["per_category"]["nucleus"]
    entries = json.loads((run.parent / "nuclei/predictions.json").read_text())
    assert {entry["category_id"] for entry in entries} == {7}
    message = evaluate(run, "debris", "dataset=coco", f"dataset.root={root}", "dataset.categories=[debris]", status=2)
    assert "dataset.categories has 'debris'; the checkpoint knows cytoplasm, nucleus" in message
    # Annotated anew, and divided so that images of the training are tested.
    (root / "splits.json").write_text(json.dumps(splits | {"train": splits["test"], "test": splits["train"]}))
    message = evaluate(run, "seen", "dataset=coco", f"dataset.root={root}", status=2)
    assert (
        f"{len(splits['train'])} images of split=test have names that the checkpoint was trained or chosen" in message
    )


def test_tuning_chooses_on_validation_stores_and_reports(run: Path) -> None:
    output = gains(
        run.parent, "train", *TINY, "min_score=0.02", "tune=true", "tune_metric=f1_50", "hydra.run.dir=tuned"
    )
    tuned = results(run.parent / "tuned")
    tuning = tuned["tuning"]
    assert len(tuning["tried"]) == 6
    best = max(tuning["tried"], key=lambda row: row["f1_50"])
    assert tuning["tried"][0] == {**tuning["tried"][0], "nms": "box", "nms_iou": 0.5}
    assert {name: tuning["chosen"][name] for name in ("nms", "nms_iou", "score_threshold")} == {
        name: best[name] for name in ("nms", "nms_iou", "score_threshold")
    }
    chosen = OperatingPoint(**tuning["chosen"])
    assert read_checkpoint(run.parent / "tuned/checkpoints/best.ckpt").recipe.operating_point == chosen
    assert tuned["metrics"]["score_threshold"] == chosen.score_threshold
    assert "tuned on" in output
    message = gains(run.parent, "train", *TINY, "tune=true", "tune_metric=map", "hydra.run.dir=untuned", status=2)
    assert "tune_metric=map must be one of aji, f1_50" in message
