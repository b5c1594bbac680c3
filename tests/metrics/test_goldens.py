"""Every golden value that the evaluator defines, to 1e-6 (mAP to 1e-9)."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.matching.rows import compare
from gains.metrics.panoptic import count_matches

CASES = ["perfect", "shifted", "duplicates", "empty_predictions_one_image", "two_categories"]


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest, shared: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((shared / "oracles" / "metrics" / f"{request.param}.json").read_text())
    return loaded


def images(case: dict[str, Any], merge: bool = False) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and targets; category id k of the file is label k+1, or 1 for all."""

    def part(entries: list[dict[str, Any]], image_id: int) -> dict[str, Any]:
        mine = [entry for entry in entries if entry["image_id"] == image_id]
        return {
            "image_id": image_id,
            "labels": [1 if merge else entry["category_id"] + 1 for entry in mine],
            "masks": [entry["segmentation"] for entry in mine],
            "scores": [entry.get("score", 1.0) for entry in mine],
        }

    ids = [image["id"] for image in case["gt"]["images"]]
    predictions = [part(case["detections"], image_id) for image_id in ids]
    return predictions, [part(case["gt"]["annotations"], image_id) for image_id in ids]


def evaluated(case: dict[str, Any], cap: int = 100) -> tuple[InstanceSegmentationEvaluator, dict[str, Any]]:
    names = {category["id"] + 1: str(category["id"]) for category in case["gt"]["categories"]}
    evaluator = InstanceSegmentationEvaluator(names, max_detections=cap, score_threshold=0.0)
    evaluator.update(*images(case))
    return evaluator, evaluator.compute()


@pytest.mark.parametrize("cap", [100, 500])
def test_average_precision(case: dict[str, Any], cap: int) -> None:
    results, expected = evaluated(case, cap)[1], case["coco_plain"][f"maxDets_{cap}"]
    for category, row in {None: expected, **expected["per_category"]}.items():
        metrics = results["metrics"] if category is None else results["per_category"][category]
        got = [metrics["segm_map"], metrics["segm_map_50"], metrics["segm_map_75"]]
        assert got == pytest.approx([row["AP"], row["AP50"], row["AP75"]], abs=1e-9)


def test_aji_of_the_paper(case: dict[str, Any]) -> None:
    results, expected = evaluated(case)[1], case["official"]["AJI_all_area_only_per_category"]
    got = {name: metrics["aji_paper"] for name, metrics in results["per_category"].items()}
    assert got == pytest.approx(expected, abs=1e-6)
    assert results["metrics"]["aji_paper"] == pytest.approx(np.mean(list(expected.values())), abs=1e-6)


def test_aji_and_aji_plus(case: dict[str, Any]) -> None:
    evaluator, results = evaluated(case)
    expected = case["kumar"]["per_category"]["aggregate"]
    assert results["metrics"]["aji"] == pytest.approx(expected["once"]["mean"], abs=1e-6)
    assert results["metrics"]["aji_plus"] == pytest.approx(expected["hungarian"]["mean"], abs=1e-6)
    rows = {(row["image_id"], row["category"]): row for row in evaluator.per_image()}
    for row in case["kumar"]["per_category"]["rows"]:
        mine = rows[row["image_id"], str(row["category_id"])]
        got = [mine["aji"], mine["aji_plus"], mine["n_ground_truth"], mine["n_predictions"]]
        wanted = [row["once"]["AJI"], row["hungarian"]["AJI"], row["n_gt"], row["n_det"]]
        assert got == pytest.approx(wanted, abs=1e-6)


def test_class_agnostic_aji_is_that_of_one_category(case: dict[str, Any]) -> None:
    evaluator = InstanceSegmentationEvaluator({1: "any"}, score_threshold=0.0)
    evaluator.update(*images(case, merge=True))
    metrics, expected = evaluator.compute()["metrics"], case["kumar"]["class_agnostic"]["aggregate"]
    assert metrics["aji"] == pytest.approx(expected["once"]["mean"], abs=1e-6)
    assert metrics["aji_plus"] == pytest.approx(expected["hungarian"]["mean"], abs=1e-6)


def test_f1_averaged_over_images_is_the_official_one(case: dict[str, Any]) -> None:
    rows = evaluated(case)[0].per_image()
    for category, expected in case["official"]["F1_all_area_only_per_category"].items():
        mine = [row["f1_50"] for row in rows if row["category"] == category]
        assert np.mean(mine) == pytest.approx(expected, abs=1e-6)


def test_dice_of_pairs_is_the_official_one(case: dict[str, Any]) -> None:
    # The official list holds pairs of Dice above 0.7, which is an IoU above 0.7 / 1.3.
    rows = [row for pair in zip(*images(case), strict=True) for row in compare(*pair)]
    for expected in case["official"]["per_image_category_area"]:
        if expected["area"] != "all" or expected["num_D"] == 0:
            continue
        (row,) = [
            row for row in rows if (row.image_id, row.label - 1) == (expected["image_id"], expected["category_id"])
        ]
        counts = count_matches(row.best(100), 0.7 / 1.3)
        assert counts.true_positive == len(expected["DSC_list"])
        assert counts.dice == pytest.approx(sum(expected["DSC_list"]), abs=1e-6)
