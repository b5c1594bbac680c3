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


COLUMNS = TileGrid.covering((100, 180), 100, 20)  # 0..100 and 80..180


def test_room_is_counted_to_edges_behind_which_the_image_goes_on() -> None:
    boxes = np.array([[90, 10, 93, 20], [0, 0, 10, 10], [82, 10, 97, 20], [95, 0, 110, 10]])
    assert COLUMNS.room(boxes, np.zeros(4, np.int64)).tolist() == [7, 90, 3, -10]
    assert COLUMNS.room(boxes, np.ones(4, np.int64)).tolist() == [10, -80, 2, 15]
    assert TileGrid.covering((100, 100), 100, 20).room(boxes[:1], np.zeros(1, np.int64)).tolist() == [np.inf]


def test_a_piece_is_left_to_a_tile_that_has_more_room_for_it() -> None:
    boxes = np.array([[90, 10, 100, 20], [80 + EDGE - 1, 10, 100, 20], [50, 10, 100, 20], [80, 10, 90, 20]])
    assert COLUMNS.left_to_others(boxes[:3], np.zeros(3, np.int64)).tolist() == [True, False, False]
    assert COLUMNS.left_to_others(boxes[3:], np.ones(1, np.int64)).tolist() == [True]


@given(st.integers(81, 98), st.integers(1, 19), st.integers(-3, 3), st.integers(-3, 3))
def test_two_tiles_never_leave_an_instance_to_each_other(start: int, width: int, before: int, after: int) -> None:
    """Even if they see its outline at different places."""
    end = min(start + width, 99)
    first = np.array([[start, 10, min(end, 100), 20]])
    second = np.array([[max(start + before, 80), 10, max(end + after, start + before + 1), 20]])
    left = (COLUMNS.left_to_others(box, np.array([tile])) for tile, box in enumerate((first, second)))
    assert not all(side.all() for side in left)


def test_between_two_tiles_that_meet_at_a_corner() -> None:
    grid = TileGrid.covering((180, 260), 100, 20)
    assert (len(grid.rows), len(grid.columns)) == (2, 3)
    assert grid.between(0, 4) == {1, 3}
    assert grid.between(2, 4) == {1, 5}
    assert grid.between(0, 1) == grid.between(1, 4) == set()


def test_around_two_tiles() -> None:
    grid = TileGrid.covering((180, 340), 100, 20)
    assert (len(grid.rows), len(grid.columns)) == (2, 4)
    assert grid.around(0, 1) == {0, 1, 2, 4, 5, 6}
    assert grid.around(3, 3) == {2, 3, 6, 7}
