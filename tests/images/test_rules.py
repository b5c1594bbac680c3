"""The rules for channels, values and orientation: the same for a whole image and for regions of one."""

from pathlib import Path
from typing import Any

import cv2
import imagecodecs
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image, ImageOps

from gains.errors import InputError
from gains.images.files import check_size, open_rasters, read_image
from gains.images.intensity import known_values, to_shown, to_unit_rgb, value_range
from gains.images.options import ReadOptions

RNG = np.random.default_rng(7)


def save(path: Path, kind: str, count: int) -> npt.NDArray[np.uint16]:
    """An image of several channels, in one of the ways that programs store them; gives ``(H, W, C)``."""
    pixels = RNG.integers(1, 60000, (21, 34, count), dtype=np.uint16)
    planes = np.ascontiguousarray(np.moveaxis(pixels, 2, 0))
    if kind == "interleaved":
        tifffile.imwrite(path, pixels, photometric="minisblack", planarconfig="contig")
    elif kind == "planar":
        tifffile.imwrite(path, planes, photometric="minisblack", planarconfig="separate")
    elif kind == "imagej":
        tifffile.imwrite(path, planes, imagej=True, metadata={"axes": "CYX"})
    else:
        tifffile.imwrite(path, planes, ome=True, metadata={"axes": "CYX"}, photometric="minisblack")
    return pixels


@pytest.mark.parametrize("kind", ["interleaved", "planar", "imagej", "ome"])
@pytest.mark.parametrize("count", [2, 3, 4, 5])
def test_no_channel_is_dropped_without_being_asked(tmp_path: Path, kind: str, count: int) -> None:
    path = tmp_path / "a.tif"
    pixels = save(path, kind, count)
    if count == 3:
        np.testing.assert_array_equal(read_image(path), pixels)
    else:
        with pytest.raises(InputError, match=rf"a\.tif has {count} channels; choose .*dataset\.channels=\[0\]"):
            read_image(path, ReadOptions(prefix="dataset."))
    np.testing.assert_array_equal(read_image(path, ReadOptions([count - 1])), pixels[:, :, -1])
    two = read_image(path, ReadOptions([1, 0]))
    np.testing.assert_array_equal(two, np.dstack([pixels[:, :, 1], pixels[:, :, 0], 0 * pixels[:, :, 0]]))
    with pytest.raises(InputError, match=rf"channels=\[{count}\].*{count} channels, counted from 0 to {count - 1}"):
        read_image(path, ReadOptions([count]))


@pytest.mark.parametrize("extra", ["unassalpha", "assocalpha", "unspecified"])
def test_colour_stays_colour_beside_a_fourth_channel(tmp_path: Path, extra: str) -> None:
    pixels = RNG.integers(0, 256, (21, 34, 4), dtype=np.uint8)
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, pixels, photometric="rgb", extrasamples=[extra])
    options = ReadOptions(prefix="dataset.")
    np.testing.assert_array_equal(read_image(path, options), pixels[:, :, :3])
    assert "left out is what lies behind red, green and blue (alpha?); dataset.channels=[3]" in options.notes.lines()[0]
    np.testing.assert_array_equal(read_image(path, ReadOptions([3])), pixels[:, :, 3])


