import struct
import tracemalloc
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import tifffile
from PIL import Image

from gains.errors import InputError
from gains.images.files import decode_labels, read_image, write_image
from gains.images.options import ReadOptions

GRAY, RGB, PALETTE, GRAY_ALPHA, RGBA = 0, 2, 3, 4, 6
CHANNELS = {GRAY: 1, RGB: 3, GRAY_ALPHA: 2, RGBA: 4}


def png(pixels: npt.NDArray[np.integer], color: int, bits: int, palette: npt.NDArray[np.uint8] | None = None) -> bytes:
    """A PNG file put together by hand, so that no library under test writes what it reads."""
    height, width = pixels.shape[:2]
    rows = pixels.astype(">u2" if bits == 16 else np.uint8).reshape(height, -1).view(np.uint8)
    if bits < 8:
        rows = np.packbits(np.unpackbits(rows[..., None], axis=2)[:, :, 8 - bits :].reshape(height, -1), axis=1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, 0))
    table = b"" if palette is None else chunk(b"PLTE", palette.tobytes())
    return b"\x89PNG\r\n\x1a\n" + header + table + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("color", [GRAY, RGB, GRAY_ALPHA, RGBA])
def test_png_keeps_its_range_and_loses_alpha(tmp_path: Path, color: int, bits: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**bits, (7, 9, CHANNELS[color]))
    pixels[0, 0], pixels[0, 1] = 0, 2**bits - 1
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, color, bits))
    expected = pixels[:, :, 0] if color in (GRAY, GRAY_ALPHA) else pixels[:, :, :3]
    result = read_image(path)
    assert result.dtype == (np.uint8 if bits == 8 else np.uint16)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_few_bits_spread_over_the_range_of_eight(tmp_path: Path, bits: int) -> None:
    pixels = np.random.default_rng(0).integers(0, 2**bits, (7, 9))
    path = tmp_path / "a.png"
    path.write_bytes(png(pixels, GRAY, bits))
    np.testing.assert_array_equal(read_image(path), pixels * (255 // (2**bits - 1)))


def test_palette_becomes_rgb_in_images_and_stays_an_index_in_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    palette, indices = rng.integers(0, 256, (16, 3), dtype=np.uint8), rng.integers(0, 16, (7, 9))
    path = tmp_path / "a.png"
    path.write_bytes(png(indices, PALETTE, 8, palette))
    np.testing.assert_array_equal(read_image(path), palette[indices])
    np.testing.assert_array_equal(decode_labels(path.read_bytes(), "a"), indices)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
@pytest.mark.parametrize("compression", [None, "zlib", "lzw"])
def test_tiff_keeps_its_range(tmp_path: Path, dtype: type, shape: tuple[int, ...], compression: str | None) -> None:
    pixels: npt.NDArray[Any] = (np.random.default_rng(0).random(shape) * (1 if dtype == np.float32 else 250)).astype(
        dtype
    )
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric=photometric, compression=compression)
    result = read_image(tmp_path / "a.tif")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, pixels)


def test_tiff_of_other_types_is_converted_where_nothing_is_lost(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.array([[0, 40000]], np.int32))
    assert read_image(tmp_path / "a.tif").dtype == np.uint16
    tifffile.imwrite(tmp_path / "b.tif", np.array([[0.5, 1.0]], np.float64))
    assert read_image(tmp_path / "b.tif").dtype == np.float32
    tifffile.imwrite(tmp_path / "c.tif", np.array([[0, 70000]], np.int32))
    with pytest.raises(InputError, match=r"c\.tif has int32 pixels from 0 to 70000"):
        read_image(tmp_path / "c.tif")


def test_planar_rgba_tiff_becomes_rgb(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 65536, (4, 7, 9), dtype=np.uint16)
    tifffile.imwrite(
        tmp_path / "a.tif", pixels, photometric="rgb", planarconfig="separate", extrasamples=["unassalpha"]
    )
    np.testing.assert_array_equal(read_image(tmp_path / "a.tif"), np.moveaxis(pixels[:3], 0, -1))


def test_stack_is_refused(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((5, 7, 9), np.uint8), photometric="minisblack")
    with pytest.raises(InputError, match=r"a\.tif holds 5 images, as pages"):
        read_image(tmp_path / "a.tif")


def test_jpeg_agrees_with_opencv(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(32), np.arange(32))[..., None] * np.array([1, 2, 3])
    Image.fromarray(smooth.astype(np.uint8)).save(tmp_path / "a.jpg", quality=90)
    expected = cv2.imread(str(tmp_path / "a.jpg"))[:, :, ::-1]  # type: ignore[index]
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - expected).max() <= 2


