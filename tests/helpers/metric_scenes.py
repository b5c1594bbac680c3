"""Small random scenes with dense masks, and slow metrics written straight from their definitions."""

from itertools import permutations
from typing import Any

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from gains.metrics.evaluator import InstanceSegmentationEvaluator

SIDE = 20
Masks = npt.NDArray[np.bool_]


def encode(masks: Masks) -> list[dict[str, Any]]:
    """RLE by pycocotools' own encoder, ``(N, H, W)``."""
    return [coco_mask.encode(np.asfortranarray(mask.astype(np.uint8))) for mask in masks]


def rectangles(boxes: list[tuple[int, int, int, int]], side: int = SIDE) -> Masks:
    """Masks of boxes x0, y0, x1, y1."""
    masks = np.zeros((len(boxes), side, side), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return masks


@st.composite
def mask_sets(draw: st.DrawFn, most: int = 5) -> Masks:
    """Up to ``most`` overlapping rectangles with a corner bitten off, so that boxes and masks differ."""
    place = st.integers(0, SIDE - 8)
    size = st.integers(2, 8)
    shapes = draw(st.lists(st.tuples(place, place, size, size, st.integers(0, 3)), max_size=most))
    masks = rectangles([(x, y, x + w, y + h) for x, y, w, h, _ in shapes])
    for mask, (x, y, _, _, bite) in zip(masks, shapes, strict=True):
        mask[y : y + bite, x : x + bite] = False
    return masks[masks.any(axis=(1, 2))]


@st.composite
def scenes(draw: st.DrawFn, images: int = 3, most: int = 5, categories: int = 1) -> list[dict[str, Any]]:
    """Images with ground truth, detections (some of them shifted copies of it), labels and scores in tenths."""
    scene = []
    for image_id in range(1, draw(st.integers(1, images)) + 1):
        truth = draw(mask_sets(most))
        moved = [np.roll(mask, draw(st.integers(-2, 2)), 1) for mask in truth if draw(st.booleans())]
        found = np.concatenate([np.array(moved).reshape(-1, SIDE, SIDE), draw(mask_sets(most - 2))]).astype(bool)
        label = st.integers(1, categories)
        scene.append(
            {
                "image_id": image_id,
                "truth": truth,
                "truth_labels": [draw(label) for _ in truth],
                "found": found,
                "labels": [draw(label) for _ in found],
                "scores": [draw(st.integers(1, 10)) / 10 for _ in found],
            }
        )
    return scene


def evaluator_of(scene: list[dict[str, Any]], categories: int = 1, **settings: Any) -> InstanceSegmentationEvaluator:
    """An evaluator that has seen a scene; a score threshold of 0 unless given."""
    names = {label: f"c{label}" for label in range(1, categories + 1)}
    evaluator = InstanceSegmentationEvaluator(names, **({"score_threshold": 0.0} | settings))
    for image in scene:
        prediction = {"scores": image["scores"], "labels": image["labels"], "masks": encode(image["found"])}
        target = {
            "image_id": image["image_id"],
            "labels": image["truth_labels"],
            "masks": encode(image["truth"]),
            "iscrowd": image.get("crowd", np.zeros(len(image["truth"]))),
        }
        evaluator.update([prediction], [target])
    return evaluator


def metrics_of(scene: list[dict[str, Any]], categories: int = 1, **settings: Any) -> dict[str, float]:
    """The flat mapping over all categories."""
    metrics: dict[str, float] = evaluator_of(scene, categories, **settings).compute()["metrics"]
    return metrics


def perfect(scene: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The scene with its ground truth as detections."""
    return [
        image | {"found": image["truth"], "labels": image["truth_labels"], "scores": [0.9] * len(image["truth"])}
        for image in scene
    ]


def areas(truth: Masks, found: Masks) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Intersections and unions ``(G, D)`` of dense masks."""
    left, right = (masks.reshape(len(masks), SIDE * SIDE).astype(float) for masks in (truth, found))
    shared = left @ right.T
    return shared, left.sum(1)[:, None] + right.sum(1)[None] - shared


def best_total_iou(truth: Masks, found: Masks) -> float:
    """Highest total IoU of any one-to-one pairing, by trying all."""
    shared, union = areas(truth, found)
    iou = shared / np.maximum(union, 1)
    iou = iou if len(truth) <= len(found) else iou.T
    rows = range(iou.shape[0])
    return max(
        (
            sum(iou[i, j] for i, j in zip(rows, order, strict=True))
            for order in permutations(range(iou.shape[1]), iou.shape[0])
        ),
        default=0.0,
    )
