"""A huge image in blocks of tiles: stitched as a tree of pairs it has the instances of all tiles at once."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.prediction.blocks import Block, Part, fold, merge, settle
from gains.prediction.stitching import Found, Pieces, best_first, stitched
from gains.prediction.tiling import TileGrid
from helpers.tiled_scenes import KINDS, Detector, random_scene, reordered

NOISY = Detector(jitter=2, early=4, miss=0.1, split=0.1, duplicate=0.1, score_noise=0.1)


def contents(found: Found) -> list[tuple[list[int], bytes, float, int, bool]]:
    """Everything about instances, in the order in which they come."""
    return [
        (
            found.masks.boxes[index].tolist(),
            found.masks.crop(index).numpy().tobytes(),
            float(found.scores[index]),
            int(found.labels[index]),
            bool(found.cut[index]),
        )
        for index in range(len(found.masks))
    ]


def in_blocks(pieces: Pieces, grid: TileGrid, size: int) -> tuple[Part, list[Block]]:
    looked: list[Block] = []

    def look(block: Block) -> Part:
        looked.append(block)
        inside = np.flatnonzero(np.isin(pieces.tile, block.tiles(grid)))
        return settle(reordered(pieces, inside), grid, block, capped=1, dim=True)

    whole = Block.whole(grid)
    return fold(whole, size, look, lambda a, b, block: merge(a, b, grid, block)), looked


@settings(max_examples=12, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 7))
def test_blocks_come_to_what_all_tiles_do_at_once(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    scene = random_scene(rng, (int(rng.integers(90, 300)), int(rng.integers(90, 300))), list(KINDS), 7)
    grid = TileGrid.covering(scene.size, 96, 32)
    pieces, _ = NOISY.detect(scene, grid, rng)
    part, looked = in_blocks(pieces, grid, size)
    assert len(part.open.tile) == 0
    assert contents(best_first(part.found)) == contents(stitched(pieces, grid))
    assert all(len(block) <= size for block in looked)
    assert sorted(tile for block in looked for tile in block.tiles(grid)) == list(range(len(grid)))
    assert part.capped == len(looked)


def test_only_what_may_go_on_elsewhere_travels() -> None:
    """Of a mosaic most instances are made where they were found."""
    rng = np.random.default_rng(0)
    scene = random_scene(rng, (600, 600), ["ellipse"], 60)
    grid = TileGrid.covering(scene.size, 96, 32)
    pieces, _ = Detector().detect(scene, grid, rng)
    block = Block(0, 0, len(grid.rows) // 2, len(grid.columns))
    inside = reordered(pieces, np.flatnonzero(np.isin(pieces.tile, block.tiles(grid))))
    part = settle(inside, grid, block, 0, False)
    assert 0 < len(part.open.tile) < len(inside.tile) / 2
    assert len(part.found.masks) > 10
