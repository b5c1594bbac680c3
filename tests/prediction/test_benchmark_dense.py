"""Mosaics of generated cells are what they say; caps that follow the data find what a fixed one hides in them."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pycocotools import mask as coco_mask

from gains.data.dataset import load_annotations
from gains.data.prepare import prepare
from gains.data.synthetic.overlapping_cells import OverlappingCells
from gains.masks import InstanceCrops
from gains.prediction.predictor import load_model
from gains.prediction.stitching import Pieces
from gains.prediction.tiling import TileGrid
from gains.rle import encode_crop

sys.path.insert(0, str(Path(__file__).parents[2] / "scripts"))
import benchmark_dense
import benchmark_mosaic
from benchmark_mosaics import Mosaic, best_ious, mosaic_of_cells, zoomed


def test_a_mosaic_holds_the_instances_of_its_images_in_their_places() -> None:
    whole = mosaic_of_cells(2, (2, 3), side=64)
    first = mosaic_of_cells(1, (2, 3), side=64)
    masks = coco_mask.decode(whole.masks)  # type: ignore[arg-type]
    assert np.array_equal(whole.pixels[:64, :64], first.pixels)
    assert np.array_equal(masks[:64, :64, : len(first.masks)], coco_mask.decode(first.masks))  # type: ignore[arg-type]
    assert masks.any(axis=(0, 1)).all()
    assert not masks[64:, :, : len(first.masks)].any()
    assert len(whole.masks) >= 4 * 2 * 2, "two cells with a nucleus each in four images"


def test_the_same_objects_are_drawn_larger_and_smaller() -> None:
    drawn = mosaic_of_cells(1, (3, 3), side=128)
    areas = coco_mask.area(drawn.masks)  # type: ignore[arg-type]
    for zoom in (0.5, 2.0):
        other = zoomed(drawn, zoom)
        assert other.pixels.shape == (128 * zoom, 128 * zoom)
        np.testing.assert_allclose(coco_mask.area(other.masks), areas * zoom**2, rtol=0.1, atol=3)  # type: ignore[arg-type]


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


def test_moved_images_hold_the_same_cells_further_right_and_down() -> None:
    image = mosaic_of_cells(1, (6, 6), side=128)
    other, whole = benchmark_mosaic.moved(image)
    step = benchmark_mosaic.SHIFT
    assert np.array_equal(other.pixels[step:, step:], image.pixels[:-step, :-step])
    for before, after, inside in zip(image.masks, other.masks, whole, strict=True):
        mask = coco_mask.decode(before)  # type: ignore[arg-type]
        beyond = bool(mask[-step:].any() or mask[:, -step:].any())
        assert inside == (not beyond)
        if inside:
            assert np.array_equal(coco_mask.decode(after)[step:, step:], mask[:-step, :-step])  # type: ignore[arg-type]


def test_a_mosaic_of_one_image_loses_nothing() -> None:
    model = load_model("cells@1", "cpu", tile=256)
    cells, nuclei = benchmark_mosaic.rows_of(model, benchmark_mosaic.generated(1, (5, 5)))
    assert 0 < cells["found alone"] <= cells["instances"] == nuclei["instances"] == 5
    assert cells["below 0.6 tiled"] == nuclei["below 0.6 tiled"] == 0
    assert 0 < cells["stitching / prediction"] < 1


def test_what_stitching_is_given_and_takes_is_looked_at() -> None:
    image = mosaic_of_cells(1, (5, 5))
    found = benchmark_mosaic.tiled(load_model("cells@1", "cpu", tile=160), image)
    assert 0 < found.share < 1
    assert found.iou.shape == found.shown.shape == (10,)
    assert found.iou.max() == pytest.approx(found.shown.max()), "the best of all is seen whole, and taken as it is"


def test_only_a_tile_that_sees_all_of_an_instance_shows_it_whole() -> None:
    grid = TileGrid.covering((100, 160), 100, 40)
    mask = np.ones((10, 30), bool)
    boxes = np.array([[85, 40, 115, 50], [20, 40, 50, 50]])
    truth = [encode_crop(mask, tuple(box), grid.size) for box in boxes.tolist()]
    image = Mosaic(np.zeros(grid.size, np.uint8), truth, [1, 1])
    crops = [torch.ones(10, 15, dtype=torch.uint8), torch.ones(10, 30, dtype=torch.uint8)]
    parts = torch.from_numpy(np.array([[85, 40, 100, 50], [20, 40, 50, 50]]))
    labels = np.array([1, 1])
    pieces = Pieces(InstanceCrops.from_crops(crops, parts, grid.size), np.ones(2), labels, np.array([0, 0]))
    assert benchmark_mosaic.shown_whole(pieces, grid, image).tolist() == [0.0, 1.0]


def test_images_of_a_prepared_data_set_come_with_their_instances(tmp_path: Path) -> None:
    source = OverlappingCells(5, 64, 1, (2, 2))
    prepare(source, tmp_path / "data", seed=1, ratios=[1, 0, 0])
    records = benchmark_mosaic.prepared_records(load_annotations(tmp_path / "data"))
    assert len(records) == 4, "the most that fill a square"
    for record, drawn in zip(records, source, strict=False):
        assert np.array_equal(record.pixels, drawn.pixels)
        assert [(one.category, one.mask) for one in record.instances] == [
            (one.category, one.mask) for one in drawn.instances
        ]
