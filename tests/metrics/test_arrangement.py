"""How instances lie, on drawn shapes whose relation is known, on composed chromosomes, and in closed form."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.masks import InstanceCrops
from gains.metrics.arrangement import ALONE, CROSSING, GROUPS, OVERLAPPING, TOUCHING, arrange, covered_hits
from gains.metrics.matching.intersections import mask_pairs

SIDE = 60
Box = tuple[int, int, int, int]


def drawn(*boxes: Box) -> InstanceCrops:
    """Rectangles ``(x0, y0, x1, y1)``."""
    dense = torch.zeros(len(boxes), SIDE, SIDE, dtype=torch.bool)
    for mask, (x0, y0, x1, y1) in zip(dense, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return InstanceCrops.from_dense(dense)


@pytest.mark.parametrize(
    ("boxes", "expected"),
    [
        ([(5, 5, 20, 20)], [ALONE]),
        ([(5, 5, 20, 20), (40, 40, 50, 50)], [ALONE, ALONE]),
        ([(5, 5, 20, 20), (20, 5, 30, 20)], [TOUCHING, TOUCHING]),  # next to each other
        ([(5, 5, 20, 20), (21, 5, 30, 20)], [TOUCHING, TOUCHING]),  # one pixel between
        ([(5, 5, 20, 20), (22, 5, 30, 20)], [ALONE, ALONE]),  # two pixels between, centres three apart
        ([(5, 5, 20, 20), (21, 21, 30, 30)], [ALONE, ALONE]),  # diagonally: centres 2.8 apart
        ([(5, 5, 20, 20), (20, 20, 30, 30)], [TOUCHING, TOUCHING]),  # corner to corner
        ([(5, 5, 20, 20), (15, 5, 30, 20)], [OVERLAPPING, OVERLAPPING]),
        ([(5, 20, 50, 30), (20, 5, 30, 50)], [CROSSING, CROSSING]),  # a plus
        ([(5, 20, 50, 30), (20, 5, 30, 30)], [OVERLAPPING, OVERLAPPING]),  # a T: one of them stays whole
        ([(5, 5, 50, 50), (20, 20, 30, 30)], [OVERLAPPING, OVERLAPPING]),  # one inside the other
        ([(5, 20, 50, 30), (6, 5, 16, 50)], [OVERLAPPING, OVERLAPPING]),  # the piece left of the shared part is small
        ([(5, 5, 20, 20), (15, 5, 30, 20), (31, 5, 40, 20)], [OVERLAPPING, OVERLAPPING, TOUCHING]),
        ([], []),
    ],
)
def test_relations(boxes: list[Box], expected: list[int]) -> None:
    assert arrange(drawn(*boxes)).group.tolist() == expected


def random_masks(seed: int, count: int) -> npt.NDArray[np.bool_]:
    generator = np.random.default_rng(seed)
    masks = np.zeros((count, SIDE, SIDE), dtype=bool)
    y, x = np.mgrid[:SIDE, :SIDE]
    for mask in masks:
        centre, axes = generator.uniform(5, SIDE - 5, 2), generator.uniform(2, 16, 2)
        mask[((x - centre[0]) / axes[0]) ** 2 + ((y - centre[1]) / axes[1]) ** 2 <= 1] = True
    return masks


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**31), count=st.integers(0, 7))
def test_covered_part_and_symmetries(seed: int, count: int) -> None:
    """On full masks: what others cover; flipping changes nothing, nor does the order."""
    masks = random_masks(seed, count)
    found = arrange(InstanceCrops.from_dense(torch.from_numpy(masks)))
    others = [np.delete(masks, index, 0).any(0) & masks[index] for index in range(count)]
    assert np.array_equal(found.covered.dense().numpy().astype(bool), np.array(others).reshape(-1, SIDE, SIDE))
    shares = [other.any() for other in others]
    assert [group >= OVERLAPPING for group in found.group] == shares
    turned = arrange(InstanceCrops.from_dense(torch.from_numpy(masks.transpose(0, 2, 1)[::-1].copy())))
    assert turned.group[::-1].tolist() == found.group.tolist()


def test_covered_hits_are_counted_on_full_masks() -> None:
    masks = random_masks(3, 6)
    moved = np.roll(masks, 1, axis=2)
    truths, detections = (InstanceCrops.from_dense(torch.from_numpy(side)) for side in (masks, moved))
    pairs = mask_pairs(truths.to_rle(), detections.to_rle(), np.zeros(6, bool))
    covered = arrange(truths).covered
    hits = covered_hits(pairs, covered.to_rle(), detections.to_rle())
    dense = covered.dense().numpy().astype(bool)
    expected = [
        np.count_nonzero(dense[truth] & moved[detection]) if iou >= 0.5 else 0
        for truth, detection, iou in zip(pairs.truth, pairs.detection, pairs.iou, strict=True)
    ]
    assert hits.tolist() == expected
    assert max(expected) > 0


def test_composed_chromosomes_come_out_as_they_were_arranged(shared: Path) -> None:
    path = shared / "data" / "chromosomes" / "annotations.json"
    if not path.is_file():
        pytest.skip("needs ../shared/data/chromosomes")
    coco = json.loads(path.read_text())
    masks: dict[int, list[Any]] = {}
    for annotation in coco["annotations"]:
        masks.setdefault(annotation["image_id"], []).append(annotation["segmentation"])
    names = {"touch": "touching", "overlap": "overlapping", "cross": "crossing"}
    pairs: Counter[str] = Counter()
    for image in coco["images"]:
        crops = InstanceCrops.from_rle(masks[image["id"]], (image["height"], image["width"]))
        assert GROUPS[arrange(crops).group.max()] == names[image["arrangement"]]
        for i in range(len(crops)):
            for j in range(i):
                pairs[GROUPS[arrange(crops.select([i, j])).group[0]]] += 1
    assert [pairs[name] for name in GROUPS[1:]] == [127, 245, 144]