@pytest.mark.parametrize("wrong", [[], [0, 1, 2, 3], 2, "0", [0.5], [True]])
def test_what_is_no_choice_of_channels(wrong: Any) -> None:
    with pytest.raises(InputError, match=r"^dataset\.channels=.* must name one channel"):
        ReadOptions(wrong, prefix="dataset.")


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        (np.array([0, 127], np.int8), np.array([0, 127], np.uint8)),
        (np.array([0, 32767], np.int16), np.array([0, 32767], np.uint16)),
        (np.array([0, 65535], np.uint32), np.array([0, 65535], np.uint16)),
        (np.array([5, 70], np.int64), np.array([5, 70], np.uint16)),
        (np.array([False, True]), np.array([0, 255], np.uint8)),
        (np.array([0.0, 1.0], np.float64), np.array([0.0, 1.0], np.float32)),
        (np.array([-0.004, 1.007, np.nan, np.inf], np.float16), None),
        (np.array([1, 513], ">u2"), np.array([1, 513], np.uint16)),
    ],
)
def test_values_with_a_known_range_keep_it(stored: npt.NDArray[Any], expected: npt.NDArray[Any] | None) -> None:
    result = known_values(stored, "full_range", "a")
    expected = stored.astype(np.float32) if expected is None else expected
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize(
    "stored",
    [
        np.array([-1, 100], np.int8),
        np.array([-3, 100], np.int16),
        np.array([0, 65536], np.uint32),
        np.array([0, 255], np.float32),
        np.array([-1.0, 1.0], np.float32),
        np.array([-0.5, 0.4, np.nan], np.float64),
    ],
)
def test_values_without_a_known_range_are_refused_or_scaled_on_request(
    tmp_path: Path, stored: npt.NDArray[Any]
) -> None:
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.tile(stored, (9, 1)))
    options = ReadOptions(prefix="dataset.")
    with pytest.raises(InputError, match=rf"a\.tif has {stored.dtype} pixels from .*dataset\.intensity=percentile"):
        read_image(path, options)
    pixels = read_image(path, ReadOptions(intensity="percentile"))
    assert pixels.dtype == np.float32
    unit = to_unit_rgb(pixels, value_range(pixels, "percentile"))
    assert unit[0, 0, 0] == 0
    assert unit[0, 1, 0] == 1


def test_an_image_of_nothing_but_nan_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full((9, 9), np.nan, np.float32))
    with pytest.raises(InputError, match="no finite pixel"):
        read_image(tmp_path / "a.tif")


def test_a_dim_image_of_sixteen_bits_gets_a_hint_once(tmp_path: Path) -> None:
    options = ReadOptions(prefix="dataset.")
    for name, top in (("a.tif", 4095), ("b.tif", 20000), ("c.tif", 60000)):
        tifffile.imwrite(tmp_path / name, np.linspace(0, top, 99).reshape(9, 11).astype(np.uint16))
        read_image(tmp_path / name, options)
    [line] = options.notes.lines()
    assert line.startswith(f"{tmp_path / 'a.tif'} (and 1 more): uses less than 40%")
    assert "dataset.intensity=percentile" in line
    scaled = ReadOptions(intensity="percentile")
    read_image(tmp_path / "a.tif", scaled)
    assert scaled.notes.lines() == []


def tagged(pixels: npt.NDArray[np.uint8], orientation: int, suffix: str, path: Path) -> None:
    exif = Image.Exif()
    exif[274] = orientation
    Image.fromarray(pixels).save(path / f"a.{suffix}", exif=exif, quality=95)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_orientation_is_that_of_pillow_and_opencv(tmp_path: Path, orientation: int, suffix: str) -> None:
    smooth = np.add.outer(np.arange(24) * 7, np.arange(40) * 2)[..., None] * np.array([0.5, 1, 0.2])
    tagged(smooth.astype(np.uint8), orientation, suffix, tmp_path)
    path = tmp_path / f"a.{suffix}"
    options = ReadOptions()
    pixels = read_image(path, options).astype(int)
    with Image.open(path) as image:
        by_pillow = np.asarray(ImageOps.exif_transpose(image)).astype(int)
    assert np.abs(pixels - by_pillow).max() <= 2
    if suffix == "jpg":
        assert np.abs(pixels - cv2.imread(str(path))[:, :, ::-1]).max() <= 2  # type: ignore[index]
    assert len(options.notes.lines()) == (orientation != 1)


