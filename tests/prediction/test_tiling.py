import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gains.prediction.tiling import EDGE, TileGrid

sides = st.integers(1, 400)


@settings(max_examples=200, deadline=None)
@given(sides, sides, st.integers(32, 128), st.floats(0, 0.9))
def test_tiles_cover_every_pixel_with_the_overlap_and_stay_in_the_image(
    height: int, width: int, side: int, share: float
) -> None:
    overlap = int(share * side)
    grid = TileGrid.covering((height, width), side, overlap)
    covered = np.zeros((height, width), bool)
    for x0, y0, x1, y1 in grid.boxes:
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        covered[y0:y1, x0:x1] = True
    assert covered.all()
    assert len(grid) == len(grid.boxes)
    for starts in (grid.rows, grid.columns):
        # Rounding evenly spread starts moves each by half a pixel at most.
        assert (starts[:-1] + side - starts[1:] >= overlap - 1).all()


def test_an_image_that_fits_is_one_tile_of_its_own_size() -> None:
    assert TileGrid.covering((100, 60), 128, 32).tile == (100, 60)
    assert len(TileGrid.covering((128, 128), 128, 32)) == 1


def test_a_narrow_strip_is_padded_to_a_tile() -> None:
    grid = TileGrid.covering((1, 100), 128, 32)
    assert grid.tile == (128, 128)
    assert grid.boxes.tolist() == [[0, 0, 100, 1]]


def test_no_more_tiles_than_needed() -> None:
    assert len(TileGrid.covering((100, 228), 128, 28)) == 2
    assert len(TileGrid.covering((100, 229), 128, 28)) == 3


@pytest.mark.parametrize("overlap", [-1, 64])
def test_overlap_out_of_range(overlap: int) -> None:
    with pytest.raises(ValueError, match="overlap"):
        TileGrid.covering((100, 100), 64, overlap)


def test_cut_and_fits_at_the_edges() -> None:
    grid = TileGrid.covering((100, 180), 100, 20)  # columns 0..100 and 80..180
    assert grid.columns.tolist() == [0, 80]
    boxes = np.array([[90, 10, 100, 20], [90, 10, 100 - EDGE, 20], [0, 0, 10, 10], [82, 10, 97, 20]])
    in_left = np.zeros(4, np.int64)
    assert grid.cut(boxes, in_left).tolist() == [True, False, False, True]
    # The last one is too close to an inner edge of either tile.
    assert grid.fits(boxes).tolist() == [True, True, True, False]
