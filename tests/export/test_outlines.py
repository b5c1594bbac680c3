"""Outlines filled again are the masks, whatever these look like, in time that follows the outline."""

import numpy as np
import numpy.typing as npt
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from gains.export.outlines import outline, rings

Mask = npt.NDArray[np.bool_]
ORIGIN = np.array([0, 0])


def filled(shape: shapely.Geometry, size: tuple[int, int], left: int = 0, top: int = 0) -> Mask:
    """The pixels whose centres a shape contains."""
    x, y = np.meshgrid(np.arange(size[1]) + 0.5 + left, np.arange(size[0]) + 0.5 + top)
    return np.asarray(shapely.contains_xy(shape, x, y))


@st.composite
def masks(draw: st.DrawFn) -> Mask:
    """Random pixels, sparse to dense: corner contacts, holes in holes, single pixels."""
    height, width = draw(st.integers(1, 12)), draw(st.integers(1, 12))
    share = draw(st.sampled_from([0.2, 0.5, 0.7, 0.9]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    mask = generator.random((height, width)) < share
    mask[generator.integers(height), generator.integers(width)] = True
    return mask


@settings(max_examples=400, deadline=None)
@given(mask=masks(), left=st.integers(0, 50), top=st.integers(0, 50))
def test_an_outline_filled_again_is_the_mask(mask: Mask, left: int, top: int) -> None:
    shape = outline(mask, np.array([left, top]))
    assert shape.is_valid, shapely.is_valid_reason(shape)
    assert shape.area == mask.sum()
    np.testing.assert_array_equal(filled(shape, mask.shape, left, top), mask)
    for polygon in shapely.get_parts(shape):
        # As GeoJSON has it: shells counter-clockwise in its coordinates, holes the other way.
        assert polygon.exterior.is_ccw
        assert not any(hole.is_ccw for hole in polygon.interiors)
    parts = ndimage.label(mask)[1]
    assert len(shapely.get_parts(shape)) == parts
    # Even-odd filling, which is how ImageJ fills composite ROIs, gives the same.
    crossings = np.zeros(mask.shape, dtype=int)
    for ring in rings(shape):
        crossings += filled(shapely.Polygon(ring), mask.shape, left, top)
        assert (np.abs(np.diff(ring, axis=0)) > 0).sum(axis=1).tolist() == [1] * (len(ring) - 1)  # along pixel edges
        turns = np.diff(ring[[*range(len(ring)), 1]], axis=0)
        assert (turns[1:] * turns[:-1] == 0).all()  # and every point is a corner
    np.testing.assert_array_equal(crossings % 2 == 1, mask)


def test_a_hole_that_closes_at_a_corner_stays_a_hole() -> None:
    mask = np.ones((4, 5), dtype=bool)
    mask[1:3, 1:4] = False
    mask[0, 0] = False  # the ring's ends now meet at a corner
    shape = outline(mask, ORIGIN)
    assert shape.geom_type == "Polygon"
    assert len(shape.interiors) == 1
    assert shape.area == mask.sum() == 13


def test_two_holes_that_meet_at_a_corner() -> None:
    mask = np.ones((4, 4), dtype=bool)
    mask[1, 1] = mask[2, 2] = False
    shape = outline(mask, ORIGIN)
    assert [shapely.Polygon(hole).area for hole in shape.interiors] == [1, 1]
    assert shape.is_valid


def comb(teeth: int) -> Mask:
    """A bar with many teeth: four corners each."""
    mask = np.zeros((3, 2 * teeth), dtype=bool)
    mask[0] = True
    mask[1:, ::2] = True
    return mask


def test_a_comb_with_240_000_corners() -> None:
    shape = outline(comb(60_000), ORIGIN)
    [ring] = rings(shape)
    assert len(ring) - 1 == 4 * 60_000 + 2
    assert shape.area == comb(60_000).sum()


@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_sponge(share: float) -> None:
    mask = np.random.default_rng(0).random((500, 500)) < share
    shape = outline(mask, ORIGIN)
    assert shape.area == mask.sum()
    assert shape.is_valid
