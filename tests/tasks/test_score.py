"""``gains score`` from settings to files."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig

from gains.config import compose
from gains.errors import InputError
from gains.metrics.names import BY_NAME
from gains.rle import encode_crop
from gains.tasks.score import run

KEYS = {*BY_NAME, "n_images", "n_ground_truth", "n_predictions", "score_threshold", "max_detections"}


def square(x: int, y: int, side: int) -> dict[str, Any]:
    return encode_crop(np.ones((side, side), bool), (x, y, x + side, y + side), (40, 40))


def write(path: Path, content: Any) -> str:
    path.write_text(json.dumps(content))
    return str(path)


def write_scene(folder: Path, images: int = 4, shift: int = 1, score: float = 0.8) -> tuple[str, str]:
    """Ground truth of two squares per image, and predictions moved to the right, with one unsure false positive."""
    truth = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "cell"}]}
    found = []
    for image_id in range(1, images + 1):
        truth["images"].append({"id": image_id, "file_name": f"{image_id}.png", "height": 40, "width": 40})
        for x in (2, 20):
            common = {"image_id": image_id, "category_id": 1}
            annotation = common | {"id": len(truth["annotations"]) + 1, "segmentation": square(x, 4, 10 + image_id)}
            truth["annotations"].append(annotation)
            found.append(common | {"segmentation": square(x + shift, 4, 10 + image_id), "score": score})
        found.append(common | {"segmentation": square(0, 30, 5), "score": 0.2})
    return write(folder / "gt.json", truth), write(folder / f"pred{shift}.json", found)


def config(folder: Path, *overrides: str) -> DictConfig:
    return compose("score", f"output={folder / 'out'}", "bootstrap_samples=50", *overrides)


def scored(folder: Path, *overrides: str) -> dict[str, Any]:
    run(config(folder, *overrides))
    results: dict[str, Any] = json.loads((folder / "out" / "results.json").read_text())
    return results


def test_files_and_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = write_scene(tmp_path)
    results = scored(tmp_path, f"ground_truth={truth}", f"predictions={found}")
    assert set(results["metrics"]) == set(results["per_category"]["cell"]) == KEYS
    metrics = results["metrics"]
    ious = [(side - 1) / (side + 1) for side in (11, 12, 13, 14)]
    assert metrics["aji"] == pytest.approx(np.mean(ious))
    assert metrics["sq"] == metrics["pq"] == pytest.approx(np.mean(ious))
    assert (metrics["n_images"], metrics["n_ground_truth"], metrics["n_predictions"]) == (4, 8, 12)
    assert (metrics["score_threshold"], metrics["max_detections"]) == (0.5, 100)
    assert metrics["aji_paper"] < metrics["aji"]
    low, high = results["intervals"]["metrics"]["aji"]
    assert min(ious) <= low < metrics["aji"] < high <= max(ious)
    rows = list(csv.DictReader((tmp_path / "out" / "per_image.csv").open()))
    assert [row["file_name"] for row in rows] == ["1.png", "2.png", "3.png", "4.png"]
    assert [row["aji"] for row in rows] == [str(round(iou, 4)) for iou in ious]
    assert all(len(value.partition(".")[2]) <= 4 for row in rows for name, value in row.items() if name != "file_name")
    files = ["arrangement.csv", "per_image.csv", "results.json"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    printed = capsys.readouterr().out
    assert "AJI standard" in printed
    assert ">= 0.5" in printed
    assert f"{metrics['aji']:.4f}" in printed
    assert re.search(r"0\.\d{4}\s+\[0\.\d{4}, 0\.\d{4}\]", printed)


def test_comparison_is_of_these_minus_the_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    truth, found = write_scene(tmp_path)
    _, other = write_scene(tmp_path, shift=2)
    results = scored(tmp_path, f"ground_truth={truth}", f"predictions={found}", f"compare={other}")
    comparison = results["comparison"]
    change = comparison["differences"]["aji"]
    assert change["difference"] == pytest.approx(results["metrics"]["aji"] - comparison["metrics"]["aji"])
    assert 0 < change["low"] <= change["difference"] <= change["high"]
    assert comparison["per_category_differences"]["cell"] == comparison["differences"]
    assert "difference" in capsys.readouterr().out


def test_threshold_is_tuned_on_the_validation_files(tmp_path: Path) -> None:
    truth, found = write_scene(tmp_path)
    (tmp_path / "val").mkdir()
    val_truth, val_found = write_scene(tmp_path / "val", images=2, score=0.4)
    files = (f"validation_ground_truth={val_truth}", f"validation_predictions={val_found}")
    results = scored(tmp_path, f"ground_truth={truth}", f"predictions={found}", "tune_threshold=true", *files)
    chosen = results["metrics"]["score_threshold"]
    assert 0.2 < chosen <= 0.4
    assert results["threshold_tuning"]["chosen"] == results["score_thresholds"]["aji"] == chosen
    curve = {point["score_threshold"]: point["value"] for point in results["threshold_tuning"]["curve"]}
    assert curve[chosen] == max(curve.values()) > curve[0.2]
    assert curve[0.45] == 0.0


def test_a_single_image_has_no_intervals(tmp_path: Path) -> None:
    truth, found = write_scene(tmp_path, images=1)
    assert "intervals" not in scored(tmp_path, f"ground_truth={truth}", f"predictions={found}")


def test_undefined_metrics_are_null(tmp_path: Path) -> None:
    empty = {"images": [{"id": 1, "height": 9, "width": 9}], "annotations": [], "categories": [{"id": 1, "name": "c"}]}
    truth, found = write(tmp_path / "gt.json", empty), write(tmp_path / "pred.json", [])
    results = scored(tmp_path, f"ground_truth={truth}", f"predictions={found}")
    assert [results["metrics"][name] for name in BY_NAME] == [None] * len(BY_NAME)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["predictions=p.json"], "ground_truth=PATH is missing"),
        (["ground_truth=g.json", "predictions=p.json"], r"ground_truth=g\.json does not exist"),
        (["ground_truth=g", "predictions=p", "max_detections=0"], "max_detections=0 must be 1 or more"),
        (["ground_truth=g", "predictions=p", "bootstrap_samples=-1"], "bootstrap_samples=-1 must be"),
        (["ground_truth=g", "predictions=p", "tune_threshold=true"], "needs validation_ground_truth=PATH"),
        (["ground_truth=g", "predictions=p", "tune_threshold=true", "tune_metric=iou"], "must be one of aji, f1_50"),
    ],
)
def test_bad_settings_are_named_and_nothing_is_written(tmp_path: Path, overrides: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        run(config(tmp_path, *overrides))
    assert not (tmp_path / "out").exists()


def test_how_instances_lie_is_scored_for_any_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two overlapping cells, found but for the part that they share, and a nucleus in one of them, alone, missed."""
    categories = [{"id": 1, "name": "cell"}, {"id": 2, "name": "nucleus"}]
    boxes = [(1, (0, 0, 20, 20)), (1, (15, 0, 35, 20)), (2, (2, 2, 6, 6))]
    shapes = [(label, rectangle(box)) for label, box in boxes]
    truth = {
        "images": [{"id": 1, "file_name": "1.png", "height": 40, "width": 40}],
        "annotations": [
            {"id": index, "image_id": 1, "category_id": label, "segmentation": shape}
            for index, (label, shape) in enumerate(shapes, 1)
        ],
        "categories": categories,
    }
    found = [
        {"image_id": 1, "category_id": 1, "segmentation": rectangle(box), "score": 0.9}
        for box in ((0, 0, 15, 20), (20, 0, 35, 20))
    ]
    truth_file, found_file = write(tmp_path / "gt.json", truth), write(tmp_path / "pred.json", found)
    results = scored(tmp_path, f"ground_truth={truth_file}", f"predictions={found_file}")
    cells, nuclei = results["arrangement"]["cell"], results["arrangement"]["nucleus"]
    assert cells["groups"]["overlapping"] == {"recall": 1.0, "mean_iou": 0.75, "n_ground_truth": 2}
    assert cells["covered"] == {"covered_recall": 0.0, "rest_recall": 1.0, "precision": 1.0, "n_ground_truth": 2}
    assert nuclei["groups"]["alone"]["recall"] == 0.0
    rows = list(csv.DictReader((tmp_path / "out" / "arrangement.csv").open()))
    assert len(rows) == 3 * 8  # all, cell, nucleus: four groups, covered ones and their three classes
    row = next(row for row in rows if (row["category"], row["instances"]) == ("all", "covered"))
    assert (row["n_ground_truth"], row["covered_recall"], row["rest_recall"], row["recall"]) == ("2", "0.0", "1.0", "")
    assert "covered, light" in capsys.readouterr().out


