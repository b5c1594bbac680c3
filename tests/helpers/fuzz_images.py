"""Image files with damaged bytes and tags: each is read as other readers read it, or refused in one line.

Run as a program, in a process of its own with a limit on memory: ``python fuzz_images.py KIND SEED MUTATIONS``, where
the kind is ``images`` or ``labels``. Prints the number of files that were read and refused, and a line for each that
went wrong.
"""

import io
import logging
import resource
import struct
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from gains.errors import InputError
from gains.images.files import read_image
from gains.images.options import ReadOptions
from helpers import fuzz_labels

MEMORY = 3 * 2**30
LIMIT = 2_000_000
SECONDS = 5
"""Of computing that one file may take."""

INTERESTING = (0, 1, 2, 3, 4, 5, 6, 8, 9, 16, 24, 32, 64, 255, 256, 32768, 65535, 2**31 - 1, 2**32 - 1)
Pixels = npt.NDArray[Any]


def sound_files() -> dict[str, bytes]:
    """Small files of many kinds."""
    rng = np.random.default_rng(0)
    smooth = np.add.outer(np.arange(48), np.arange(40) * 2)[..., None] * np.array([1, 1.4, 0.6])
    colour, gray = smooth.astype(np.uint8), rng.integers(0, 65536, (48, 40), dtype=np.uint16)
    files = {}
    for name, pixels, options in (
        ("gray", gray, {}),
        ("strips", gray, {"rowsperstrip": 7, "compression": "zlib"}),
        ("tiles", gray, {"tile": (16, 16), "compression": "lzw", "predictor": True}),
        ("big", gray, {"byteorder": ">", "bigtiff": True}),
        ("float", gray.astype(np.float32) / 65535, {"compression": "zlib"}),
        ("rgb", colour, {"photometric": "rgb"}),
        ("planar", np.moveaxis(colour, 2, 0).copy(), {"photometric": "rgb", "planarconfig": "separate"}),
        ("jpeg", colour, {"photometric": "rgb", "compression": "jpeg", "tile": (32, 32)}),
        ("white", colour[:, :, 0], {"photometric": "miniswhite"}),
        ("ome", gray, {"ome": True}),
        ("imagej", gray, {"imagej": True}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        files[f"tif {name}"] = buffer.getvalue()
    for mode, suffix in (
        *(("P", "tiff"), ("CMYK", "tiff"), ("YCbCr", "tiff"), ("1", "tiff"), ("LA", "tiff")),
        *(("RGB", "png"), ("P", "png"), ("I;16", "png"), ("RGB", "jpeg"), ("CMYK", "jpeg"), ("RGB", "webp")),
        *(("RGB", "bmp"), ("P", "bmp")),
    ):
        buffer = io.BytesIO()
        image = Image.fromarray(gray) if mode == "I;16" else Image.fromarray(colour).convert(mode)
        image.save(buffer, suffix)
        files[f"{suffix} {mode}"] = buffer.getvalue()
    return files


def mutations(data: bytes, rng: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    """Endless: bytes turned, blocks removed, and in TIFF files tags with other values, types and counts."""
    tags = tag_places(data)
    while True:
        changed = bytearray(data)
        kind = rng.integers(0, 6)
        if tags and kind < 4:
            order, place = tags[rng.integers(len(tags))]
            code = struct.unpack(order + "H", data[place : place + 2])[0]
            value = int(rng.choice(INTERESTING))
            if kind == 3:
                changed[place + 2 : place + 4] = struct.pack(order + "H", rng.integers(0, 19))
            elif kind == 2:
                changed[place + 4 : place + 8] = struct.pack(order + "I", value)
            else:
                size = ("H", 2) if value < 65536 else ("I", 4)
                changed[place + 8 : place + 8 + size[1]] = struct.pack(order + size[0], value)
            yield f"tag {code}, {('value', 'value', 'count', 'type')[kind]} {value}", bytes(changed)
        elif kind == 4:
            cut = int(rng.integers(1, len(data)))
            yield f"cut at {cut}", data[:cut]
        else:
            for _ in range(rng.integers(1, 6)):
                changed[rng.integers(min(len(data), 400) if rng.random() < 0.7 else len(data))] ^= rng.integers(1, 256)
            yield "bytes", bytes(changed)


def tag_places(data: bytes) -> list[tuple[str, int]]:
    """Byte order and place of each tag of the first page of a classic TIFF file."""
    if data[:4] not in (b"II*\0", b"MM\0*"):
        return []
    order = "<" if data[:2] == b"II" else ">"
    start = struct.unpack(order + "I", data[4:8])[0]
    count = struct.unpack(order + "H", data[start : start + 2])[0]
    return [(order, start + 2 + 12 * index) for index in range(count)]


def agrees(pixels: Pixels, data: bytes) -> bool:
    """Whether another reader gives the same values, up to the rounding of colours."""
    if any(other is not None and _same(pixels, other) for other in _others(data)):
        return True
    # Pillow refuses YCbCr and Lab with the least fault beside the pixels, others give no colours: other tests do.
    page = _tried(lambda: tifffile.TiffFile(io.BytesIO(data)).pages[0])
    stored = None if page is None or page.photometric not in (6, 8, 9) else _tried(page.asarray)
    return stored is not None and np.squeeze(stored).size == pixels.size


def _others(data: bytes) -> Iterator[Pixels | None]:
    yield _tried(lambda: tifffile.imread(io.BytesIO(data), series=0))
    yield _tried(lambda: tifffile.TiffFile(io.BytesIO(data)).pages[0].asarray())
    yield _tried(lambda: _coloured(tifffile.TiffFile(io.BytesIO(data)).pages[0]))
    yield _tried(lambda: np.asarray(Image.open(io.BytesIO(data))))
    yield _tried(lambda: np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))
    for flags in (cv2.IMREAD_UNCHANGED, cv2.IMREAD_COLOR):
        decoded = _tried(lambda flags=flags: cv2.imdecode(np.frombuffer(data, np.uint8), flags))
        yield decoded[:, :, 2::-1] if decoded is not None and decoded.ndim == 3 else decoded


def _coloured(page: Any) -> Pixels:
    """A page of a palette, looked up."""
    coloured: Pixels = (np.asarray(page.colormap).T >> 8)[page.asarray().astype(np.int64)]
    return coloured


def _tried(read: Any) -> Any:
    try:
        return read()
    except Exception:
        return None


def _same(pixels: Pixels, other: Pixels) -> bool:
    other = np.squeeze(other)
    if other.dtype == np.bool_:
        other = other * np.uint8(255)
    if other.ndim == 3 and other.shape[0] in (3, 4) and other.shape[2] not in (3, 4):
        other = np.moveaxis(other, 0, -1)
    if other.ndim == 3 and pixels.ndim == 2:
        other = other[:, :, 0]
    if other.ndim == 3:
        other = other[:, :, :3]
    if np.squeeze(pixels).shape != other.shape or other.dtype.kind not in "uif":
        return False
    close = [np.allclose(np.squeeze(pixels), other, atol=4, equal_nan=True)]
    for bits in range(1, 17):  # fewer bits spread over eight, and white that is zero
        close.append(np.allclose(np.squeeze(pixels), 2**bits - 1 - other.astype(np.float64), atol=0))
        close.append(
            np.allclose(np.squeeze(pixels), other.astype(np.float64) * (255 // (2 ** min(bits, 8) - 1)), atol=0)
        )
    return any(close)


def read(data: bytes, limit: int) -> Pixels:
    """Pixels of an image."""
    return read_image(data, ReadOptions(max_pixels=limit, intensity="percentile"), "x")


def fault(pixels: Pixels, data: bytes, sound: Pixels) -> str:
    """What is wrong with what was read; empty if another reader agrees, or the damage changed no pixel."""
    return (
        ""
        if np.array_equal(pixels, sound) or agrees(pixels, data)
        else f"read as {pixels.dtype} {pixels.shape}, unlike others"
    )


def main(kind: str, seed: int, count: int) -> None:
    """Fuzz ``count`` files and print what happened."""
    subject: Any = fuzz_labels if kind == "labels" else sys.modules[__name__]
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    logging.disable()
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(seed)
    sources = {name: mutations(data, rng) for name, data in subject.sound_files().items()}
    sound = {name: subject.read(data, LIMIT) for name, data in subject.sound_files().items()}
    accepted = refused = 0
    for index in range(count):
        name = list(sources)[index % len(sources)]
        what, data = next(sources[name])
        before = resource.getrusage(resource.RUSAGE_SELF).ru_utime
        try:
            found = subject.read(data, LIMIT)
        except InputError as error:
            refused += 1
            if "\n" in str(error) or not str(error).startswith("x "):
                print(f"WRONG {name}, {what}: message {str(error)!r}")
        except Exception as error:
            print(f"WRONG {name}, {what}: {error!r}")
        else:
            accepted += 1
            if wrong := subject.fault(found, data, sound[name]):
                print(f"WRONG {name}, {what}: {wrong}")
        if resource.getrusage(resource.RUSAGE_SELF).ru_utime - before > SECONDS:
            print(f"WRONG {name}, {what}: took longer than {SECONDS} s")
    print(f"{accepted} read, {refused} refused")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