def test_content_decides_not_the_suffix(tmp_path: Path) -> None:
    pixels = np.arange(63, dtype=np.uint16).reshape(7, 9) * 1000
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    (tmp_path / "a.tif").rename(tmp_path / "a.png")
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), pixels)


def damaged() -> dict[str, bytes]:
    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    sound = png(pixels, RGB, 8)
    flipped = bytearray(sound)
    flipped[len(sound) // 2] ^= 0xFF
    jpeg = cv2.imencode(".jpg", pixels)[1].tobytes()
    return {
        "half.png": sound[: len(sound) // 2],
        "almost.png": sound[:-14],
        "header.png": sound[:20],
        "flipped.png": bytes(flipped),
        "zero.png": b"",
        "text.png": b"no image at all\n",
        "half.jpg": jpeg[: len(jpeg) // 2],
        "half.tif": b"II*\0\x08\0\0\0\x05",
    }


@pytest.mark.parametrize("name", damaged())
def test_damaged_file_is_one_clear_error_that_names_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(damaged()[name])
    with pytest.raises(InputError) as caught:
        read_image(path)
    assert str(path) in str(caught.value)


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.png cannot be read"):
        read_image(tmp_path / "nowhere.png")


@pytest.mark.parametrize("shape", [(7, 9), (7, 9, 3)])
@pytest.mark.parametrize(("suffix", "dtype"), [(".png", np.uint8), (".png", np.uint16), (".tif", np.float32)])
def test_what_is_written_is_read_back(tmp_path: Path, shape: tuple[int, ...], suffix: str, dtype: type) -> None:
    pixels: npt.NDArray[Any] = (np.random.default_rng(0).random(shape) * (1 if dtype == np.float32 else 255)).astype(
        dtype
    )
    write_image(tmp_path / f"a{suffix}", pixels)
    result = read_image(tmp_path / f"a{suffix}")
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, pixels)
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_float_png_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="cannot write float32"):
        write_image(tmp_path / "a.png", np.zeros((2, 2), np.float32))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.uint32, np.float32])
def test_labels_of_any_depth(tmp_path: Path, dtype: type) -> None:
    labels = np.array([[0, 1, 2], [0, 200, 200]]) * (1000 if dtype == np.uint32 else 1)
    tifffile.imwrite(tmp_path / "a.tif", labels.astype(dtype))
    np.testing.assert_array_equal(decode_labels((tmp_path / "a.tif").read_bytes(), "a"), labels)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (np.array([[0.5, 1.0]], np.float32), "fractions"),
        (np.array([[-1, 1]], np.int16), "negative"),
        (np.zeros((2, 3, 3), np.uint8), "one channel"),
    ],
)
def test_what_cannot_be_labels_is_refused(tmp_path: Path, labels: npt.NDArray[np.generic], message: str) -> None:
    tifffile.imwrite(tmp_path / "a.tif", labels)
    with pytest.raises(InputError, match=message):
        decode_labels((tmp_path / "a.tif").read_bytes(), "a.tif")


def test_sixteen_bit_fixture(shared: Path) -> None:
    pixels = read_image(shared / "data/fixture/tiff/nuclei_uint16.tif")
    assert pixels.dtype == np.uint16
    assert pixels.max() > 255
    np.testing.assert_array_equal((pixels.astype(int) - 300) % 200, 0)


@pytest.mark.parametrize("suffix", ["png", "jpg", "webp", "bmp", "tif"])
def test_an_image_beyond_the_limit_is_refused_before_it_is_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"slide.{suffix}"
    Image.new("L", (30, 20)).save(path)
    options = ReadOptions(max_pixels=599, prefix="dataset.")
    with pytest.raises(InputError, match=rf"slide\.{suffix} has 20x30 pixels .* more than dataset\.max_pixels=599"):
        read_image(path, options)
    assert read_image(path, ReadOptions(max_pixels=600)).shape[:2] == (20, 30)


def test_a_png_bomb_takes_no_memory(tmp_path: Path) -> None:
    row = zlib.compress(bytes(60_001), 9)
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, GRAY, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", row), (b"IEND", b"")]
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    path = tmp_path / "bomb.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    tracemalloc.start()
    with pytest.raises(InputError, match="60000x60000 pixels"):
        read_image(path)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_pillow_keeps_its_own_limit_for_others(tmp_path: Path) -> None:
    Image.new("L", (30, 20)).save(tmp_path / "a.jpg")
    before = Image.MAX_IMAGE_PIXELS
    read_image(tmp_path / "a.jpg")
    assert before == Image.MAX_IMAGE_PIXELS