def rectangle(box: tuple[int, int, int, int]) -> dict[str, Any]:
    x0, y0, x1, y1 = box
    return encode_crop(np.ones((y1 - y0, x1 - x0), bool), box, (40, 40))


@pytest.mark.parametrize(
    ("arranged", "present", "absent"),
    [
        ("touch", ["touching"], ["overlapping", "crossing"]),
        ("overlap", ["overlapping"], ["crossing"]),
        ("cross", ["crossing"], []),
    ],
)
def test_groups_of_composed_chromosomes_are_those_they_were_arranged_in(
    shared: Path, tmp_path: Path, arranged: str, present: list[str], absent: list[str]
) -> None:
    path = shared / "data" / "chromosomes" / "annotations.json"
    if not path.is_file():
        pytest.skip("needs ../shared/data/chromosomes")
    coco = json.loads(path.read_text())
    coco["images"] = [image for image in coco["images"] if image["arrangement"] == arranged]
    ids = {image["id"] for image in coco["images"]}
    coco["annotations"] = [entry for entry in coco["annotations"] if entry["image_id"] in ids]
    kept = ("image_id", "category_id", "segmentation")
    found = [{name: entry[name] for name in kept} | {"score": 1.0} for entry in coco["annotations"]]
    truth, predictions = write(tmp_path / "gt.json", coco), write(tmp_path / "pred.json", found)
    results = scored(tmp_path, f"ground_truth={truth}", f"predictions={predictions}", "bootstrap_samples=0")
    groups = results["arrangement"]["all"]["groups"]
    assert all(groups[name]["n_ground_truth"] > 0 and groups[name]["recall"] == 1 for name in present)
    assert all(groups[name]["n_ground_truth"] == 0 for name in absent)
    assert sum(group["n_ground_truth"] for group in groups.values()) == len(coco["annotations"])
