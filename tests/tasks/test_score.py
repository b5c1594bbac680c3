"""``gains score`` from settings to files."""

import csv
import json
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
    assert [float(row["aji"]) for row in rows] == pytest.approx(ious)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["per_image.csv", "results.json"]
    printed = capsys.readouterr().out
    assert "AJI standard" in printed
    assert ">= 0.5" in printed
    assert f"{metrics['aji']:.4f}" in printed


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