def test_the_orientation_of_a_png_file_may_follow_its_pixels(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (12, 20), dtype=np.uint8)
    tagged(pixels, 6, "png", tmp_path)
    data = (tmp_path / "a.png").read_bytes()
    start = data.index(b"eXIf") - 4
    chunk = data[start : start + 12 + int.from_bytes(data[start : start + 4], "big")]
    moved = data.replace(chunk, b"")
    (tmp_path / "a.png").write_bytes(moved[:-12] + chunk + moved[-12:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), np.rot90(pixels, -1))


def test_annotations_of_the_unturned_image_are_refused_by_name(tmp_path: Path) -> None:
    tagged(np.zeros((24, 40, 3), np.uint8), 8, "jpg", tmp_path)
    options = ReadOptions()
    pixels = read_image(tmp_path / "a.jpg", options)
    check_size(pixels.shape, (40, 24), str(tmp_path / "a.jpg"), "gt.json", options)
    with pytest.raises(InputError, match=r"a\.jpg is 40x24 pixels once turned upright, but gt\.json says 24x40 .*EXIF"):
        check_size(pixels.shape, (24, 40), str(tmp_path / "a.jpg"), "gt.json", options)
    with pytest.raises(InputError, match=r"but gt\.json says 24x41 \(height x width\)$"):
        check_size(pixels.shape, (24, 41), str(tmp_path / "a.jpg"), "gt.json", options)


@pytest.mark.parametrize("lossless", [True, False])
def test_webp(tmp_path: Path, lossless: bool) -> None:
    pixels = np.repeat(np.arange(0, 240, 4, dtype=np.uint8), 40).reshape(60, 40)
    image = Image.fromarray(np.dstack([pixels, pixels[::-1], 255 - pixels]))
    image.save(tmp_path / "a.webp", lossless=lossless)
    np.testing.assert_array_equal(
        read_image(tmp_path / "a.webp"), imagecodecs.webp_decode((tmp_path / "a.webp").read_bytes())[:, :, :3]
    )


def test_an_animation_is_refused(tmp_path: Path) -> None:
    frames = [Image.fromarray(RNG.integers(0, 256, (9, 9, 3), dtype=np.uint8)) for _ in range(3)]
    frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=True)
    with pytest.raises(InputError, match="animation of 3 frames"):
        read_image(tmp_path / "a.webp")


def test_a_strip_beyond_the_limit_is_refused_and_tiles_are_not(tmp_path: Path) -> None:
    pixels = RNG.integers(0, 256, (256, 256), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "strip.tif", pixels, compression="zlib", rowsperstrip=256)
    tifffile.imwrite(tmp_path / "tiles.tif", pixels, compression="zlib", tile=(64, 64))
    tifffile.imwrite(tmp_path / "plain.tif", pixels)
    options = ReadOptions(max_pixels=5000)
    with pytest.raises(InputError, match=r"strip\.tif has 256x256 pixels to be decoded in one piece.*max_pixels=5000"):
        open_rasters(tmp_path / "strip.tif", options)
    for name in ("tiles.tif", "plain.tif"):
        [raster] = open_rasters(tmp_path / name, options)
        np.testing.assert_array_equal(raster.read((3, 5, 250, 251)), pixels[5:251, 3:250])


def test_images_are_shown_as_they_are_unless_they_are_dim() -> None:
    bright = RNG.integers(0, 256, (30, 40), dtype=np.uint8)
    np.testing.assert_array_equal(to_shown(bright), np.repeat(bright[:, :, None], 3, axis=2))
    for dim in (bright // 4, bright.astype(np.uint16) * 7 + 90, bright.astype(np.float32) / 2000):
        shown = to_shown(dim)
        assert shown.dtype == np.uint8
        assert shown.min() == 0
        assert shown.max() == 255
        order = np.argsort(dim, axis=None, kind="stable")
        assert (np.diff(shown[:, :, 0].ravel()[order].astype(int)) >= 0).all()
    assert to_shown(np.zeros((5, 5), np.uint8)).max() == 0
