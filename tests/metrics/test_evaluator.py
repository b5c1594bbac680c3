"""Edge cases and life cycle of the evaluator, alone and in two processes."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed, multiprocessing

from gains.metrics.evaluator import InstanceSegmentationEvaluator
from gains.metrics.names import BY_NAME
from helpers.metric_scenes import encode, evaluator_of, metrics_of, rectangles

ONE, TWO = (0, 0, 8, 8), (10, 10, 18, 18)


def image(image_id: int, truth: list[Any], found: list[Any], **more: Any) -> dict[str, Any]:
    labels = {"truth_labels": [1] * len(truth), "labels": [1] * len(found), "scores": [0.9] * len(found)}
    return {"image_id": image_id, "truth": rectangles(truth), "found": rectangles(found)} | labels | more


def test_nothing_at_all_is_undefined() -> None:
    metrics = metrics_of([image(1, [], [])])
    assert all(math.isnan(metrics[name]) for name in BY_NAME)
    assert (metrics["n_images"], metrics["n_ground_truth"], metrics["n_predictions"]) == (1, 0, 0)
    assert InstanceSegmentationEvaluator({1: "cell"}).compute()["metrics"]["n_images"] == 0


def test_no_predictions_score_0() -> None:
    metrics = metrics_of([image(1, [ONE, TWO], [])])
    assert [metrics[name] for name in BY_NAME] == [0.0] * len(BY_NAME)


def test_no_ground_truth_leaves_map_undefined_and_the_rest_0() -> None:
    metrics = metrics_of([image(1, [], [ONE])])
    assert all(math.isnan(metrics[name]) for name in BY_NAME if "map" in name or name == "aji_paper")
    assert metrics["aji"] == metrics["aji_plus"] == metrics["pq"] == metrics["f1_50"] == metrics["precision_50"] == 0.0


def test_an_empty_image_counts_only_if_something_was_found_in_it() -> None:
    full = image(1, [ONE, TWO], [ONE, TWO])
    assert metrics_of([full, image(2, [], [])])["aji"] == 1.0
    wrong = metrics_of([full, image(2, [], [ONE])])
    assert wrong["aji"] == wrong["aji_paper"] == 0.5
    assert wrong["precision_50"] == pytest.approx(2 / 3)
    below = metrics_of([full, image(2, [], [ONE], scores=[0.3])], score_threshold=0.5)
    assert below["aji"] == 1.0
    assert below["aji_paper"] == 0.5


def test_a_duplicate_detection_is_a_false_positive() -> None:
    metrics = metrics_of([image(1, [ONE], [ONE, ONE])])
    assert metrics["aji"] == metrics["aji_plus"] == metrics["aji_paper"] == 0.5
    assert metrics["f1_50"] == pytest.approx(2 / 3)
    assert metrics["segm_map"] == pytest.approx(1.0)


def test_crowd_regions_are_neither_found_nor_missed_nor_a_place_for_false_positives() -> None:
    crowd = {"crowd": np.array([False, True])}
    inside = (11, 11, 14, 14)
    metrics = metrics_of([image(1, [ONE, TWO], [ONE, inside, inside], **crowd)])
    assert [metrics[name] for name in BY_NAME] == pytest.approx([1.0] * len(BY_NAME))
    assert metrics["n_ground_truth"] == 1
    outside = metrics_of([image(1, [ONE, TWO], [ONE, (0, 10, 4, 14)], **crowd)])
    assert outside["precision_50"] == 0.5
    assert math.isnan(metrics_of([image(1, [TWO], [inside], crowd=np.array([True]))])["aji"])


def test_categories_are_kept_apart_and_averaged() -> None:
    scene = [image(1, [ONE, TWO], [ONE, TWO], truth_labels=[1, 2], labels=[1, 1])]
    results = evaluator_of(scene, 3).compute()
    assert results["per_category"]["c1"]["segm_map"] == pytest.approx(1.0)
    assert results["per_category"]["c1"]["precision_50"] == 0.5
    assert results["per_category"]["c2"]["recall_50"] == 0.0
    assert math.isnan(results["per_category"]["c3"]["pq"])
    assert results["metrics"]["segm_map"] == pytest.approx(results["metrics"]["recall_50"]) == 0.5
    assert results["metrics"]["aji"] == 0.25
    assert list(results["metrics"]) == list(results["per_category"]["c1"])


def test_the_cap_limits_map_and_the_paper_protocol_alone_and_is_said_to() -> None:
    boxes = [(x, y, x + 2, y + 2) for x in range(0, 20, 4) for y in range(0, 20, 4)]
    capped = evaluator_of([image(1, boxes, boxes)], max_detections=5).compute()
    assert capped["metrics"]["segm_map"] < 0.3
    assert capped["metrics"]["aji_paper"] == pytest.approx(5 / 25)
    assert capped["metrics"]["aji"] == capped["metrics"]["f1_75"] == 1.0
    assert "max_detections=5" in capped["notes"][0]
    assert "25" in capped["notes"][0]
    assert evaluator_of([image(1, boxes, boxes)], max_detections=25).compute()["notes"] == []


def test_score_thresholds_are_listed() -> None:
    thresholds = evaluator_of([image(1, [ONE], [ONE])], score_threshold=0.7).compute()["score_thresholds"]
    assert thresholds["aji"] == thresholds["pq"] == 0.7
    assert thresholds["segm_map"] is thresholds["aji_paper"] is None


def test_inputs_that_do_not_fit_are_refused() -> None:
    evaluator = InstanceSegmentationEvaluator({1: "cell"})
    mask, other = encode(rectangles([ONE]))[0], encode(rectangles([ONE], 24))[0]
    target = {"image_id": 7, "labels": [1], "masks": [mask]}
    good = {"scores": [0.5], "labels": [1], "masks": [mask]}
    with pytest.raises(ValueError, match="2 predictions for 1 targets"):
        evaluator.update([good, good], [target])
    with pytest.raises(ValueError, match="image 7: label 2"):
        evaluator.update([good | {"labels": [2]}], [target])
    with pytest.raises(ValueError, match=r"image 7.*\(20, 20\) and \(24, 24\)"):
        evaluator.update([good | {"masks": [other]}], [target])
    with pytest.raises(ValueError, match="image 7: the prediction has 1 masks but 2"):
        evaluator.update([good | {"scores": [0.5, 0.4]}], [target])
    with pytest.raises(ValueError, match="2 boxes but 1 masks"):
        evaluator.update([good | {"boxes": torch.zeros(2, 4)}], [target])
    assert evaluator.compute()["metrics"]["n_images"] == 0


def test_tensors_given_boxes_reset_and_moves() -> None:
    mask = encode(rectangles([ONE]))
    target = {"image_id": 1, "labels": torch.tensor([1]), "masks": mask}
    boxes = torch.tensor([[4.0, 0.0, 12.0, 8.0]])
    prediction = {"scores": torch.tensor([0.9]), "labels": torch.tensor([1]), "masks": mask, "boxes": boxes}
    evaluator = InstanceSegmentationEvaluator({1: "cell"})
    evaluator.update([prediction], [target])
    metrics = evaluator.to(torch.float64).to("cpu").compute()["metrics"]
    assert (metrics["segm_map"], metrics["bbox_map"]) == (pytest.approx(1.0), 0.0)
    evaluator.reset()
    assert evaluator.compute()["metrics"]["n_images"] == 0


def scene_of_five() -> list[dict[str, Any]]:
    scene = []
    random = np.random.default_rng(3)
    for image_id in range(1, 6):
        boxes = [(x, y, x + 6, y + 6) for x, y in random.integers(0, 12, (5, 2)).tolist()]
        moved = [(x + 1, y, x1 + 1, y1) for x, y, x1, y1 in boxes[:4]]
        scene.append(image(image_id, boxes, moved, scores=random.random(4).tolist()))
    return scene


def in_one_of_two(rank: int, folder: Path) -> None:
    """One process: images 1, 3, 5 or 2, 4 and, as a distributed sampler pads, 1 again."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    scene = scene_of_five()
    evaluator = evaluator_of(scene[rank::2] + scene[: 1 if rank else 0])
    torch.save((evaluator.compute(), evaluator.per_image(), len(evaluator.rows)), folder / f"{rank}.pt")
    distributed.destroy_process_group()


def test_two_processes_give_the_numbers_of_one(tmp_path: Path) -> None:
    evaluator = evaluator_of(scene_of_five())
    expected, rows = evaluator.compute(), evaluator.per_image()
    multiprocessing.start_processes(in_one_of_two, (tmp_path,), nprocs=2, start_method="fork")  # type: ignore[attr-defined, no-untyped-call]
    for rank in range(2):
        results, per_image, own = torch.load(tmp_path / f"{rank}.pt", weights_only=False)
        assert results == expected
        assert per_image == rows
        assert own == 3
