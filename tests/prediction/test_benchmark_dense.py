"""Caps on proposals that follow the data find what a fixed one hides; the mosaics that show it are what they say."""

import sys
from pathlib import Path

import numpy as np
from pycocotools import mask as coco_mask

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_dense
from benchmark_mosaics import best_ious, mosaic_of_cells


def test_a_mosaic_holds_the_instances_of_its_images_in_their_places() -> None:
    whole = mosaic_of_cells(2, (2, 3), side=64)
    first = mosaic_of_cells(1, (2, 3), side=64)
    masks = coco_mask.decode(whole.masks)  # type: ignore[arg-type]
    assert np.array_equal(whole.pixels[:64, :64], first.pixels)
    assert np.array_equal(masks[:64, :64, : len(first.masks)], coco_mask.decode(first.masks))  # type: ignore[arg-type]
    assert masks.any(axis=(0, 1)).all()
    assert not masks[64:, :, : len(first.masks)].any()
    assert len(whole.masks) >= 4 * 2 * 2, "two cells with a nucleus each in four images"


def test_each_true_instance_has_at_most_one_partner_of_its_category() -> None:
    drawn = mosaic_of_cells(1, (3, 3), side=64)
    assert best_ious(drawn.masks, drawn.labels, drawn.masks, drawn.labels).tolist() == [1.0] * len(drawn.masks)
    one = best_ious(drawn.masks[:1], drawn.labels[:1], drawn.masks[:1] * 2, drawn.labels[:1] * 2)
    assert sorted(one) == [0.0, 1.0], "found once is no partner of two"
    assert best_ious(drawn.masks[:1], [2], drawn.masks[:1], [1]).tolist() == [0.0]
    assert best_ious([], [], drawn.masks, drawn.labels).tolist() == [0.0] * len(drawn.masks)


def test_proposals_that_follow_the_data_find_what_a_fixed_cap_hides() -> None:
    fixed, follows = benchmark_dense.rows_of(across=1, cells=(9, 9), fixed=10, most=30, repeats=1)
    assert fixed["instances"] == follows["instances"] > 12
    assert fixed["recall at IoU 0.5"] * fixed["instances"] <= 10 < follows["recall at IoU 0.5"] * fixed["instances"]
    assert fixed["mAP"] < follows["mAP"]
