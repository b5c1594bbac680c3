"""Tiled prediction against the truth, and against the same network on the whole image."""

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gains.instances import Instances
from gains.masks import InstanceCrops
from gains.prediction.predictor import Predictor
from gains.prediction.tiling import EDGE, TileGrid
from helpers.blob_finder import blob_predictor, draw_disks
from helpers.oracle_network import map_of_positions, oracle_predictor


def contents(instances: Instances) -> tuple[list[tuple[int, bytes]], list[float]]:
    """Label and mask of every instance, in an order of its own, and the scores in that order."""
    rows = sorted(
        (int(instances.labels[index]), instances.mask(index).tobytes(), float(instances.scores[index]))
        for index in range(len(instances))
    )
    return [(label, mask) for label, mask, _ in rows], [score for *_, score in rows]


def as_crops(masks: list[npt.NDArray[Any]]) -> InstanceCrops:
    return InstanceCrops.from_dense(torch.from_numpy(np.stack(masks).astype(bool)))


def found_again(masks: InstanceCrops, tile: int, overlap: int) -> bool:
    """Whether tiled prediction gives exactly the given masks, each once."""
    found = oracle_predictor(masks, tile, overlap).predict(map_of_positions(masks.size))
    truth = sorted(mask.numpy().astype(bool).tobytes() for mask in masks.dense())
    return truth == sorted(found.mask(index).tobytes() for index in range(len(found)))


@settings(max_examples=4, deadline=None)
@example(493, 64, 14)  # the mean of a disk rounds differently in a tile
@given(st.integers(0, 2**31), st.integers(64, 128), st.integers(12, 60))
def test_tiled_and_whole_predictions_are_equal(seed: int, tile: int, overlap: int) -> None:
    rng = np.random.default_rng(seed)
    size = (int(rng.integers(60, 300)), int(rng.integers(60, 300)))
    image = np.zeros((*size, 3), np.uint8)
    # Disks of one channel keep apart, those of the other overlap them; many are larger than the overlap.
    for channel, largest in ((0, 14), (1, 40)):
        disks: list[tuple[float, float, float]] = []
        for x, y, radius in rng.uniform((0, 0, 1), (size[1], size[0], largest), (150, 3)):
            if all((x - a) ** 2 + (y - b) ** 2 > (radius + r + 3) ** 2 for a, b, r in disks):
                disks.append((x, y, radius))
        image, _ = draw_disks(size, disks, channel, image)
    whole = blob_predictor(tile=1000).predict(image)
    tiled = blob_predictor(tile=tile, overlap=overlap).predict(image)
    (found, scores), (expected, expected_scores) = contents(tiled), contents(whole)
    assert found == expected
    assert scores == pytest.approx(expected_scores, abs=1e-5)


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31))
def test_crossing_bars_of_one_class_stay_apart_and_whole(seed: int) -> None:
    """Bars at random angles, most far longer than a tile, many crossing each other right on a seam."""
    rng = np.random.default_rng(seed)
    masks = []
    for _ in range(12):
        canvas = np.zeros((220, 260), np.uint8)
        start, end = rng.integers(0, 220, (2, 2))
        cv2.line(canvas, start.tolist(), end.tolist(), 1, int(rng.integers(4, 10)))
        masks.append(canvas)
    assert found_again(as_crops(masks), 96, 32)


@pytest.mark.parametrize("overlap", [24, 40])
def test_a_grid_of_instances_across_every_seam_comes_back_whole_once_each(overlap: int) -> None:
    size, tile = (330, 410), 100
    grid = TileGrid.covering(size, tile, overlap)
    centres = [(x, y) for x in [*grid.columns, *(grid.columns + tile)] for y in range(15, size[0], 30)]
    centres += [(x, y) for y in [*grid.rows, *(grid.rows + tile)] for x in range(15, size[1], 30)]
    rows, columns = np.mgrid[: size[0], : size[1]]
    masks = [((columns - x) ** 2 + (rows - y) ** 2 <= 9**2) for x, y in dict.fromkeys(centres)]
    masks = [mask for mask in masks if mask.any()]
    crops = as_crops(masks)
    boxes = crops.boxes.numpy()
    seams = sum(
        bool(((boxes[:, axis] < line) & (line < boxes[:, axis + 2])).any())
        for axis, starts, length in ((0, grid.columns, size[1]), (1, grid.rows, size[0]))
        for line in {*starts.tolist(), *(starts + tile).tolist()} - {0, length}
    )
    assert seams == 2 * (len(grid.columns) - 1) + 2 * (len(grid.rows) - 1), "the test must reach every seam"
    assert found_again(crops, tile, overlap)


def test_a_u_whose_legs_end_in_another_tile_is_one_instance() -> None:
    """The left tile sees two separate legs, the right one the whole bend: the blob finder knows no better."""
    image = np.zeros((90, 170, 3), np.uint8)
    image[20:30, 20:120, 0] = image[50:60, 20:120, 0] = image[20:60, 110:120, 0] = 200
    found = blob_predictor(1, tile=96, overlap=20).predict(image)
    assert len(found) == 1
    assert np.array_equal(found.mask(0), image[:, :, 0] > 0)


def test_a_piece_that_another_tile_sees_whole_is_left_to_that_tile(predictor: Callable[..., Predictor]) -> None:
    """A sliver at a tile's edge, too faint for the tile that sees all of it, is no instance."""
    image = np.zeros((100, 180, 3), np.uint8)
    image[40:60, 90:120, 0] = 140  # the whole has a mean of 140/255, below the threshold
    image[40:60, 90:100, 0] = 250  # the part in the left tile is above it
    assert len(predictor(1, tile=100, overlap=20, score_threshold=0.9).predict(image)) == 0
    image[40:60, 90:120, 0] = 250
    assert len(predictor(1, tile=100, overlap=20, score_threshold=0.9).predict(image)) == 1


def test_instances_shown_whole_in_several_tiles_come_once() -> None:
    masks = [np.zeros((100, 180), bool) for _ in range(2)]
    masks[0][30:42, 84 + EDGE : 96 - EDGE] = True
    masks[1][35:60, 84 + EDGE : 90] = True  # overlaps the first, equally seen by both tiles
    assert found_again(as_crops(masks), 100, 20)


def test_image_without_instances(predictor: Callable[..., Predictor]) -> None:
    found = predictor(tile=64, overlap=16).predict(np.zeros((150, 100), np.uint8))
    assert len(found) == 0
    assert found.size == (150, 100)
    assert found.masks.size == (150, 100)
