"""Stitching of what a detector model finds in the tiles of scenes whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.prediction.stitching import Pieces, stitch
from gains.prediction.tiling import TileGrid
from helpers.tiled_scenes import (
    KINDS,
    Detector,
    Outcome,
    Scene,
    compare,
    random_pair,
    random_scene,
    reordered,
    scene_of,
    together,
)

CELLS = {"small": (10, 20), "middle": (28, 40), "large": (50, 80)}  # half-axes beside tiles of 192 that share 48
SEEDS = st.integers(0, 2**31)
# Tile and overlap; of giants that cover the whole of a small tile nobody can tell which goes on as which.
GRIDS = {(192, 48): list(KINDS), (96, 32): [kind for kind in KINDS if kind != "giant"]}


def outcome(scene: Scene, detector: Detector, tile: int, overlap: int, seed: int) -> Outcome:
    grid = TileGrid.covering(scene.size, tile, overlap)
    pieces, _ = detector.detect(scene, grid, np.random.default_rng(seed))
    return compare(stitch(pieces, grid)[0], scene)


@pytest.mark.parametrize("cells", CELLS)
@pytest.mark.parametrize(
    "detector",
    [
        Detector(),
        Detector(least_area=20),
        Detector(least_share=0.1),
        Detector(least_share=0.1, jitter=1),
        Detector(least_share=0.1, jitter=1, early=4),
    ],
    ids=["perfect", "under 20 pixels undetected", "under a tenth undetected", "outlines move", "outlines end early"],
)
def test_pairs_of_overlapping_cells_come_back_as_two(cells: str, detector: Detector) -> None:
    exact = detector.jitter == detector.early == 0
    for seed in range(25):
        scene = random_pair(np.random.default_rng(seed), (336, 336), CELLS[cells])
        found = outcome(scene, detector, 192, 48, seed)
        assert (found.lost, found.extra) == (0, 0), seed
        assert found.worst >= (0.98 if exact else 0.6)


@pytest.mark.parametrize("parts", [False, True], ids=["views whole", "views by part"])
@pytest.mark.parametrize("grid", GRIDS, ids=str)
@settings(max_examples=25, deadline=None)
@given(SEEDS, st.integers(1, 7))
def test_every_perfectly_seen_instance_comes_back_exactly(
    grid: tuple[int, int], parts: bool, seed: int, count: int
) -> None:
    scene = random_scene(np.random.default_rng(seed), (300, 290), GRIDS[grid], count)
    assert outcome(scene, Detector(parts=parts), *grid, seed) == Outcome(0, 0, 1.0)


def test_a_large_scene_of_everything_at_once() -> None:
    scene = random_scene(np.random.default_rng(5), (500, 600), list(KINDS), 40)
    assert outcome(scene, Detector(), 192, 48, 0) == Outcome(0, 0, 1.0)


@pytest.mark.parametrize(
    "detector",
    [
        pytest.param(Detector(), id="perfect"),
        pytest.param(Detector(least_share=0.1), id="under a tenth undetected", marks=pytest.mark.slow),
        pytest.param(Detector(least_share=0.1, jitter=1, early=2), id="outlines move", marks=pytest.mark.slow),
    ],
)
def test_a_mosaic_of_crowded_cells_keeps_everyone(detector: Detector) -> None:
    """150 cells and nuclei over each other on 5 x 5 tiles."""
    scene = random_scene(np.random.default_rng(2), (760, 760), ["ellipse", "ellipse", "cell"], 112)
    grid = TileGrid.covering(scene.size, 192, 48)
    pieces, _ = detector.detect(scene, grid, np.random.default_rng(3))
    found = compare(stitch(pieces, grid)[0], scene, least=0.6)
    assert len(scene.masks) >= 145
    assert found.lost + found.extra <= (0 if detector == Detector() else 2)


def contents(pieces: Pieces, grid: TileGrid) -> list[tuple[list[int], bytes, float, int]]:
    """Everything about the stitched instances, in the order in which they come."""
    masks, scores, labels = stitch(pieces, grid)
    return [
        (masks.boxes[index].tolist(), masks.crop(index).numpy().tobytes(), float(scores[index]), int(labels[index]))
        for index in range(len(masks))
    ]


NOISY = Detector(jitter=2, early=4, miss=0.1, split=0.1, duplicate=0.1, score_noise=0.1)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_the_order_of_the_pieces_does_not_matter(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, (220, 260), list(KINDS), 6)
    grid = TileGrid.covering(scene.size, 96, 32)
    # Equal scores, so that ties must be broken by something else.
    pieces, _ = replace(NOISY, score_noise=0.0).detect(scene, grid, rng)
    shuffled = reordered(pieces, rng.permutation(len(pieces.tile)))
    assert contents(pieces, grid) == contents(shuffled, grid)


@settings(max_examples=10, deadline=None)
@given(SEEDS)
def test_pieces_far_away_change_nothing(seed: int) -> None:
    rng = np.random.default_rng(seed)
    grid = TileGrid.covering((220, 460), 96, 32)
    near, far = (random_scene(rng, (220, 200), list(KINDS), 4) for _ in range(2))
    here = scene_of(grid.size, [np.pad(mask, ((0, 0), (0, 260))) for mask in near.masks], near.labels)
    there = scene_of(grid.size, [np.pad(mask, ((0, 0), (260, 0))) for mask in far.masks], far.labels)
    alone, _ = NOISY.detect(here, grid, rng)
    others, _ = NOISY.detect(there, grid, rng)
    assert sorted(contents(together(others, alone), grid)) == sorted(contents(alone, grid) + contents(others, grid))
