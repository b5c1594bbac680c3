"""ROIs against ImageJ's own rules, and against scikit-image where no centre of a pixel lies on an edge."""

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import roifile
from hypothesis import given, settings
from hypothesis import strategies as st
from roifile import ROI_OPTIONS, ROI_SUBTYPE, ROI_TYPE
from skimage.draw import ellipse as filled_ellipse
from skimage.measure import points_in_poly

from gains.data.sources.drawings import Drawings
from gains.errors import InputError
from gains.formats.imagej_rois import read_roi, read_rois
from gains.formats.polygons import Drawn, to_mask
from gains.images.files import write_image
from gains.rle import decode_crop

SIZE = (40, 50)


def box(kind: ROI_TYPE, left: int, top: int, right: int, bottom: int, **more: Any) -> roifile.ImagejRoi:
    roi = roifile.ImagejRoi()
    roi.roitype, roi.left, roi.top, roi.right, roi.bottom = kind, left, top, right, bottom
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def polygon(points: Any, kind: ROI_TYPE = ROI_TYPE.POLYGON, **more: Any) -> roifile.ImagejRoi:
    roi = roifile.ImagejRoi.frompoints(np.asarray(points))
    roi.roitype = kind
    for name, value in more.items():
        setattr(roi, name, value)
    return roi


def composite(*path: float) -> roifile.ImagejRoi:
    roi = box(ROI_TYPE.RECT, 0, 0, 9, 9)
    roi.multi_coordinates = np.array(path, np.float32)
    roi.shape_roi_size = len(path)
    return roi


def filled(drawn: Drawn, size: tuple[int, int] = SIZE) -> npt.NDArray[np.bool_]:
    rle = to_mask(drawn, size, "here")
    crop, (x0, y0, x1, y1) = decode_crop(rle)
    mask = np.zeros(size, bool)
    mask[y0:y1, x0:x1] = crop
    return mask


