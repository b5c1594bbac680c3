"""Files with several images, planes that are missing, arrays saved the wrong way round."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from scipy import ndimage

from gains.errors import InputError
from gains.images.files import open_rasters, read_image
from gains.images.options import ReadOptions

RNG = np.random.default_rng(5)
PLANES = RNG.integers(1, 60000, (6, 31, 43), dtype=np.uint16)
SCENE = (ndimage.zoom(RNG.random((16, 20)), 16, order=1, mode="nearest") * 50000).astype(np.uint16)

OME = """<?xml version="1.0" encoding="UTF-8"?>
<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}"><Image ID="Image:0">
<Pixels ID="Pixels:0" DimensionOrder="XYCZT" Type="uint16" SizeX="43" SizeY="31" SizeC="{channels}" SizeZ="1"
SizeT="{times}">{planes}</Pixels></Image></OME>"""


def all_of(path: Path, options: ReadOptions | None = None) -> list[npt.NDArray[Any]]:
    return [raster.read((0, 0, raster.size[1], raster.size[0])) for raster in open_rasters(path, options)]


def write_pages(path: Path, pages: list[npt.NDArray[Any]], **options: Any) -> None:
    with tifffile.TiffWriter(path) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False, **options)


def write_set(folder: Path, planes: npt.NDArray[np.uint16]) -> list[Path]:
    """OME-TIFF files of one time point each, that name each other; ``planes`` is ``(T, C, H, W)``."""
    times, channels = planes.shape[:2]
    listed = "".join(
        f'<TiffData FirstT="{time}" FirstC="{channel}" FirstZ="0" IFD="{channel}" PlaneCount="1">'
        f'<UUID FileName="t{time}.ome.tif">urn:uuid:{time}</UUID></TiffData>'
        for time in range(times)
        for channel in range(channels)
    )
    paths = [folder / f"t{time}.ome.tif" for time in range(times)]
    for time, path in enumerate(paths):
        text = OME.format(own=time, channels=channels, times=times, planes=listed)
        tifffile.imwrite(path, planes[time], description=text, metadata=None, photometric="minisblack")
    return paths


def test_appended_images_of_several_sizes_are_all_read(tmp_path: Path) -> None:
    pages = [PLANES[0], PLANES[1, :20, :40], PLANES[2], PLANES[3, :, :9]]
    write_pages(tmp_path / "a.tif", pages)
    found = all_of(tmp_path / "a.tif")
    assert sorted(page.shape for page in found) == sorted(page.shape for page in pages)
    for page in pages:
        assert any(np.array_equal(page, other) for other in found)
    assert [raster.page for raster in open_rasters(tmp_path / "a.tif")] == [1, 2, 3, 4]


def test_one_page_of_another_size_among_many(tmp_path: Path) -> None:
    pages = [*PLANES[:4], PLANES[4, :9, :12], *PLANES]
    write_pages(tmp_path / "a.tif", pages)
    assert sorted(page.shape for page in all_of(tmp_path / "a.tif")) == sorted(page.shape for page in pages)


def test_appended_arrays_are_pages(tmp_path: Path) -> None:
    for plane in PLANES[:3]:
        tifffile.imwrite(tmp_path / "a.tif", plane, append=True)
    np.testing.assert_array_equal(all_of(tmp_path / "a.tif"), PLANES[:3])
    with pytest.raises(InputError, match="holds 3 images, as pages"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize("order", ["first", "last"])
def test_a_smaller_copy_without_a_mark_is_left_out_and_said(tmp_path: Path, order: str) -> None:
    small = ndimage.zoom(SCENE, 0.25, order=1)
    write_pages(tmp_path / "a.tif", [small, SCENE] if order == "first" else [SCENE, small])
    options = ReadOptions()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", options), SCENE)
    [note] = options.notes.lines()
    assert "(64x80) left out: a smaller copy of the largest" in note


def test_a_pyramid_without_marks_is_one_image(tmp_path: Path) -> None:
    write_pages(tmp_path / "a.tif", [SCENE[::step, ::step] for step in (1, 2, 4, 8)])
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), SCENE)


def test_half_the_size_alone_makes_no_copy(tmp_path: Path) -> None:
    other = RNG.integers(0, 60000, (128, 160), dtype=np.uint16)
    write_pages(tmp_path / "a.tif", [SCENE, other])
    found = all_of(tmp_path / "a.tif")
    np.testing.assert_array_equal(found[0], SCENE)
    np.testing.assert_array_equal(found[1], other)


def test_marked_thumbnails_are_left_out(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PLANES[1, ::2, ::2], subfiletype=1, metadata=None)
        writer.write(PLANES[0], metadata=None)
    options = ReadOptions()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", options), PLANES[0])
    assert "1 thumbnails, labels, masks or smaller copies, marked as such, are left out" in options.notes.lines()[0]


def test_images_of_another_kind_are_left_out_and_said(tmp_path: Path) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(PLANES[0], metadata=None)
        writer.write(np.zeros((20, 20, 3), np.uint8), photometric="rgb", metadata=None)
    options = ReadOptions()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", options), PLANES[0])
    assert "image 2 of 2 (20x20) left out: 3 x uint8, where the largest is 1 x uint16" in options.notes.lines()[0]


@pytest.mark.parametrize("axes", ["TYX", "ZYX"])
def test_a_series_that_was_broken_off_has_no_black_images(tmp_path: Path, axes: str) -> None:
    path = tmp_path / "a.ome.tif"
    tifffile.imwrite(path, PLANES, metadata={"axes": axes}, photometric="minisblack")
    size = f'Size{axes[0]}="%d"'.encode()
    broken = path.read_bytes().replace(size % 6, size % 8).replace(b'PlaneCount="6"', b'PlaneCount="8"')
    path.write_bytes(broken)
    options = ReadOptions()
    np.testing.assert_array_equal(all_of(path, options), PLANES)
    assert "2 of 8 planes are missing and left out (7, 8)" in options.notes.lines()[0]


def test_imagej_says_how_many_planes_there_should_be(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, PLANES, imagej=True, metadata={"axes": "TYX"})
    options = ReadOptions()
    assert len(open_rasters(path, options)) == 6
    assert options.notes.lines() == []
    path.write_bytes(path.read_bytes().replace(b"images=6", b"images=9").replace(b"frames=6", b"frames=9"))
    np.testing.assert_array_equal(all_of(path, options), PLANES)
    assert "3 of 9 planes are missing" in options.notes.lines()[0]


def test_each_plane_of_a_set_of_files_comes_once(tmp_path: Path) -> None:
    planes = PLANES.reshape(3, 2, 31, 43)
    for time, path in enumerate(write_set(tmp_path, planes)):
        options = ReadOptions([1])
        [raster] = open_rasters(path, options)
        assert raster.page == time + 1
        np.testing.assert_array_equal(raster.read((0, 0, 43, 31)), planes[time, 1])
        assert options.notes.lines() == []


def test_a_file_of_a_set_that_is_not_there_is_missed(tmp_path: Path) -> None:
    planes = PLANES.reshape(3, 2, 31, 43)
    paths = write_set(tmp_path, planes)
    paths[1].unlink()
    options = ReadOptions([0])
    [raster] = open_rasters(paths[2], options)
    assert raster.page == 3
    np.testing.assert_array_equal(raster.read((0, 0, 43, 31)), planes[2, 0])
    assert "planes are missing and left out (2)" in options.notes.lines()[0]


@pytest.mark.parametrize("shape", [(60, 50, 2), (40, 50, 5), (12, 9, 7)])
@pytest.mark.parametrize("channels", [None, [0]])
def test_channels_last_saved_as_pages_are_refused(
    tmp_path: Path, shape: tuple[int, ...], channels: list[int] | None
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.zeros(shape, np.uint16), photometric="minisblack")
    with pytest.raises(InputError, match=rf"{shape[0]} pages of {shape[1]}x{shape[2]} pixels.*planarconfig='contig'"):
        open_rasters(path, ReadOptions(channels))
    # What the message advises.
    tifffile.imwrite(path, np.zeros(shape, np.uint16), photometric="minisblack", planarconfig="contig")
    assert read_image(path, ReadOptions([1])).shape == shape[:2]


def test_the_orientation_of_a_tiff_file_is_said(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", PLANES[0], extratags=[(274, "H", 1, 6, True)])
    options = ReadOptions()
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif", options), PLANES[0])
    assert "TIFF orientation 6 not applied" in options.notes.lines()[0]


def test_tifffile_says_nothing_by_itself(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for path in write_set(tmp_path, PLANES.reshape(3, 2, 31, 43))[1:]:
        path.unlink()
    open_rasters(tmp_path / "t0.ome.tif", ReadOptions([0]))
    assert not caplog.records
