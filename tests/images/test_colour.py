"""Colour models of TIFF files against Pillow, OpenCV and closed forms."""

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageCms

from gains.errors import InputError
from gains.images.files import decode_labels, open_rasters, read_image
from gains.images.options import ReadOptions
from helpers.checked import first_page

RNG = np.random.default_rng(3)
RAMPS = np.stack(np.meshgrid(np.arange(0, 256, 5), np.arange(255, -1, -5), indexing="ij"), axis=2)
COLOURS = np.dstack([RAMPS, RAMPS.sum(axis=2) // 2]).astype(np.uint8)


def shown(path: Path) -> npt.NDArray[np.int64]:
    """As read, RGB."""
    pixels = read_image(path).astype(np.int64)
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


def by_pillow(path: Path) -> npt.NDArray[np.int64]:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB")).astype(np.int64)


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate"])
def test_pillow_shows_the_same(tmp_path: Path, mode: str, compression: str) -> None:
    path = tmp_path / "a.tif"
    saved = Image.fromarray(COLOURS).convert(mode)
    saved.save(path, compression=compression)
    # What was saved, not what is read back: Pillow before 13 calls its own YCbCr files truncated.
    assert np.abs(shown(path) - np.asarray(saved.convert("RGB")).astype(np.int64)).max() <= 1


@pytest.mark.parametrize("mode", ["L", "RGB", "YCbCr", "CMYK"])
def test_jpeg_inside_of_tiff(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(COLOURS).convert(mode).save(path, compression="jpeg", quality=95)
    assert np.abs(shown(path) - by_pillow(path)).max() <= 4


def test_lab_is_what_a_colour_management_system_shows(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    srgb, lab = ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB")
    # What printing and screens can both show; beyond it systems clip in ways of their own.
    muted = Image.fromarray(COLOURS // 3 + 80)
    stored = ImageCms.profileToProfile(muted, srgb, lab, outputMode="LAB")
    assert stored is not None
    stored.save(path)
    expected = np.asarray(ImageCms.profileToProfile(stored, lab, srgb, outputMode="RGB")).astype(np.int64)
    assert np.abs(shown(path) - expected).max() <= 4


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_white_is_zero_is_turned_over(tmp_path: Path, dtype: type) -> None:
    path = tmp_path / "a.tif"
    pixels = RNG.integers(0, np.iinfo(dtype).max, (13, 17), dtype=dtype)
    tifffile.imwrite(path, pixels, photometric="miniswhite", rowsperstrip=4, compression="zlib")
    np.testing.assert_array_equal(read_image(path), np.iinfo(dtype).max - pixels)
    if dtype == np.uint8:
        np.testing.assert_array_equal(shown(path), by_pillow(path))
        np.testing.assert_array_equal(read_image(path), cv2.imread(str(path), cv2.IMREAD_GRAYSCALE))


@pytest.mark.parametrize("bits", [1, 2, 4])
@pytest.mark.parametrize("photometric", ["miniswhite", "minisblack"])
def test_few_bits_are_spread_over_eight(tmp_path: Path, bits: int, photometric: str) -> None:
    path = tmp_path / "a.tif"
    pixels = RNG.integers(0, 2**bits, (8, 16), dtype=np.uint8)
    write_packed(path, pixels, bits, photometric)
    assert np.abs(shown(path) - by_pillow(path)).max() == 0


def write_packed(path: Path, pixels: npt.NDArray[np.uint8], bits: int, photometric: str) -> None:
    """A TIFF file of few bits, which tifffile reads but does not write: its bytes and their tags."""
    packed = np.packbits(np.unpackbits(pixels[..., None], axis=2)[:, :, 8 - bits :].reshape(len(pixels), -1), axis=1)
    tifffile.imwrite(path, packed, photometric=photometric)
    with tifffile.TiffFile(path, mode="r+") as file:
        first_page(file).tags["ImageWidth"].overwrite(pixels.shape[1])
        first_page(file).tags["BitsPerSample"].overwrite(bits)


def test_palettes_of_eight_and_sixteen_bits(tmp_path: Path) -> None:
    indices = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
    colormap = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", indices, photometric="palette", colormap=colormap)
    np.testing.assert_array_equal(shown(tmp_path / "a.tif"), by_pillow(tmp_path / "a.tif"))
    tifffile.imwrite(tmp_path / "b.tif", indices, photometric="palette", colormap=colormap >> 8)
    np.testing.assert_array_equal(read_image(tmp_path / "b.tif"), (colormap >> 8).T[indices])


def test_labels_keep_their_numbers_whatever_colours_they_stand_for(tmp_path: Path) -> None:
    labels = RNG.integers(0, 256, (13, 17), dtype=np.uint8)
    colormap = RNG.integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", labels, photometric="palette", colormap=colormap)
    tifffile.imwrite(tmp_path / "b.tif", labels, photometric="miniswhite")
    for name in ("a.tif", "b.tif"):
        np.testing.assert_array_equal(decode_labels(tmp_path / name, name), labels)


def test_sixteen_bits_of_ink(tmp_path: Path) -> None:
    inks = RNG.integers(0, 65536, (13, 17, 4), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", inks, photometric="separated")
    light = 1 - inks / 65535
    expected = light[:, :, :3] * light[:, :, 3:] * 65535
    np.testing.assert_allclose(read_image(tmp_path / "a.tif"), expected, atol=0.51)


@pytest.mark.parametrize(
    ("pixels", "photometric", "message"),
    [
        (np.zeros((8, 8, 5), np.uint8), "separated", "SEPARATED with 5 samples"),
        (np.zeros((8, 8), np.uint16), "cfa", "CFA"),
        (np.zeros((8, 8), np.float32), "miniswhite", "MINISWHITE"),
    ],
)
def test_what_has_no_known_colours_is_refused(
    tmp_path: Path, pixels: npt.NDArray[Any], photometric: str, message: str
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, planarconfig="contig")
    with pytest.raises(InputError, match=rf"a\.tif has the colour model .*{message}.*save it as gray or RGB"):
        read_image(tmp_path / "a.tif")


def test_a_region_has_the_colours_of_the_whole(tmp_path: Path) -> None:
    path = tmp_path / "a.tif"
    ink = np.tile(RNG.integers(0, 256, (48, 64, 4), dtype=np.uint8), (2, 2, 1))
    tifffile.imwrite(path, ink, photometric="separated", tile=(32, 32), compression="zlib")
    [raster] = open_rasters(path)
    np.testing.assert_array_equal(raster.read((20, 30, 90, 77)), shown(path)[30:77, 20:90])
    [green] = open_rasters(path, ReadOptions([1]))
    np.testing.assert_array_equal(green.read((20, 30, 90, 77)), shown(path)[30:77, 20:90, 1])
