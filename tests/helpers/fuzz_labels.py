"""Label images with damaged bytes and tags: the numbers that other readers give, or a refusal in one line.

Called by ``fuzz_images.py labels SEED MUTATIONS``, which counts and limits.
"""

import io
from collections.abc import Iterator
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from gains.formats.labels import check_lossless, instances_of
from gains.images.files import decode_labels
from gains.images.options import ReadOptions
from gains.rle import run_lengths

Labels = npt.NDArray[Any]


def sound_files() -> dict[str, bytes]:
    """Small label images in the kinds of files that programs save them as."""
    labels = np.zeros((40, 36), np.uint16)
    for number in range(1, 13):
        y, x = divmod(number - 1, 4)
        labels[13 * y + 1 : 13 * y + 11, 9 * x + 1 : 9 * x + 8] = number
    files = {}
    for name, pixels, options in (
        ("plain", labels, {}),
        ("bytes", labels.astype(np.uint8), {"rowsperstrip": 9}),
        ("wide", labels.astype(np.uint32) * 70_000, {"compression": "zlib", "predictor": True}),
        ("signed", labels.astype(np.int16), {"compression": "lzw"}),
        ("tiles", labels, {"tile": (16, 16), "compression": "zlib"}),
        ("float", labels.astype(np.float32), {}),
        ("imagej", labels, {"imagej": True}),
        ("ome", labels, {"ome": True, "byteorder": ">"}),
        ("white", labels.astype(np.uint8), {"photometric": "miniswhite"}),
    ):
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, pixels, **options)
        files[f"tif {name}"] = buffer.getvalue()
    palette = Image.fromarray(labels.astype(np.uint8), mode="P")
    palette.putpalette(np.random.default_rng(1).integers(0, 256, 768, dtype=np.uint8).tobytes())
    for name, image, suffix in (
        ("16", Image.fromarray(labels), "png"),
        ("8", Image.fromarray(labels.astype(np.uint8)), "png"),
        ("palette", palette, "png"),
        ("palette", palette, "tiff"),
        ("8", Image.fromarray(labels.astype(np.uint8)), "bmp"),
    ):
        buffer = io.BytesIO()
        image.save(buffer, suffix)
        files[f"{suffix} {name}"] = buffer.getvalue()
    return files


def read(data: bytes, limit: int) -> tuple[Labels, list[int]]:
    """Numbers of a label image, and the areas of its instances by ascending number."""
    labels = decode_labels(data, "x", ReadOptions(max_pixels=limit))
    check_lossless(data, "x")
    masks = instances_of(labels, "x", components=False)
    return labels, [int(run_lengths(mask)[1::2].sum()) for mask in masks]


def fault(found: tuple[Labels, list[int]], data: bytes, sound: tuple[Labels, list[int]]) -> str:
    """What is wrong with what was read; empty if another reader agrees, or the damage left all numbers as they were.

    The latter is for damage behind the pixels, for which some readers refuse the file.
    """
    labels, areas = found
    numbers, counts = np.unique(labels[labels > 0], return_counts=True)
    if areas != counts.tolist():
        return f"{len(areas)} instances, but {len(numbers)} numbers"
    if np.array_equal(labels, sound[0]) or any(other is not None and _same(labels, other) for other in _others(data)):
        return ""
    return f"read as {labels.shape} with {len(numbers)} numbers, unlike others"


def _others(data: bytes) -> Iterator[Labels | None]:
    for read_other in (
        lambda: tifffile.imread(io.BytesIO(data), series=0),
        lambda: tifffile.TiffFile(io.BytesIO(data)).pages[0].asarray(),
        lambda: np.asarray(Image.open(io.BytesIO(data))),
        lambda: cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED),
    ):
        try:
            yield read_other()  # type: ignore[no-untyped-call]
        except Exception:
            yield None


def _same(labels: Labels, other: Labels) -> bool:
    other = np.squeeze(other)
    if other.dtype == np.bool_:
        other = other.astype(np.uint8)
    return np.squeeze(labels).shape == other.shape and bool(
        (np.squeeze(labels) == other).all() or (np.squeeze(labels) == other.astype(np.int64) * 255).all()
    )