@settings(max_examples=150, deadline=None)
@given(left=st.integers(-8, 45), top=st.integers(-8, 35), width=st.integers(1, 30), height=st.integers(1, 30))
def test_ovals(left: int, top: int, width: int, height: int) -> None:
    """ImageJ: centres in or on the ellipse of the bounding box."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    a, b = width / 2, height / 2
    expected = (x - left - a) ** 2 / (a * a) + (y - top - b) ** 2 / (b * b) <= 1
    data = box(ROI_TYPE.OVAL, left, top, left + width, top + height).tobytes()
    if expected.any():
        np.testing.assert_array_equal(filled(read_roi(data, "here")), expected)
    else:
        with pytest.raises(InputError, match="covers no pixel"):
            filled(read_roi(data, "here"))


def test_an_oval_is_that_of_another_library() -> None:
    mask = np.zeros(SIZE, bool)
    mask[filled_ellipse(17.5 - 0.5, 20 - 0.5, 7.5, 12, shape=SIZE)] = True
    np.testing.assert_array_equal(filled(read_roi(box(ROI_TYPE.OVAL, 8, 10, 32, 25).tobytes(), "here")), mask)


def test_a_centre_on_an_edge_is_inside_at_the_right_only() -> None:
    """The diagonal of a square belongs to the triangle on its left, as ImageJ fills both."""
    lower = filled(read_roi(polygon([[0, 0], [0, 6], [6, 6]]).tobytes(), "here"))
    upper = filled(read_roi(polygon([[0, 0], [6, 0], [6, 6]]).tobytes(), "here"))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]]
    np.testing.assert_array_equal(lower, (x <= y) & (y < 6))
    np.testing.assert_array_equal(upper, (x > y) & (x < 6))
    half = [[1.5, 1.5], [4.5, 1.5], [4.5, 3.5], [1.5, 3.5]]
    between = filled(read_roi(polygon(np.array(half, np.float32)).tobytes(), "here"))
    np.testing.assert_array_equal(between, (x >= 2) & (x < 5) & (y >= 2) & (y < 4))


@pytest.mark.parametrize("kind", [ROI_TYPE.POLYGON, ROI_TYPE.FREEHAND, ROI_TYPE.TRACED])
@pytest.mark.parametrize("seed", range(5))
def test_areas_drawn_between_pixels(kind: ROI_TYPE, seed: int) -> None:
    rng = np.random.default_rng(seed)
    points = (rng.random((7, 2)) * [50, 40]).astype(np.float32)
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    expected = points_in_poly(np.stack([x.ravel(), y.ravel()], axis=1), points.astype(np.float64)).reshape(SIZE)
    np.testing.assert_array_equal(filled(read_roi(polygon(points, kind).tobytes(), "here")), expected)


def test_composites_have_holes_and_parts() -> None:
    square = [0, 2, 2, 1, 12, 2, 1, 12, 12, 1, 2, 12, 4]
    hole = [0, 4, 4, 1, 4, 8, 1, 8, 8, 1, 8, 4, 4]
    beside = [0, 20, 20, 1, 23, 20, 1, 23, 25, 1, 20, 25, 4]
    mask = filled(read_roi(composite(*square, *hole, *beside).tobytes(), "here"))
    assert mask.sum() == 100 - 16 + 15
    assert not mask[4:8, 4:8].any()
    assert mask[20:25, 20:23].all()


def test_a_rectangle_drawn_between_pixels_fills_whole_ones() -> None:
    roi = box(ROI_TYPE.RECT, 3, 4, 9, 12)
    roi.xd, roi.yd, roi.widthd, roi.heightd = 3.6, 4.2, 5.1, 7.3
    roi.options = ROI_OPTIONS.SUB_PIXEL_RESOLUTION
    assert filled(read_roi(roi.tobytes(), "here")).sum() == 6 * 8


NO_AREAS = {
    "LINE": box(ROI_TYPE.LINE, 1, 1, 9, 9),
    "POINT": polygon([[1, 1], [9, 9]], ROI_TYPE.POINT),
    "POLYLINE": polygon([[1, 1], [9, 9], [9, 1]], ROI_TYPE.POLYLINE),
    "FREELINE": polygon([[1, 1], [9, 9], [9, 1]], ROI_TYPE.FREELINE),
    "ANGLE": polygon([[1, 1], [9, 9], [9, 1]], ROI_TYPE.ANGLE),
    "round corners": box(ROI_TYPE.RECT, 1, 1, 9, 9, rounded_rect_arc_size=4),
    "a spline": polygon([[1, 1], [9, 9], [9, 1]], options=ROI_OPTIONS.SPLINE_FIT),
    "curves": composite(0, 1, 1, 3, 2, 2, 3, 3, 4, 1, 4),
    "TEXT": box(ROI_TYPE.RECT, 1, 1, 9, 9, subtype=ROI_SUBTYPE.TEXT),
    "IMAGE": box(ROI_TYPE.RECT, 1, 1, 9, 9, subtype=ROI_SUBTYPE.IMAGE),
    "no readable ROI": composite(7, 1, 1),
}


@pytest.mark.parametrize("said", NO_AREAS)
def test_what_is_no_area_is_refused_by_name(said: str) -> None:
    with pytest.raises(InputError, match=said) as caught:
        read_roi(NO_AREAS[said].tobytes(), "a.zip:b.roi")
    assert str(caught.value).startswith("a.zip:b.roi ")


def archive(*rois: roifile.ImagejRoi, **others: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for index, roi in enumerate(rois):
            file.writestr(f"{index}.roi", roi.tobytes())
        for name, data in others.items():
            file.writestr(name, data)
    return buffer.getvalue()


def test_archives() -> None:
    oval = box(ROI_TYPE.OVAL, 1, 1, 9, 9)
    assert len(read_rois(archive(oval, oval, **{"__MACOSX/._0.roi": b"junk"}), "a.zip")) == 2
    assert read_rois(archive(), "a.zip") == []
    with pytest.raises(InputError, match="has no ROI in it"):
        read_rois(archive(readme=b"text"), "a.zip")
    with pytest.raises(InputError, match="has 2 faults") as caught:
        read_rois(archive(oval, NO_AREAS["LINE"], NO_AREAS["POINT"]), "a.zip")
    assert len(str(caught.value).splitlines()) == 3


def test_one_roi_saved_without_an_archive(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", np.zeros(SIZE, np.uint8))
    (tmp_path / "a.roi").write_bytes(box(ROI_TYPE.OVAL, 4, 4, 14, 10).tobytes())
    [record] = Drawings(tmp_path)
    assert [each.category for each in record.instances] == ["cell"]


@pytest.mark.parametrize("planes", [({"position": 2}, {"position": 5}), ({"z_position": 1}, {"t_position": 4})])
def test_objects_of_several_planes_are_refused(tmp_path: Path, planes: tuple[dict[str, int], ...]) -> None:
    write_image(tmp_path / "a.png", np.zeros(SIZE, np.uint8))
    rois = [box(ROI_TYPE.OVAL, 4, 4, 14, 10, **plane) for plane in planes]
    (tmp_path / "a_rois.zip").write_bytes(archive(*rois))
    with pytest.raises(InputError, match="on 2 planes of a stack"):
        Drawings(tmp_path)
    everywhere = box(ROI_TYPE.OVAL, 4, 4, 14, 10)
    (tmp_path / "a_rois.zip").write_bytes(archive(rois[0], everywhere, rois[0]))
    assert len(next(iter(Drawings(tmp_path))).instances) == 3


def test_damaged_rois_are_areas_or_refused_in_one_line() -> None:
    rng = np.random.default_rng(5)
    square = [0, 2, 2, 1, 12, 2, 1, 12, 12, 1, 2, 12, 4]
    kinds = [
        polygon(rng.integers(0, 40, (9, 2)), name="00001_cell_0.900"),
        polygon((rng.random((9, 2)) * 40).astype(np.float32)),
        box(ROI_TYPE.OVAL, 3, 4, 30, 20),
        composite(*square, *square),
    ]
    read = 0
    for turn in range(2000):
        data = bytearray(kinds[turn % len(kinds)].tobytes())
        for _ in range(rng.integers(1, 5)):
            data[rng.integers(len(data) if rng.random() < 0.5 else 64)] = rng.integers(256)
        cut = len(data) if rng.random() < 0.8 else int(rng.integers(len(data)))
        mask, said = attempt(bytes(data[:cut]))
        assert "\n" not in said
        if mask is not None:
            read += 1
            assert mask.any()
    assert 200 < read < 1800


def attempt(data: bytes) -> tuple[npt.NDArray[np.bool_] | None, str]:
    """What a ROI fills, or how it is refused."""
    try:
        return filled(read_roi(data, "a.roi")), ""
    except InputError as error:
        return None, str(error)
