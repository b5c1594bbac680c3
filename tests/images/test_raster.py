"""Regions of files against tifffile's own reading of the whole."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from gains.errors import InputError
from gains.images.files import open_rasters
from gains.images.intensity import to_unit_rgb, value_range
from gains.images.options import ReadOptions
from gains.images.raster import ArrayRaster
from helpers.checked import first_page

RNG = np.random.default_rng(0)
GRAY = RNG.integers(0, 60000, (77, 123), dtype=np.uint16)
RGB = RNG.integers(0, 255, (77, 123, 3), dtype=np.uint8)
STACK = RNG.integers(0, 60000, (4, 77, 123), dtype=np.uint16)

STORED = [
    {},
    {"rowsperstrip": 10},
    {"compression": "zlib"},
    {"compression": "lzw", "rowsperstrip": 10},
    {"tile": (32, 48)},
    {"tile": (32, 48), "compression": "zlib", "predictor": True},
    {"byteorder": ">", "bigtiff": True},
]


def check(path: Path, expected: list[npt.NDArray[Any]], channels: list[int] | None = None) -> None:
    rasters = open_rasters(path, ReadOptions(channels))
    assert len(rasters) == len(expected)
    for raster, pixels in zip(rasters, expected, strict=True):
        height, width = raster.size
        assert raster.size == pixels.shape[:2]
        np.testing.assert_array_equal(raster.read((0, 0, width, height)), pixels)
        np.testing.assert_array_equal(raster.read((5, 33, width - 3, height - 2)), pixels[33:-2, 5:-3])
        np.testing.assert_array_equal(raster.read((50, 40, 51, 41)), pixels[40:41, 50:51])


@pytest.mark.parametrize("stored", STORED, ids=str)
def test_tiff_regions(tmp_path: Path, stored: dict[str, Any]) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, GRAY, **stored)
    check(path, [GRAY])
    tifffile.imwrite(path, GRAY.astype(np.float32) / 60000, **stored)
    check(path, [GRAY.astype(np.float32) / 60000])
    tifffile.imwrite(path, RGB, photometric="rgb", **stored)
    check(path, [RGB])
    check(path, [RGB[:, :, 1]], [1])
    planar = np.ascontiguousarray(np.moveaxis(RGB, -1, 0))
    tifffile.imwrite(path, planar, photometric="rgb", planarconfig="separate", **stored)
    check(path, [RGB])


@pytest.mark.parametrize("stored", STORED, ids=str)
def test_pages_and_channels(tmp_path: Path, stored: dict[str, Any]) -> None:
    path = tmp_path / "stack.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", **stored)
    check(path, list(STACK))
    check(path, [STACK[2]], [2])
    check(path, [np.stack([STACK[3], STACK[0], STACK[1]], axis=2)], [3, 0, 1])
    check(path, [np.stack([STACK[3], STACK[0], np.zeros_like(GRAY)], axis=2)], [3, 0])
    if "byteorder" not in stored:
        ome = tmp_path / "stack.ome.tif"
        axes = {"axes": "TCYX"}
        tifffile.imwrite(ome, STACK.reshape(2, 2, 77, 123), metadata=axes, photometric="minisblack", **stored)
        check(ome, [STACK[1], STACK[3]], [1])


def test_imagej_hyperstack(tmp_path: Path) -> None:
    path = tmp_path / "imagej.tif"
    tifffile.imwrite(path, STACK.reshape(2, 2, 77, 123), imagej=True, metadata={"axes": "TCYX"})
    check(path, [STACK[0], STACK[2]], [0])
    with pytest.raises(InputError, match="2 channels; choose"):
        open_rasters(path)


def test_pyramid_is_read_at_full_resolution(tmp_path: Path) -> None:
    path = tmp_path / "pyramid.tif"
    with tifffile.TiffWriter(path) as writer:
        writer.write(RGB, subifds=1, tile=(32, 32), photometric="rgb")
        writer.write(RGB[::2, ::2], subfiletype=1, tile=(32, 32), photometric="rgb")
    check(path, [RGB])


def test_jpeg_tiles(tmp_path: Path) -> None:
    path = tmp_path / "slide.tif"
    smooth = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 200, axis=1).repeat(3, axis=2)
    tifffile.imwrite(path, smooth, tile=(64, 64), photometric="rgb", compression="jpeg")
    check(path, [tifffile.imread(path)])


def test_only_the_needed_tiles_are_decoded(tmp_path: Path) -> None:
    path = tmp_path / "image.tif"
    tifffile.imwrite(path, np.zeros((512, 512), np.uint8), tile=(64, 64), compression="zlib")
    [raster] = open_rasters(path)
    cache = raster.stack._segments._cache  # type: ignore[attr-defined]
    assert list(cache) == [(0, 63)]  # the last, looked at when the file is opened
    raster.read((70, 70, 130, 90))
    assert sorted(cache) == [(0, 9), (0, 10), (0, 63)]


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "1", "LA", "I;16"])
@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_modes_of_png_and_tiff(tmp_path: Path, mode: str, suffix: str) -> None:
    if suffix == "tif" and mode in ("P", "LA"):
        pytest.skip("a TIFF file of this mode is a gray image to tifffile")
    path = tmp_path / f"image.{suffix}"
    source = Image.fromarray(GRAY) if mode == "I;16" else Image.fromarray(RGB).convert(mode)
    source.save(path)
    [raster] = open_rasters(path)
    pixels = raster.read((0, 0, 123, 77))
    shown = to_unit_rgb(pixels, value_range(pixels, "full_range"))
    if mode == "I;16":
        expected = np.repeat(GRAY[:, :, None] / 65535, 3, axis=2)
    else:
        expected = np.asarray(source.convert("RGB")) / 255
    np.testing.assert_allclose(shown, expected, atol=1e-6)


def test_jpeg_file(tmp_path: Path) -> None:
    Image.fromarray(RGB).save(tmp_path / "image.jpg")
    check(tmp_path / "image.jpg", [np.asarray(Image.open(tmp_path / "image.jpg"))])
    check(tmp_path / "image.jpg", [np.asarray(Image.open(tmp_path / "image.jpg"))[:, :, 2]], [2])


def test_a_truncated_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    for stored in ({}, {"compression": "zlib"}, {"tile": (32, 32)}):
        path = tmp_path / "cut.tif"
        tifffile.imwrite(path, GRAY, **stored)
        path.write_bytes(path.read_bytes()[: GRAY.nbytes // 2])
        with pytest.raises(InputError, match=r"cut\.tif is a damaged TIFF"):
            [raster.read((0, 0, 123, 77)) for raster in open_rasters(path)]


@pytest.mark.parametrize("stored", [{"tile": (32, 48)}, {"rowsperstrip": 10}, {"compression": "zlib"}], ids=str)
@pytest.mark.parametrize("tag", ["ImageWidth", "ImageLength"])
def test_a_file_that_claims_a_size_it_has_not_is_refused_at_once(
    tmp_path: Path, stored: dict[str, Any], tag: str
) -> None:
    path = tmp_path / "bomb.tif"
    tifffile.imwrite(path, GRAY, **stored)
    with tifffile.TiffFile(path, mode="r+") as file:
        first_page(file).tags[tag].overwrite(2_000_000_000)
    with pytest.raises(InputError, match=r"bomb\.tif (is a damaged TIFF|has .* pixels to be decoded in one piece)"):
        open_rasters(path)


@pytest.mark.parametrize("content", [b"", b"II*\0", b"II*\0" + bytes(40), b"not an image", b"\x89PNG\r\n\x1a\nxx"])
def test_no_image(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "bad.tif"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"bad\.tif"):
        open_rasters(path)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.png cannot be read: No such file"):
        open_rasters(tmp_path / "gone.png")


@pytest.mark.parametrize("channels", [[], [3], [-1], [0, 1, 2, 0]])
def test_channels_that_do_not_fit(tmp_path: Path, channels: list[int]) -> None:
    tifffile.imwrite(tmp_path / "image.tif", RGB, photometric="rgb")
    with pytest.raises(InputError, match="channels="):
        open_rasters(tmp_path / "image.tif", ReadOptions(channels))


@pytest.mark.parametrize(
    "pixels", [np.zeros((3, 0)), np.zeros((2, 2, 2)), np.zeros(5), np.zeros((2, 2), complex), np.zeros((2, 2), "U1")]
)
def test_arrays_that_are_no_image(pixels: npt.NDArray[Any]) -> None:
    with pytest.raises(InputError):
        ArrayRaster(pixels)
