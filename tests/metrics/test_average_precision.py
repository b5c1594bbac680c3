"""Average precision against pycocotools itself."""

import contextlib
import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from helpers.metric_scenes import encode, metrics_of, rectangles, scenes


def pycocotools_precision(scene: list[dict[str, Any]], categories: int, kind: str, cap: int) -> list[float]:
    """mAP, AP50 and AP75 over all areas at the highest cap; NaN where pycocotools gives -1."""
    annotations: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image in scene:
        for index, mask in enumerate(encode(image["truth"])):
            annotations.append(entry(image["image_id"], image["truth_labels"][index], mask, len(annotations) + 1))
            annotations[-1]["iscrowd"] = int(image.get("crowd", np.zeros(len(image["truth"])))[index])
        for index, mask in enumerate(encode(image["found"])):
            results.append(entry(image["image_id"], image["labels"][index], mask, len(results) + 1))
            results[-1]["score"] = image["scores"][index]
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(
            indexed(scene, annotations, categories), indexed(scene, results, categories), iouType=kind
        )
        evaluation.params.maxDets = [1, cap]
        evaluation.evaluate()
        evaluation.accumulate()
    precision = evaluation.eval["precision"][:, :, :, 0, -1]
    return [
        float(part[part > -1].mean()) if (part > -1).any() else float("nan")
        for part in (precision, precision[0], precision[5])
    ]


def entry(image_id: int, label: int, mask: dict[str, Any], number: int) -> dict[str, Any]:
    box = coco_mask.toBbox(mask).tolist()
    area = float(coco_mask.area(mask))
    common = {"id": number, "image_id": image_id, "category_id": label, "iscrowd": 0}
    return common | {"segmentation": mask, "bbox": box, "area": area}


def indexed(scene: list[dict[str, Any]], annotations: list[dict[str, Any]], categories: int) -> COCO:
    coco = COCO()
    size = {"height": 20, "width": 20}
    coco.dataset = {
        "images": [{"id": image["image_id"], **size} for image in scene],
        "categories": [{"id": label, "name": f"c{label}"} for label in range(1, categories + 1)],
        "annotations": annotations,
    }
    coco.createIndex()
    return coco


def assert_equal(scene: list[dict[str, Any]], categories: int, cap: int) -> None:
    metrics = metrics_of(scene, categories, max_detections=cap)
    for kind in ("segm", "bbox"):
        got = [metrics[f"{kind}_map"], metrics[f"{kind}_map_50"], metrics[f"{kind}_map_75"]]
        expected = pycocotools_precision(scene, categories, kind, cap)
        assert got == pytest.approx(expected, abs=1e-9, nan_ok=True)


@settings(max_examples=40, deadline=None)
@given(scenes(images=4, categories=2), st.sampled_from([2, 100]))
def test_map_of_random_scenes(scene: list[dict[str, Any]], cap: int) -> None:
    assert_equal(scene, 2, cap)


@settings(max_examples=40, deadline=None)
@given(scenes(images=2), st.data())
def test_map_with_crowd_regions(scene: list[dict[str, Any]], data: st.DataObject) -> None:
    for image in scene:
        image["crowd"] = np.array([data.draw(st.booleans()) for _ in image["truth"]])
    assert_equal(scene, 1, 100)


def test_map_of_many_instances_beyond_the_cap() -> None:
    random = np.random.default_rng(0)
    masks = np.zeros((130, 20, 20), bool)
    for mask in masks:
        y, x = random.integers(0, 16, 2)
        mask[y : y + random.integers(2, 5), x : x + random.integers(2, 5)] = True
    labels, scores = np.ones(130, int), random.random(130)
    scene = [
        {
            "image_id": 1,
            "truth": masks,
            "truth_labels": labels,
            "found": masks[::-1],
            "labels": labels,
            "scores": scores,
        }
    ]
    assert_equal(scene, 1, 100)
    assert_equal(scene, 1, 130)


@pytest.mark.parametrize("order", [[0, 1], [1, 0]])
def test_a_tie_goes_to_the_later_ground_truth(order: list[int]) -> None:
    # The first detection overlaps both cells alike; only the second cell is left for the second detection.
    truth = rectangles([(4, 0, 10, 10), (6, 0, 12, 10)])[order]
    found = rectangles([(4, 0, 12, 10), (7, 0, 13, 10)])
    image = {"image_id": 1, "truth": truth, "truth_labels": [1, 1], "found": found, "labels": [1, 1]}
    assert_equal([image | {"scores": [0.9, 0.8]}], 1, 100)
    expected = 0.5 if order == [0, 1] else 1.0
    assert metrics_of([image | {"scores": [0.9, 0.8]}])["segm_map_50"] == pytest.approx(expected, abs=0.02)
